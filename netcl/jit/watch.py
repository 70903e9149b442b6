"""What a function can reach besides its arguments: closures, globals, attributes, and the tensors in them.

A compiled function is right only while what it was recorded with is still there. `Watch` lists every container that
the function's names lead to, with what was in it; comparing the list with what is there now takes no search, since
containers are compared by what they hold directly.
"""

from __future__ import annotations

import dis
import functools
import math
import random
import sys
import types
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from operator import is_, itemgetter
from typing import Any

import numpy as np

from netcl.core.device import Device
from netcl.core.dtypes import DType
from netcl.tensor import Tensor

CONSTANTS = (int, float, bool, str, bytes, complex, type(None), type(Ellipsis), slice, range)
LARGEST_ARRAY = 1 << 20  # bytes of a NumPy array that are compared at each call
MOVES = object()  # in the place of what a container held: a tensor that is looked up at each call
LIMIT = 20_000  # containers and tensors that are watched before a function is given up


# What these do follows from their arguments.
_PURE = frozenset(
    """
    builtins collections contextlib copy dataclasses enum functools itertools math netcl numbers operator string
    types typing warnings
""".split()
)
_DOUBTFUL = frozenset("__import__ eval exec globals hash id input iter next open vars".split())


class TooMuch(Exception):
    """More can be reached than is worth comparing at each call."""


class CannotRepeat(Exception):
    """The function does something that a replay would not do again."""


class Unsettled(CannotRepeat):
    """This call made state that will be there at the next one, which may be like those after it."""


class Attributes:
    """The attributes of an object that keeps them in slots, or of a class, by their names."""

    __slots__ = ("owner",)

    def __init__(self, owner: Any):
        self.owner = owner

    def __contains__(self, name: str) -> bool:
        return hasattr(self.owner, name)

    def __getitem__(self, name: str) -> Any:
        return getattr(self.owner, name)

    def __setitem__(self, name: str, item: Any) -> None:
        setattr(self.owner, name, item)

    def __delitem__(self, name: str) -> None:
        delattr(self.owner, name)


class Container:
    """A dict, a list, a cell or a namespace: what it holds now, and what it held."""

    __slots__ = ("announced", "content", "holder", "keys", "label", "managed", "names")

    def __init__(
        self, holder: Any, label: str, managed: bool, names: tuple[str, ...] | None = None, announced: bool = False
    ):
        self.holder = holder
        self.label = label  # how a person would name it
        self.managed = managed  # by an optimizer or scheduler, whose numbers are computed anew at each call
        self.announced = announced  # every change to it is counted in `surroundings`
        self.names = names  # of a namespace, only these count
        self.keys, self.content = self.now()

    def now(self) -> tuple[tuple, list[Any]]:
        """The keys and what they lead to."""
        holder = self.holder
        if self.names is not None:
            found = [name for name in self.names if name in holder]
            return tuple(found), [holder[name] for name in found]
        if isinstance(holder, types.CellType):
            try:
                return (0,), [holder.cell_contents]
            except ValueError:  # nothing is bound yet
                return (), []
        if isinstance(holder, dict):
            return tuple(holder), list(holder.values())
        return tuple(range(len(holder))), list(holder)

    def same(self, volatile: Collection[Any] = ()) -> bool:
        """Whether it holds what it held; tensors under volatile keys may be others."""
        keys, content = self.now()
        if len(keys) != len(self.keys):
            return False
        if not all(map(is_, keys, self.keys)) and not all(map(_equal_or_same, keys, self.keys)):
            return False
        if all(map(is_, content, self.content)):
            return True
        return all(
            new is old or equal(new, old) or (key in volatile and isinstance(new, Tensor))
            for key, new, old in zip(keys, content, self.content, strict=True)
        )

    def get(self, key: Any) -> Any:
        """What is under a key."""
        return self.holder.cell_contents if isinstance(self.holder, types.CellType) else self.holder[key]

    def put(self, key: Any, item: Any) -> None:
        """Replace what is under a key."""
        if isinstance(self.holder, types.CellType):
            self.holder.cell_contents = item
        else:
            self.holder[key] = item

    def restore(self) -> None:
        """Hold again what it held."""
        holder, held = self.holder, dict(zip(self.keys, self.content, strict=True))
        if isinstance(holder, list):
            holder[:] = self.content
        elif isinstance(holder, types.CellType):
            if held:
                holder.cell_contents = held[0]
        elif isinstance(holder, deque):
            holder.clear()
            holder.extend(self.content)
        elif isinstance(holder, set):
            holder.clear()
            holder.update(self.content)
        elif isinstance(holder, (dict, Attributes)):
            for key in self.now()[0]:
                if key not in held:
                    del holder[key]
            for key, item in held.items():
                holder[key] = item

    def describe(self, key: Any) -> str:
        if isinstance(self.holder, types.CellType) or self.names is not None or self.label.endswith("."):
            return self.label if isinstance(self.holder, types.CellType) else f"{self.label}{key}"
        return f"{self.label}[{'a tensor' if isinstance(key, Tensor) else repr(key)}]"


def is_plain(item: Any) -> bool:
    """Whether something is numbers and text, at any depth."""
    if isinstance(item, dict):
        item = list(item.values())
    return all(map(is_plain, item)) if isinstance(item, (list, tuple)) else isinstance(item, CONSTANTS)


def _equal_or_same(new: Any, old: Any) -> bool:
    return new is old or equal(new, old)


def equal(new: Any, old: Any) -> bool:
    """Whether two constants are the same number or text: 0.0 and -0.0 are two."""
    if type(new) is not type(old) or type(new) not in CONSTANTS:
        return False
    if new == old:
        return type(new) is not float or new != 0 or math.copysign(1, new) == math.copysign(1, old)
    return new != new and old != old


class Watch:
    """Tensors, containers and whatever else was found from some starting points, in a fixed order."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.names: list[str] = []  # of the tensors
        self.gradient_of: dict[int, int] = {}  # tensors found as the gradient of another, and nowhere else
        self.holders: Counter[int] = Counter()  # in how many places each tensor was found
        self.arguments = 0  # the first so many tensors are arguments
        self.shared: set[int] = set()  # arguments that can be reached otherwise too
        self.containers: list[Container] = []
        self.arrays: dict[int, np.ndarray] = {}
        self.bare: list[tuple[types.FunctionType, str]] = []  # functions without attributes
        self.functions: list[tuple] = []  # (function, its code, defaults, keyword defaults)
        self.classes: list[tuple] = []  # (namespace, size, getter of its methods, the methods)
        self.objects: list[Any] = []  # those of the user's classes
        self.kinds: list[type] = []  # and their classes
        self.engines: list[Any] = [random, np.random]  # generators of random numbers that are not netcl's
        self.doubts: list[str] = []  # what may differ from call to call without being seen
        self._numbers: dict[int, int] = {}
        self._seen: set[int] = set()
        self._used: set[str] = set()  # the names that functions use
        self._modules: dict[int, tuple[types.ModuleType, str, set[str]]] = {}  # the user's own: (module, name, watched)
        self._waiting: deque[tuple[Any, str, bool]] = deque()

    # ---- arguments come first ----

    def explore_call(
        self, function: Any, tensors: Iterable[Tensor], objects: Iterable[Any], names: Mapping[int, str]
    ) -> None:
        """Find everything that a function and its arguments lead to. `names` has tensors' by their ids; TooMuch."""
        for number, tensor in enumerate(tensors):
            self._add_tensor(tensor, names.get(id(tensor), f"argument {number}"))
        self.arguments = len(self.tensors)
        self.explore(function, [(item, type(item).__name__) for item in objects])

    def explore(self, function: Any, roots: Iterable[tuple[Any, str]]) -> Watch:
        """Find everything that can be reached from a function and from what it is given: (object, name)."""
        if isinstance(function, types.MethodType):
            roots = [(function.__self__, "self"), *roots]
            function = function.__func__
        if isinstance(function, types.FunctionType):
            self._seen.add(id(function))
            self._function(function, function.__name__)
        else:
            roots = [(function, getattr(function, "__name__", type(function).__name__)), *roots]
        for tensor in self.tensors[: self.arguments]:
            self._grad(tensor, self.names[self._numbers[id(tensor)]])
        self._waiting.extend((root, name, False) for root, name in roots)
        while self._waiting:
            item, name, managed = self._waiting.popleft()
            self._visit(item, name, managed)
            if len(self.containers) + len(self.tensors) > LIMIT:
                raise TooMuch(f"it can reach more than {LIMIT} objects, through {name}")
            if not self._waiting:
                self._look_into_modules()
        return self

    def _look_into_modules(self) -> None:
        """Of a module of the user's, what has a name that some function uses is watched."""
        for module, name, watched in self._modules.values():
            names = tuple(sorted(self._used.intersection(vars(module)) - watched))
            if names:
                watched.update(names)
                self._contents(Container(vars(module), f"{name}.", False, names))

    def number(self, tensor: Any) -> int | None:
        return self._numbers.get(id(tensor))

    def _add_tensor(self, tensor: Tensor, name: str) -> None:
        if id(tensor) not in self._numbers:
            tensor._watched = True
            self._numbers[id(tensor)] = len(self.tensors)
            self.tensors.append(tensor)
            self.names.append(name)

    def _grad(self, tensor: Tensor, name: str) -> None:
        gradient = tensor.grad
        if gradient is not None and id(gradient) not in self._numbers:
            self.gradient_of[len(self.tensors)] = self._numbers[id(tensor)]
            self._add_tensor(gradient, f"{name}.grad")

    # ---- one object ----

    def _visit(self, item: Any, name: str, managed: bool) -> None:
        if isinstance(item, (*CONSTANTS, DType, Device, np.generic)):
            return
        if isinstance(item, Tensor):
            number = self._numbers.get(id(item))
            if number is not None and number < self.arguments:
                self.shared.add(number)
            self._add_tensor(item, name)
            self._grad(item, name)
            self.holders[self._numbers[id(item)]] += 1
            self.gradient_of.pop(self._numbers[id(item)], None)
            for hooks in (item._hooks, item._accumulate_hooks):
                if hooks and id(hooks) not in self._seen:
                    self._seen.add(id(hooks))
                    self._contents(Container(hooks, f"{name}'s hooks", False, announced=True))
            return
        if id(item) in self._seen:
            return
        self._seen.add(id(item))
        if isinstance(item, np.ndarray):
            self.arrays[id(item)] = item
        elif isinstance(item, (dict, list, deque)):
            self._contents(Container(item, name, managed))
        elif isinstance(item, (tuple, set, frozenset)):
            self._waiting.extend((part, f"{name}[{place}]", managed) for place, part in enumerate(item))
            if isinstance(item, set):
                self.containers.append(Container(item, name, managed))
        elif isinstance(item, types.FunctionType) and _is_users(item.__module__ or ""):
            self._function(item, name)
        elif isinstance(item, (types.FunctionType, types.BuiltinFunctionType)):
            if not _is_pure(item.__module__ or ""):
                self.doubts.append(f"it uses {name}")
        elif isinstance(item, types.MethodType):
            self._waiting.append((item.__self__, name.rpartition(".")[0] or name, managed))
            self._waiting.append((item.__func__, name, managed))
        elif isinstance(item, functools.partial):
            self._waiting.extend((part, name, managed) for part in (item.func, item.args, item.keywords))
        elif isinstance(item, types.ModuleType):
            if _is_users(item.__name__):
                self._modules[id(item)] = (item, item.__name__, set())
            elif not _is_pure(item.__name__):
                self.doubts.append(f"it uses {item.__name__}")
        elif isinstance(item, type):
            self._class(item)
        else:
            self._object(item, name, managed)

    def _object(self, item: Any, name: str, managed: bool) -> None:
        kind = type(item)
        if kind.__module__.startswith(("netcl.core", "netcl.random", "netcl.graph", "builtins")):
            if kind.__module__ == "builtins" and kind not in (types.BuiltinFunctionType, property, staticmethod):
                self.doubts.append(f"it uses {name}, a {kind.__name__}")
            return
        wrapped = getattr(item, "__wrapped_by_jit__", None)
        if wrapped is not None:
            self._waiting.append((wrapped, name, managed))
            return
        if isinstance(item, (random.Random, np.random.Generator, np.random.RandomState)):
            self.engines.append(item)
            self.doubts.append(f"it uses {name}, a {kind.__name__}")
        values = getattr(item, "__dict__", None)
        slots = _slots(kind)
        if values is None and not slots:
            self.doubts.append(f"it uses {name}, a {kind.__name__}")
            return
        managed = managed or getattr(kind, "_numbers_are_effects", False)
        if slots:
            self._contents(Container(Attributes(item), f"{name}.", managed, slots))
        if values is not None:
            announced = getattr(kind, "_announces_changes", False)
            self._contents(Container(values, f"{name}.", managed, announced=announced))
        for parent in kind.__mro__:
            if _is_users(parent.__module__):
                self._waiting.append((parent, parent.__name__, False))
        if _is_users(kind.__module__):
            self.objects.append(item)
            self.kinds.append(kind)

    def _class(self, kind: type) -> None:
        if not _is_users(kind.__module__):
            if not _is_pure(kind.__module__):
                self.doubts.append(f"it uses {kind.__name__}")
            return
        space = vars(kind)
        methods = {name: value for name, value in space.items() if isinstance(value, _CODE)}
        getter = itemgetter("__module__", "__doc__", *methods)  # more than one, so that it gives a tuple
        self.classes.append((space, len(space), getter, getter(space)))
        data = tuple(n for n in space if n not in methods and not (n.startswith("_") and n.endswith("_"))
                     and not n.startswith("_abc_"))  # fmt: skip
        if data:
            self._contents(Container(Attributes(kind), f"{kind.__name__}.", False, data))
        for value in methods.values():
            for function in _functions_of(value):
                self._waiting.append((function, getattr(function, "__qualname__", kind.__name__), False))

    def _function(self, function: types.FunctionType, name: str) -> None:
        code = function.__code__
        self.functions.append((function, code, function.__defaults__, function.__kwdefaults__))
        for cell, free in zip(function.__closure__ or (), code.co_freevars, strict=True):
            self._contents(Container(cell, free, False))
        self._used |= self._names(code)
        here = tuple(sorted(n for n in _global_names(code) if n in function.__globals__))
        if here:
            self._contents(Container(function.__globals__, "", False, here))
        if function.__dict__:
            self._contents(Container(function.__dict__, f"{name}.", False))
        else:
            self.bare.append((function, name))
        self._waiting.extend((part, name, False) for part in (function.__defaults__, function.__kwdefaults__))

    def _names(self, code: types.CodeType) -> set[str]:
        """The names that a function's code uses, those of the functions inside it too."""
        names = set(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                names |= self._names(constant)
        for name in sorted(names & _DOUBTFUL):
            self.doubts.append(f"{code.co_name} uses {name}")
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME" and not _is_pure(instruction.argval):
                module = sys.modules.get(instruction.argval)
                if module is not None and _is_users(module.__name__):
                    self._waiting.append((module, module.__name__, False))
                self.doubts.append(f"{code.co_name} imports {instruction.argval}")
        return names

    def _contents(self, container: Container) -> None:
        self.containers.append(container)
        for key, item in zip(container.keys, container.content, strict=True):
            if container.announced and isinstance(item, (dict, set)) and key.startswith("_"):
                own = Container(item, container.describe(key), container.managed, announced=True)
                self._seen.add(id(item))
                self._contents(own)
                continue
            if isinstance(key, Tensor):  # an optimizer's state
                self._waiting.append((key, container.label, container.managed))
            self._waiting.append((item, container.describe(key), container.managed))


def _global_names(code: types.CodeType) -> set[str]:
    """The globals that a function reads or writes, those of the functions inside it too: of `a.step`, only a."""
    names = {i.argval for i in dis.get_instructions(code) if "GLOBAL" in i.opname or i.opname.endswith("_NAME")}
    return names.union(*(_global_names(part) for part in code.co_consts if isinstance(part, types.CodeType)))


_CODE = (
    types.FunctionType, property, staticmethod, classmethod, functools.cached_property, functools.partialmethod, type,
    types.MemberDescriptorType, types.GetSetDescriptorType, types.BuiltinFunctionType,
)  # fmt: skip


def _functions_of(method: Any) -> list[Any]:
    """What a part of a class calls."""
    if isinstance(method, property):
        return [function for function in (method.fget, method.fset, method.fdel) if function is not None]
    if isinstance(method, (staticmethod, classmethod)):
        return [method.__func__]
    if isinstance(method, (functools.cached_property, functools.partialmethod)):
        return [method.func]
    return [method] if isinstance(method, (types.FunctionType, type)) else []


def _slots(kind: type) -> tuple[str, ...]:
    """The names of the slots that a user's class, or one that it inherits from, gives its objects."""
    return tuple(
        name
        for parent in kind.__mro__
        if _is_users(parent.__module__)
        for name, value in vars(parent).items()
        if isinstance(value, types.MemberDescriptorType)
    )


def states_of(engines: Iterable[Any]) -> list[Any]:
    """Where generators of random numbers that are not netcl's are."""
    return [_state_of(engine) for engine in engines]


def _state_of(engine: Any) -> Any:
    if isinstance(engine, np.random.Generator):
        return repr(engine.bit_generator.state)
    if engine is np.random or isinstance(engine, np.random.RandomState):
        state: Any = engine.get_state()
        _, keys, *rest = state
        return keys.tobytes(), rest
    return engine.getstate()


def _is_pure(module: str) -> bool:
    return module.partition(".")[0] in _PURE


def _is_users(module: str) -> bool:
    """Whether a module is the user's own: neither netcl's, nor Python's, nor an installed package's."""
    root = module.partition(".")[0]
    if root in ("__main__", ""):  # "": code that was executed from a string
        return True
    if root == "netcl" or root in sys.stdlib_module_names:
        return False
    path = getattr(sys.modules.get(module), "__file__", None)
    return path is None or not ("site-packages" in path or "dist-packages" in path)
