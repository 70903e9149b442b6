"""What all optimizers share: parameter groups, state, saving, and updating many parameters as one recorded operation.

A subclass registers its formula with `register_update` and calls `record_update` for parameters that are at the same
step. Numbers (learning rate, bias corrections) are operands, so a new one compiles nothing.
"""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import chain
from typing import Any
from weakref import ref

import numpy as np

from netcl.autograd.tape import enable_grad
from netcl.core import dtypes, launch
from netcl.graph.effects import effect, has_gradient, numbers_of, surroundings
from netcl.graph.primitives import composite
from netcl.graph.value import Value, _pending, flush_thread, record_many
from netcl.optim.counts import apart, built, found_inf, skipped_where, skipping
from netcl.tensor import HookHandle, Tensor


class Optimizer:
    """The base of optimizers. `params`: parameters, (name, parameter) pairs, or groups with options of their own.

    TypeError for a single tensor, ValueError for none at all, for one that is no leaf, or for one in two groups.
    """

    _numbers_are_effects = True  # rates and step counts: computed anew at each call of a compiled function

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError("params given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor")
        if not hasattr(params, "__iter__"):
            kind = type(params).__name__
            raise TypeError(f"optimizer expects Tensors, but got {kind}; a model's are model.parameters()")
        self.defaults = defaults
        self._hooks: dict[str, dict] = {}
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list; was parameters(), a generator, used up before?")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.__dict__["step"])  # type: ignore[method-assign]

    def __setattr__(self, name: str, item: Any) -> None:
        object.__setattr__(self, name, item)
        if name in ("state", "param_groups"):  # compiled functions hold on to what is in them
            surroundings.changes += 1

    # ---- groups ----

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with options of their own; options that are left out are the optimizer's."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        group = {**self.defaults, **param_group}
        members = param_group["params"]
        if isinstance(members, set):
            raise TypeError(
                "optimizer parameters need to be in an ordered collection, but a set has no order; use a list"
            )
        members = [members] if isinstance(members, Tensor) else list(members)
        if members and isinstance(members[0], tuple):
            group["param_names"] = [name for name, _ in members]
            members = [parameter for _, parameter in members]
        for parameter in members:
            if not isinstance(parameter, Tensor):
                kind = type(parameter).__name__
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {kind}; a model's are "
                    "model.parameters()"
                )
            if parameter._node is not None:
                raise ValueError("can't optimize a non-leaf Tensor")
        known = {id(p) for other in self.param_groups for p in other["params"]}
        if len({id(p) for p in members}) != len(members):
            raise ValueError("optimizer: a parameter occurs twice in one parameter group")
        if any(id(p) in known for p in members):
            raise ValueError("some parameters appear in more than one parameter group")
        group["params"] = members
        self._check(group)
        self.param_groups.append(group)
        surroundings.changes += 1

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ValueError for options that can't be."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget every gradient, or set it to zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.grad = None if set_to_none else parameter.grad.detach() * 0

    # ---- hooks ----

    def _add_hook(self, kind: str, hook: Callable, prepend: bool = False) -> HookHandle:
        hooks = self.__dict__.setdefault("_hooks", {}).setdefault(kind, {})
        handle = HookHandle(hooks)
        later = dict(hooks) if prepend else {}
        if prepend:
            hooks.clear()
        hooks[handle] = hook
        hooks.update(later)
        return handle

    def _hooked(self, kind: str) -> list[Callable]:
        return list(self.__dict__.get("_hooks", {}).get(kind, {}).values())

    def register_step_pre_hook(self, hook: Callable) -> HookHandle:
        """Call hook(optimizer, args, kwargs) before each step; (args, kwargs) that it returns replace those of step."""
        return self._add_hook("before_step", hook)

    def register_step_post_hook(self, hook: Callable) -> HookHandle:
        """Call hook(optimizer, args, kwargs) after each step."""
        return self._add_hook("after_step", hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> HookHandle:
        """Call hook(optimizer) before state_dict."""
        return self._add_hook("before_save", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> HookHandle:
        """Call hook(optimizer, state_dict) after state_dict; a dict that it returns replaces the result."""
        return self._add_hook("after_save", hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> HookHandle:
        """Call hook(optimizer, state_dict) before load_state_dict; a dict that it returns is loaded instead."""
        return self._add_hook("before_load", hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> HookHandle:
        """Call hook(optimizer) after load_state_dict."""
        return self._add_hook("after_load", hook, prepend)

    # ---- the step ----

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, and start the device on it, without waiting.

        `closure` computes the loss anew (with gradients on) and is called first; its loss is returned. Where the device
        fails, out of memory say, parameters and state are as before, unless it had begun to write over them: see
        "When the device fails" in docs/debugging.md.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        skips = "found_inf" in self.__dict__
        before, recorder = _Before(self), _pending.recorder
        if recorder is not None:
            recorder.steps.append(before)  # it runs when the function has ended
        try:
            for group in self.param_groups:
                effect(self._update_unless, group, skips)
            flush_thread()
        except BaseException:
            if recorder is None:
                before.restore()
            raise
        return loss

    def _update_unless(self, group: dict[str, Any], skips: bool) -> None:
        """Record the update of one group; with `skips`, one that changes nothing where found_inf is 1."""
        if not skips:
            self._update(group)
            return
        with skipped_where(self.__dict__.get("found_inf")):
            self._update(group)

    @property
    def skips_on_device(self) -> bool:
        """Whether step() changes nothing where the tensor `found_inf`, which GradScaler puts here, is 1. An optimizer
        with a step() of its own can't be held to that."""
        return type(self).step is Optimizer.step

    def _update(self, group: dict[str, Any]) -> None:
        """Record the update of one group."""
        raise NotImplementedError(f"{type(self).__name__} has no _update")

    # ---- saving ----

    def state_dict(self) -> dict[str, Any]:
        """{"state": by the parameters' numbers, "param_groups": with numbers in place of parameters}."""
        for hook in self._hooked("before_save"):
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                numbers.setdefault(id(parameter), len(numbers))
            packed = {key: value for key, value in group.items() if key != "params"}
            packed["params"] = [numbers[id(parameter)] for parameter in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(parameter)]: {k: v.detach() if isinstance(v, Tensor) else v for k, v in values.items()}
            for parameter, values in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._hooked("after_save"):
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where state_dict() was called, PyTorch's too. ValueError where the groups don't fit this one's."""
        for hook in self._hooked("before_load"):
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        if missing := {"state", "param_groups"} - state_dict.keys():
            lacking = " and no ".join(sorted(missing))
            raise KeyError(f"load_state_dict: no {lacking} here; is it the state_dict of an optimizer?")
        saved_groups = copy.deepcopy(list(state_dict["param_groups"]))
        if len(saved_groups) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(saved_groups)}, here {len(self.param_groups)}"
            )
        saved_sizes, own_sizes = ([len(g["params"]) for g in groups] for groups in (saved_groups, self.param_groups))
        if saved_sizes != own_sizes:
            raise ValueError(
                f"loaded state dict has parameter groups of sizes {saved_sizes}, here they are {own_sizes}"
            )
        members = list(chain.from_iterable(group["params"] for group in self.param_groups))
        numbers = list(chain.from_iterable(group["params"] for group in saved_groups))
        by_number = dict(zip(numbers, members, strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            parameter = by_number[int(number)]
            state[parameter] = {name: _fitted(name, value, parameter) for name, value in values.items()}
        self.state = state
        self.param_groups = [
            {**own, **saved, "params": own["params"]}
            for own, saved in zip(self.param_groups, saved_groups, strict=True)
        ]
        for hook in self._hooked("after_load"):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        # A learning rate scheduler has put a step() of this very object here: a copy's must not update the original.
        return {name: value for name, value in self.__dict__.items() if name not in ("step", "_hooks")}

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for number, group in enumerate(self.param_groups):
            lines.append(f"{chr(10) * (number > 0)}Parameter Group {number}")
            lines.extend(f"    {key}: {group[key]}" for key in sorted(group) if key != "params")
        return "\n".join([*lines, ")"])


class _Before:
    """What a step begins with. Nothing is kept alive: the step overwrites it in place."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.state = [(parameter, own, own.copy()) for parameter, own in optimizer.state.items()]
        tensors = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        tensors += [item for _, own, _ in self.state for item in own.values() if isinstance(item, Tensor)]
        self.values = [(tensor, ref(tensor._value)) for tensor in tensors]

    def restore(self) -> bool:
        """Take a step back that waits to be run; False, and nothing, where some of it has run or will."""
        values = [(tensor, value()) for tensor, value in self.values]
        if not all([value is not None and _may_go(tensor._value, value) for tensor, value in values]):
            return False
        for tensor, value in values:
            if tensor._value is not value:
                tensor._assign(value)
        state = self.optimizer.state
        state.clear()
        for parameter, own, content in self.state:
            own.clear()
            own.update(content)
            state[parameter] = own
        return True


def _may_go(new: Value, old: Value) -> bool:
    """Whether a value may be given up for the one before: it is pending, in no run that has begun to overwrite."""
    return new is old or (new.buffer is None and new.trace is not None and new.trace.rest is None)


def _with_hooks(step: Callable) -> Callable:
    """A class's step between the hooks of its instances; not where a subclass's step calls it."""

    @functools.wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if type(self).step is not hooked or not self.__dict__.get("_hooks"):
            return step(self, *args, **kwargs)
        if _pending.recorder is not None:
            _pending.recorder.give_up("the optimizer has step hooks")
        for hook in self._hooked("before_step"):
            changed = hook(self, args, kwargs)
            if changed is not None:
                if not (isinstance(changed, tuple) and len(changed) == 2):
                    raise RuntimeError(
                        f"{type(self).__name__}: a step pre-hook must return None or (new_args, new_kwargs), got "
                        f"{changed!r}"
                    )
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in self._hooked("after_step"):
            hook(self, args, kwargs)
        return result

    return hooked


Optimizer.step = _with_hooks(Optimizer.step)  # type: ignore[method-assign]


def _fitted(name: str, value: Any, parameter: Tensor) -> Any:
    """A loaded state entry: tensors on the parameter's device in its dtype, numbers as ints and floats."""
    if name == "step":
        return int(value)
    if name in ("mu_product", "eta", "mu", "momentum_started"):  # numbers here, tensors of one in a state of PyTorch's
        return float(value)
    if not isinstance(value, Tensor) and hasattr(value, "__array__"):  # NumPy's, or PyTorch's own
        value = Tensor.from_host(np.asarray(value))
    if isinstance(value, Tensor):
        if name not in ("row_var", "col_var") and value.shape != parameter.shape:
            shapes = f"{list(value.shape)}, its parameter {list(parameter.shape)}"
            raise ValueError(f"loaded state {name!r} has shape {shapes}")
        return value.detach().to(device=parameter.device, dtype=parameter.dtype)
    return value


def refuse(optimizer: Optimizer, group: dict[str, Any]) -> None:
    """NotImplementedError for options of PyTorch's that are asked for and have no meaning here."""
    for option in ("capturable", "differentiable"):
        if group.get(option):
            name = type(optimizer).__name__
            raise NotImplementedError(f"{name}({option}={group[option]!r}) is not supported; leave {option} out")
    if group.get("fused") and group.get("foreach"):
        raise RuntimeError("`fused` and `foreach` cannot be `True` together.")


def check_not_negative(**numbers: Any) -> None:
    """ValueError for a negative number, with PyTorch's text; TypeError for what is no number."""
    for name, number in numbers.items():
        if not isinstance(number, (int, float)):
            raise TypeError(f"{name} must be a number, got {type(number).__name__}")
        if not number >= 0:
            raise ValueError(f"Invalid {name} value: {number}" if name != "lr" else f"Invalid learning rate: {number}")


def zeros_for(parameter: Tensor) -> Tensor:
    """Zeros in memory of their own: state that later steps overwrite in place."""
    value = parameter._value
    nbytes = parameter.nbytes
    buffer = value.device.pool.allocate(nbytes)
    launch.fill_zero(value.device, buffer, nbytes)
    return Tensor._wrap(Value.realised(buffer, value.shape, value.dtype, value.device))


# ---- one operation for many parameters ---------------------------------------------------------------------------

# formula(flags, numbers, parameter, gradient, *state) -> (parameter, *state), in operations on tensors
Formula = Callable[..., tuple]


def register_update(name: str, formula: Formula) -> None:
    """Make a formula for one parameter an operation on many.

    arg: how many, how many state tensors each has, flags, whether there is a tensor that says that nothing happens, and
    how numbers follow from the step's (see optim.counts). Those tensors come behind the states, numbers last.
    """

    def infer(operands: Any, arg: Any) -> list[tuple]:
        count, states = arg[:2]
        for parameter, gradient in zip(operands[:count], operands[count : 2 * count], strict=True):
            if gradient.shape != parameter.shape:
                shapes = f"{list(parameter.shape)}, its gradient {list(gradient.shape)}"
                raise RuntimeError(f"{name}: a parameter has shape {shapes}")
        columns = [0, *range(2, 2 + states)]  # a state may have a shape of its own
        kinds = [operands[i].dtype for i in range(count)]
        return [(operands[i + column * count].shape, kinds[i]) for i in range(count) for column in columns]

    def expand(*values: Any) -> tuple:
        *operands, (count, states, flags, skips, structure) = values
        tensors = [_widened(Tensor._wrap(value)) for value in operands]
        rest = tensors[count * (2 + states) :]
        happens = rest.pop(0) <= 0 if skips else None
        numbers = built(structure, rest) if structure else rest
        results: list[Any] = []
        for i in range(count):
            made = formula(flags, numbers, *(tensors[i + column * count] for column in range(2 + states)))
            narrowed = [tensor.to(operands[i].dtype) for tensor in made]
            if happens is not None:
                before = [Tensor._wrap(operands[i + column * count]) for column in (0, *range(2, 2 + states))]
                narrowed = [new.where(happens, old) for new, old in zip(narrowed, before, strict=True)]
            results.extend(tensor._value for tensor in narrowed)
        return tuple(results)

    composite(name, infer, expand)


def _widened(tensor: Tensor) -> Tensor:
    """float16 and bfloat16 are updated in float32, and rounded once."""
    return tensor.to(dtypes.float32) if tensor.dtype.itemsize == 2 else tensor


def record_update(
    name: str, flags: Hashable, numbers: Iterable[Any], parameters: list[Tensor], states: list[list[Tensor]]
) -> None:
    """Record the update of parameters on one device, and put the new values in the place of the old ones.

    `states` holds a list of tensors for each kind of state, in the parameters' order. Where optim.counts.found_inf()
    is 1, all of them keep their old values.
    """
    rounds = _one_after_another(parameters) if parameters else None
    if rounds is not None:
        for places in rounds:
            columns = [[column[place] for place in places] for column in states]
            record_update(name, flags, numbers, [parameters[place] for place in places], columns)
        return
    skips = skipping()
    plain, structure, tensors = apart(numbers)
    scalars = numbers_of((name, flags, skips, structure), plain)
    if scalars is None:
        return
    first = parameters[0]._value
    kind = dtypes.float64 if first.dtype is dtypes.float64 else dtypes.float32
    arg = (len(parameters), len(states), flags, skips, structure)
    operands = [p._value for p in parameters]
    operands += [p._grad._value for p in parameters]  # type: ignore[union-attr]
    for column in states:
        operands += [tensor._value for tensor in column]
    if skips:
        operands.append(found_inf(first.device)._value)
    operands += [tensor._value for tensor in tensors]
    results = iter(record_many(name, operands, arg, scalars, kind.name))
    for targets in zip(parameters, *states, strict=True):
        for tensor in targets:
            value = next(results)
            if tensor._storage is None and tensor._node is None:
                tensor._value = value  # _assign(), written out: a call would cost as much again
                tensor._version += 1
            else:
                tensor._assign(value)


def _one_after_another(parameters: list[Tensor]) -> list[list[int]] | None:
    """The places of parameters that share elements with others, in rounds of such that share none: each is updated
    from what the rounds before left, as where they are updated one by one. None where nothing is shared."""
    stores = [id(p._storage) for p in parameters if p._storage is not None]
    if len(set(stores)) == len(stores):
        return None
    rounds: list[list[int]] = []
    met: dict[int, int] = {}
    for place, parameter in enumerate(parameters):
        store = id(parameter._storage if parameter._storage is not None else parameter)
        number = met.get(store, 0)
        met[store] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(place)
    return rounds


def batches(parameters: Iterable[Tensor], at: Callable[[Tensor], Hashable]) -> Iterable[tuple[Any, list[Tensor]]]:
    """Parameters with gradients, in groups that one operation can update: one device, width, and `at(parameter)`."""
    found: dict[tuple, list[Tensor]] = {}
    for parameter in parameters:
        if has_gradient(parameter):
            value = parameter._value
            found.setdefault((at(parameter), value.device, value.dtype is dtypes.float64), []).append(parameter)
    return [(key[0], members) for key, members in found.items()]
