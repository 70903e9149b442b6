"""Elementwise operations that a user adds: an OpenCL expression and a gradient; they fuse like those that are here."""

from __future__ import annotations

import inspect
import keyword
import threading
from collections.abc import Callable, Sequence
from typing import Any

from netcl.autograd.refusal import refuse_way_back
from netcl.autograd.rules import reads, rule_reads
from netcl.autograd.tape import apply
from netcl.codegen.formulas import Formula
from netcl.graph import table
from netcl.graph.table import TABLE, Primitive
from netcl.ops.elementwise import as_tensor_like, check_devices, result_like
from netcl.tensor import Tensor

_RULES = {
    "floating": table.floating, "floats": table.only_floats, "integers": table.only_integers, "same": table.no_bool,
}  # fmt: skip
_lock = threading.RLock()
_registered: dict[str, CustomPrimitive] = {}
_ours: set[str] = set()  # names in the table, used once each: plans are found by them, and tensors may wait for them


def register_primitive(
    name: str, expression: str, gradient: Callable[..., Any] | None = None, *, operands: str | Sequence[str] = "x",
    helpers: str = "", reference: Callable[..., Any] | None = None, dtype: str = "floating", autocast: str = "widest",
    check: bool = True, samples: Any = None, doc: str | None = None,
) -> CustomPrimitive:  # fmt: skip
    """Add an elementwise operation that fuses with others, and return the function to call it by.

    expression: OpenCL C over the names of the operands. Numbers with a point take the operands' type (float, or double
    for float64); float16 and bfloat16 are computed in float. operands: 1 to 3 names, as "x" or "x slope".
    gradient(g, y, *operands) returns the gradients of the operands (one, or a tuple) in tensor operations, so that it
    can be differentiated again; g arrives for the result y. None for an operand, or no gradient at all, raises
    NotImplementedError where backward gets there. helpers: OpenCL functions that the expression calls, with REAL for
    the type. reference: the same in NumPy, to compare values with. dtype: "floating" makes float32 of integers,
    "floats" refuses them, "integers" refuses all else, "same" computes in what the operands are. autocast: "float32"
    has operands cast to float32 under nc.amp.autocast, "lower" to its narrow dtype; "widest" leaves them as they are.

    check: compile it now on the current device, and compare the gradient with differences (and the values with the
    reference) in float64, or in float32 where the device has no doubles. samples: an array, or one for each operand, of
    points to compare at where the ones between -3 and 3 won't do.

    ValueError for a name that is taken (the same once more is the same operation) and for what is no expression,
    RuntimeError with the compiler's message, GradcheckError with both numbers where the gradient is wrong.

    >>> import netcl as nc
    >>> swish = nc.register_primitive("swish", "x / (1 + exp(-x))", lambda g, y, x: g * (y + x.sigmoid() * (1 - y)))
    >>> swish(nc.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7311])
    """
    names = operands.replace(",", " ").split() if isinstance(operands, str) else list(operands)
    _check_names(name, names)
    _check_expression(name, expression, helpers)
    if dtype not in _RULES:
        raise ValueError(f"register_primitive: dtype must be one of {', '.join(map(repr, _RULES))}, got {dtype!r}")
    if autocast not in ("widest", "float32", "lower"):
        raise ValueError(f"register_primitive: autocast must be 'widest', 'float32' or 'lower', got {autocast!r}")
    formula = Formula(name, expression, names, helpers, dtype != "integers", dtype in ("integers", "same"))
    if formula.unused:
        raise ValueError(f"register_primitive: the expression of {name!r} does not use {', '.join(formula.unused)}")
    if gradient is not None:
        _check_gradient(name, gradient, names)
        if dtype == "integers":
            raise ValueError(f"register_primitive: {name!r} is for integers, which have no gradients; leave it out")
    return _registered_as(name, CustomPrimitive(formula, dtype, autocast, gradient, reference, doc), check, samples)


def _registered_as(name: str, made: CustomPrimitive, check: bool, samples: Any) -> CustomPrimitive:
    """The operation under its name; the one that is there already, where it is the same."""
    with _lock:
        before = _registered.get(name)
        if before is not None:
            if before._same_as(made):
                return before
            raise ValueError(
                f"register_primitive: {name!r} is registered already, as something else ({before.expression}); choose "
                f"another name, or call unregister_primitive({name!r}) first"
            )
        if name in TABLE and name not in _ours:
            raise ValueError(f"register_primitive: {name!r} is an operation of netcl itself; choose another name")
        made._enter()
        if check:
            from netcl.ops.custom_check import check_primitive

            try:
                check_primitive(made, samples)
            except BaseException:
                made._leave()
                raise
        _registered[name] = made
    return made


def unregister_primitive(name: str) -> None:
    """Make a registered operation's name free again. What was made with it goes on working."""
    with _lock:
        if _registered.pop(name, None) is None:
            listed = ", ".join(sorted(_registered)) or "none"
            raise ValueError(f"unregister_primitive: no operation {name!r} is registered; there are: {listed}")


class CustomPrimitive:
    """An operation made by `register_primitive`: call it with tensors and numbers, which are broadcast."""

    def __init__(
        self, formula: Formula, dtype: str, autocast: str, gradient: Callable | None, reference: Callable | None,
        doc: str | None,
    ):  # fmt: skip
        self.name = self.__name__ = formula.name
        self.__doc__ = doc or f"{formula.expression}, elementwise."
        self.operands = formula.operands
        self.reference = reference
        self.gradient = gradient
        self._formula = formula
        self._dtype = dtype
        self._autocast = autocast
        self._op = ""

    @property
    def expression(self) -> str:
        return self._formula.expression

    def __call__(self, *operands: Any) -> Tensor:
        if len(operands) != len(self.operands):
            raise TypeError(
                f"{self.name}: takes {len(self.operands)} operands ({', '.join(self.operands)}), got {len(operands)}"
            )
        like = next((operand for operand in operands if isinstance(operand, Tensor)), None)
        if like is None:
            listed = " and ".join(type(operand).__name__ for operand in operands)
            raise TypeError(f"{self.name}: expected at least one tensor, got {listed}")
        tensors = [as_tensor_like(operand, like) for operand in operands]
        check_devices(self.name, *tensors)
        result = apply(self._op, tensors)
        if self.gradient is None:
            refuse_way_back(self.name, result, tensors)
        for operand in operands:
            if not isinstance(operand, Tensor):
                return result_like(result, like, operand)
        return result

    def __repr__(self) -> str:
        return f"<{self.name}({', '.join(self.operands)}) = {self.expression}>"

    def _same_as(self, other: CustomPrimitive) -> bool:
        return (
            self._formula.identity == other._formula.identity
            and (self._dtype, self._autocast) == (other._dtype, other._autocast)
            and _same_function(self.gradient, other.gradient)
            and _same_function(self.reference, other.reference)
        )

    def _enter(self) -> None:
        """Into the table of primitives, under a name of its own: plans of another one of this name are not its."""
        self._op, number = self.name, 1
        while self._op in TABLE or self._op in _ours:
            number += 1
            self._op = f"{self.name}_{number}"
        formula = self._formula
        rule = None if self.gradient is None else _rule(self.name, self.gradient, len(self.operands))
        table.register(
            Primitive(
                self._op, "elementwise", _RULES[self._dtype](self.name), formula.template(), formula.template(True),
                rule, preamble=formula.preamble(), autocast=self._autocast, costly=formula.costly,
            )
        )  # fmt: skip
        _ours.add(self._op)

    def _leave(self) -> None:
        TABLE.pop(self._op, None)


# ---- what is refused ---------------------------------------------------------------------------------------------


def _check_names(name: str, operands: Sequence[str]) -> None:
    for word in (name, *operands):
        if not isinstance(word, str) or not word.isidentifier() or not word.isascii() or keyword.iskeyword(word):
            raise ValueError(f"register_primitive: {word!r} is no name; use letters, digits and _")
    if name.startswith("sort_word"):
        raise ValueError("register_primitive: names that begin with sort_word are netcl's own; choose another one")
    if not 1 <= len(operands) <= 3:
        raise ValueError(f"register_primitive: {name!r} has {len(operands)} operands; it takes 1 to 3 names")
    if len(set(operands)) != len(operands):
        raise ValueError(f"register_primitive: the operands of {name!r} have one name twice: {', '.join(operands)}")


def _check_expression(name: str, expression: str, helpers: str) -> None:
    if not isinstance(expression, str) or not expression.strip():
        raise ValueError(f"register_primitive: the expression of {name!r} must be OpenCL C text, got {expression!r}")
    wrong = next((sign for sign in ";{}#\\\n" if sign in expression.strip()), None)
    if wrong is not None:
        raise ValueError(
            f"register_primitive: {wrong!r} in the expression of {name!r}: it must be one expression in one line; "
            "functions with statements go into helpers="
        )
    if "__kernel" in helpers or helpers.count("{") != helpers.count("}"):
        raise ValueError(f"register_primitive: the helpers of {name!r} must be whole functions, and no kernels")


def _check_gradient(name: str, gradient: Any, operands: Sequence[str]) -> None:
    expected = f"gradient(g, y, {', '.join(operands)})"
    if not callable(gradient):
        raise TypeError(f"register_primitive: the gradient of {name!r} must be a function {expected}")
    try:
        inspect.signature(gradient).bind(*range(2 + len(operands)))
    except TypeError as error:
        raise TypeError(
            f"register_primitive: the gradient of {name!r} is called as {expected}, which it does not take: {error}"
        ) from None


# ---- gradients ---------------------------------------------------------------------------------------------------


def _rule(name: str, gradient: Callable[..., Any], count: int) -> Callable[..., tuple]:
    """The user's rule as the table's are: a tuple with one item for each operand."""

    def rule(g: Any, y: Any, *rest: Any) -> tuple:
        made = gradient(g, y, *rest)
        gradients = tuple(made) if isinstance(made, (tuple, list)) else (made,)
        if len(gradients) != count:
            raise RuntimeError(f"{name}: its gradient returned {len(gradients)} gradients for {count} operands")
        for one in gradients:
            if isinstance(one, (int, float, complex, str)):
                raise TypeError(f"{name}: its gradient returned {one!r}; it must return tensors, such as g * {one!r}")
        return gradients

    plain = inspect.isfunction(gradient) and not gradient.__code__.co_flags & inspect.CO_VARARGS
    reads[rule, count] = rule_reads(gradient, count) if plain else (True, (True,) * count)
    return rule


def _same_function(a: Any, b: Any) -> bool:
    """Whether two functions do the same: one text, and equal things around it."""
    if a is b:
        return True
    if not (inspect.isfunction(a) and inspect.isfunction(b)) or a.__code__ != b.__code__:
        return False
    around = [[cell.cell_contents for cell in function.__closure__ or ()] for function in (a, b)]
    same = all(x is y for x, y in zip(*around, strict=True))
    return same and a.__globals__ is b.__globals__ and a.__defaults__ == b.__defaults__
