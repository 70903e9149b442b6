"""Which tensors share their elements, and what a write does.

A value never changes: a write gives the tensor another one. So that a write through one tensor is seen by every other
that shares elements with it, as in PyTorch, each of them knows its `Storage` (those that share, held weakly) and the
chain of views that leads to it from the whole storage. A write is carried to all that still live, in operations: it
fuses with what surrounds it and has gradients. Nothing here keeps a value alive.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import Any
from weakref import ref

from netcl.autograd import tape
from netcl.autograd.rules import Meta
from netcl.autograd.tape import apply
from netcl.codegen.ir import Shape, contiguous_strides
from netcl.graph import value as tracing
from netcl.graph.batching import levels_of
from netcl.graph.effects import surroundings
from netcl.graph.primitives import TABLE
from netcl.graph.value import Value
from netcl.graph.views import LAYOUT, view
from netcl.tensor import Tensor

Chain = tuple[tuple[str, Any, Shape], ...]  # (view, its argument, the shape that it is a view of)
_families = itertools.count(1)


class Storage:
    """The tensors that share elements."""

    __slots__ = ("__weakref__", "limit", "members", "seen_as", "shape")

    def __init__(self, base: Tensor):
        self.shape: Shape = base._value.shape
        self.members = [ref(base)]
        self.limit = 16
        self.seen_as: list[ref[Storage]] = []  # the same bytes as elements of another dtype

    def add(self, tensor: Tensor) -> None:
        members = self.members
        members.append(ref(tensor))
        if len(members) > self.limit:
            self.members = [member for member in members if member() is not None]
            self.limit = 16 + 2 * len(self.members)

    def others(self, tensor: Tensor) -> list[Tensor]:
        """The members that still live, without `tensor`; those that are the whole storage first."""
        return sorted([m for m in self.living() if m is not tensor], key=lambda m: len(m._chain))

    def living(self) -> list[Tensor]:
        """The members that still live."""
        return [tensor for member in self.members if (tensor := member()) is not None]


# ---- sharing -----------------------------------------------------------------------------------------------------


def share(tensor: Tensor, source: Tensor, op: str = "", arg: Any = None) -> Tensor:
    """`tensor` is a view of `source` from now on, or all of it."""
    storage = source._storage
    if storage is None:
        storage = source._storage = Storage(source)
    tensor._storage = storage
    tensor._chain = source._chain + ((op, arg, source._value.shape),) if op else source._chain
    tensor._family = source._family
    storage.add(tensor)
    if source._watched:
        surroundings.changes += 1
    return tensor


def share_detached(tensor: Tensor, source: Tensor) -> Tensor:
    """`tensor` has the elements of `source` and no part in its gradient graph."""
    share(tensor, source)
    tensor._family = next(_families)
    return tensor


def share_copied(copied: Tensor, source: Tensor, memo: dict) -> None:
    """A deep copy shares its elements with the copies, made with the same memo, of what its source shares with."""
    storage = source._storage
    if storage is None:
        return
    made = memo.get(id(storage))
    if made is None:
        made = memo[id(storage)] = Storage(copied)
        made.shape = storage.shape
    else:
        made.add(copied)
    copied._storage, copied._chain, copied._family = made, source._chain, source._family


def seen_through(tensor: Tensor, shape: Shape, chain: Chain) -> None:
    """`tensor` has the strides of a view of something of that shape, which nobody holds any more."""
    tensor._storage = Storage(tensor)
    tensor._storage.shape, tensor._chain = shape, chain


def joined(tensor: Tensor, source: Tensor, chain: Chain, family: bool) -> None:
    """`tensor` shares its elements with `source` from now on: by this chain of views, in its gradient graph or not."""
    share(tensor, source)
    tensor._chain = chain
    if not family:
        tensor._family = next(_families)


def seen_as_before(tensor: Tensor, chain: Chain, shape: Shape) -> bool:
    """Whether the tensor is seen by this chain of views of a storage of that shape."""
    storage = tensor._storage
    return tensor._chain == chain and (tensor._value.shape if storage is None else storage.shape) == shape


def leave(tensor: Tensor) -> None:
    """The tensor shares its elements with nobody from now on."""
    if tensor._storage is not None:
        tensor._storage.members = [member for member in tensor._storage.members if member() is not tensor]
        tensor._storage, tensor._chain = None, ()


def seen_by_others(tensor: Tensor) -> bool:
    """Whether a write to the tensor concerns another one that lives."""
    return tensor._storage is not None and bool(tensor._storage.others(tensor))


def shares_all(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are the same elements in the same order."""
    return a is b or (a._storage is not None and a._storage is b._storage and a._chain == b._chain)


def sharing(tensors: Sequence[Tensor]) -> list[tuple]:
    """Which of the tensors share elements with one another, and how: equal lists say the same of two sequences."""
    groups: dict[int, list[int]] = {}
    for place, tensor in enumerate(tensors):
        if tensor._storage is not None:
            groups.setdefault(id(tensor._storage), []).append(place)
    found = []
    for places in groups.values():
        if len(places) > 1:
            families: dict[int, int] = {}
            found.append(
                tuple((p, tensors[p]._chain, families.setdefault(tensors[p]._family, len(families))) for p in places)
            )
    return found


def layout(tensor: Tensor) -> tuple[tuple[int, ...], int]:
    """The strides and the offset that PyTorch would show, counted in elements of the storage."""
    storage = tensor._storage
    if storage is None or not tensor._chain:
        return contiguous_strides(tensor._value.shape), 0
    shape, strides, offset = storage.shape, contiguous_strides(storage.shape), 0
    for op, arg, _ in tensor._chain:
        found = LAYOUT[op](shape, strides, arg)
        assert found is not None, "a view that has no strides is a copy"
        shape, strides, offset = found[0], found[1], offset + found[2]
    return strides, offset


def is_view(op: str, source: Tensor, arg: Any) -> bool:
    """Whether the result of a view operation shares its elements with the source, as PyTorch has it."""
    if op != "reshape":
        return op in LAYOUT and not (op == "slice" and any(step < 0 for _, _, step in arg))
    strides, _ = layout(source)
    shape = source._value.shape
    return strides == contiguous_strides(shape) or LAYOUT[op](shape, strides, arg) is not None


def unshared_view(op: str, source: Tensor, arg: Any) -> Tensor:
    """A view with its gradient; what is written to it is not seen by the source."""
    result = Tensor._wrap(view(op, source._value, arg))
    if source._tracked and tape.is_grad_enabled():
        tape._connect(op, TABLE[op].gradient, (source,), arg, (result,))  # type: ignore[arg-type]
    return result


def recording_views() -> bool:
    """Whether views made now are a user's: not those inside a gradient rule or a composite's body."""
    return not tape._state.rules and tracing._pending.expansion is None


# ---- writing -----------------------------------------------------------------------------------------------------


def check_writable(name: str, tensor: Tensor) -> None:
    """RuntimeError where PyTorch forbids it: leaves that require a gradient and their views, repeated elements.

    And for elements that are also seen as those of another dtype.
    """
    _check_seen(name, tensor)
    if tape.is_grad_enabled():
        if tensor._tracked and tensor._node is None:
            raise RuntimeError(
                f"{name}: a leaf Variable that requires grad is being used in an in-place operation; "
                "write under nc.no_grad(), or to a clone"
            )
        for member in tensor._storage.others(tensor) if tensor._storage is not None else ():
            if member._tracked and member._node is None and member._family == tensor._family:
                raise RuntimeError(
                    f"{name}: a view of a leaf Variable that requires grad is being used in an in-place operation; "
                    "write under nc.no_grad(), or to a clone"
                )
    if any(op in ("expand", "windows") for op, _, _ in tensor._chain):
        strides, _ = layout(tensor)
        repeated = any(stride == 0 and size > 1 for stride, size in zip(strides, tensor._value.shape, strict=True))
        if repeated or any(op == "windows" and arg[1] > arg[2] for op, arg, _ in tensor._chain):
            raise RuntimeError(
                f"{name}: unsupported operation: more than one element of the written-to tensor refers to a single "
                "memory location; clone() the tensor before writing to it"
            )


def _check_seen(name: str, tensor: Tensor) -> None:
    if tensor._storage is not None and any(seen() is not None for seen in tensor._storage.seen_as):
        raise RuntimeError(
            f"{name}: the same bytes are seen as elements of two dtypes, by x.view(dtype): netcl doesn't write to "
            "them; clone() one of the two"
        )


def write(tensor: Tensor, new: Tensor) -> Tensor:
    """The tensor, and all that share its elements, get those of `new` (same shape and dtype), with its gradient."""
    if new._value.level:
        check_level(tensor, new._value)
    graph = tape.is_grad_enabled()
    if graph and new._node is None and (tensor._tracked or new._tracked):
        new = apply("overwrite", (tape._alias(tensor), new))
    results = _for_others(tensor, new, graph)
    _take(tensor, new, graph, not tensor._quiet)
    for member, result, in_graph in results:
        _take(member, result, in_graph, not tensor._quiet)
    return tensor


def check_level(tensor: Tensor, value: Value) -> None:
    """RuntimeError where the samples of a map would be written to what they share."""
    if levels_of(value).keys() - levels_of(tensor._value).keys():
        raise RuntimeError(
            f"vmap: an in-place operation writes to a tensor of shape {list(tensor.shape)} that all samples share, but "
            "each has values of its own; use the operation that returns a new tensor, or clone() one sample's first"
        )


def assign(tensor: Tensor, value: Value) -> None:
    """As `write`, outside the gradient graph: what optimizers and initialisers do."""
    _check_seen("a write outside the gradient graph", tensor)
    if value.level:
        check_level(tensor, value)
    storage = tensor._storage
    if storage is not None and not tensor._chain and not storage.others(tensor):
        storage = tensor._storage = None
    if storage is None:
        tensor._value = value
        tensor._version += 1
        if tensor._node is not None:
            tensor._node.stale |= 1 << tensor._output
        return
    with tape._GradMode(False):
        write(tensor, Tensor._wrap(value))


def _take(tensor: Tensor, new: Tensor, graph: bool, counted: bool) -> None:
    tensor._value = new._value
    if counted:
        tensor._version += 1
        if tensor._node is not None:
            tensor._node.stale |= 1 << tensor._output
    if graph:
        if tensor._watched:
            surroundings.changes += 1
        tensor._tracked, tensor._node, tensor._output = new._tracked, new._node, new._output


def _for_others(tensor: Tensor, new: Tensor, graph: bool) -> list[tuple[Tensor, Tensor, bool]]:
    """What a write to `tensor` makes of the others: (tensor, new elements, whether it is in the gradient graph)."""
    others = tensor._storage.others(tensor) if tensor._storage is not None else ()
    results: list[tuple[Tensor, Tensor, bool]] = []
    writes: dict[int, _Write] = {}
    for member in others:
        in_graph = graph and member._family == tensor._family
        with tape._GradMode(in_graph):
            made = writes.get(member._family)
            if made is None:
                source = new if in_graph else Tensor._wrap(new._value)
                made = writes[member._family] = _Write(tensor, source)
            results.append((member, made.seen_from(member), in_graph))
    return results


class _Write:
    """One write, as the others see it."""

    def __init__(self, tensor: Tensor, new: Tensor):
        assert tensor._storage is not None
        self.chain = tensor._chain
        self.new = new
        self.everything = prod(tensor._value.shape) == prod(tensor._storage.shape)
        self.spread: Tensor | None = None  # in the shape of the storage, zeros around it
        self.mask: Tensor | None = None  # where it is
        self.whole: Tensor | None = None  # the whole storage after the write, if there is a tensor that is it

    def seen_from(self, member: Tensor) -> Tensor:
        """The elements of `member` after the write."""
        if member._chain == self.chain:
            return self.new
        if self.spread is None:
            self.spread = _to_storage(self.chain, self.new)
        if self.everything:
            return _through(self.spread, member._chain)
        if self.whole is not None:
            return _through(self.whole, member._chain)
        if self.mask is None:
            from netcl.core.dtypes import bool_
            from netcl.ops.creation import full

            self.mask = _to_storage(self.chain, full(self.new.shape, True, bool_, self.new.device))
        there = _through(self.mask, member._chain)
        result = _through(self.spread, member._chain).where(there, tape._alias(member))
        if not member._chain:
            self.whole = result
        return result


def _to_storage(chain: Chain, tensor: Tensor) -> Tensor:
    """The tensor's elements where the chain of views has them, zeros elsewhere: the views' gradients do just that."""
    value = tensor
    for op, arg, shape in reversed(chain):
        rule: Any = TABLE[op].gradient
        source = Meta(shape, value.dtype, value.device)
        value = rule(value, Meta(value._value.shape, value.dtype, value.device), source, arg)[0]
    return value.to(tensor.dtype)


def _through(tensor: Tensor, chain: Chain) -> Tensor:
    """The tensor seen through a chain of views, sharing nothing."""
    for op, arg, _ in chain:
        tensor = unshared_view(op, tensor, arg)
    return tensor
