"""GradScaler: gradients that float16 can hold. Nothing is read back: the scale, the search for infinities and the
decision to skip a step are on the device."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from math import inf
from typing import Any

from netcl.autograd.tape import no_grad
from netcl.core import dtypes
from netcl.core.device import device as find_device
from netcl.graph.primitives import composite
from netcl.graph.value import record_many
from netcl.ops.creation import full
from netcl.tensor import Tensor


class _Stage(Enum):
    """How far an optimizer has come since the last update()."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


class _Optimizer:
    """What a scaler knows of an optimizer since the last update()."""

    def __init__(self) -> None:
        self.stage = _Stage.READY
        self.found: dict[Any, Tensor] = {}  # by device: 1.0 where a gradient is infinite or NaN, else 0.0


class GradScaler:
    """Multiplies a loss, so that its gradients don't vanish in float16, and divides the gradients before the step.

    A step whose gradients are infinite or NaN changes nothing, and the scale is multiplied by `backoff_factor`; after
    `growth_interval` steps without such it is multiplied by `growth_factor`. PyTorch's arithmetic, errors and state.

    No step reads anything: the optimizer gets 1 or 0 as a tensor and keeps every value, its step counts too, where it
    is 1. A user's optimizer with a step() of its own can't do that: for such a one it is read.

    device: where the scale lies until scale() sees a loss (None: the loss's device). With "cuda" it warns and is off,
    as in PyTorch without CUDA.

    >>> import netcl as nc
    >>> _ = nc.manual_seed(0)
    >>> model = nc.nn.Linear(4, 1)
    >>> optimizer, scaler = nc.optim.SGD(model.parameters(), lr=0.1), nc.amp.GradScaler()
    >>> with nc.autocast(dtype=nc.float16):
    ...     loss = model(nc.ones(2, 4)).square().mean()
    >>> scaler.scale(loss).backward()
    >>> scaler.step(optimizer)
    >>> scaler.update()
    >>> scaler.get_scale()
    65536.0
    """

    _scale: Tensor | None = None  # each scaler's own, once it has seen a loss
    _growth_tracker: Tensor | None = None

    def __init__(
        self, device: Any = None, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        if device == "cuda" and enabled:
            warnings.warn('GradScaler: there is no "cuda"; it is switched off. Leave the device out', stacklevel=2)
            enabled = False
        if device is not None and enabled:
            find_device(device)
        if enabled and not growth_factor > 1.0:
            raise ValueError(f"The growth factor must be > 1.0, got {growth_factor}")
        if enabled and not backoff_factor < 1.0:
            raise ValueError(f"The backoff factor must be < 1.0, got {backoff_factor}")
        self._enabled = bool(enabled)
        self._device = device
        self._init_scale = float(init_scale)
        self._init_growth_tracker = 0
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._optimizers: dict[int, _Optimizer] = {}  # emptied, never exchanged: jit_compile watches what is in it

    def _of(self, optimizer: Any) -> _Optimizer:
        return self._optimizers.setdefault(id(optimizer), _Optimizer())

    # ---- the loss ----

    def scale(self, outputs: Any) -> Any:
        """outputs * scale: a tensor, or tensors in a list or tuple (of lists or tuples)."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._start(outputs.device)
            return outputs * self._scale.to(outputs.device)  # type: ignore[union-attr]
        if isinstance(outputs, Iterable) and not isinstance(outputs, (str, bytes)):
            scaled = map(self.scale, outputs)
            return type(outputs)(scaled) if isinstance(outputs, (list, tuple)) else scaled
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _start(self, device: Any) -> None:
        self._scale = _number(self._init_scale, dtypes.float32, device)
        self._growth_tracker = _number(self._init_growth_tracker, dtypes.int32, device)

    def _check_started(self, name: str) -> None:
        if self._scale is None:
            raise AssertionError(
                f"Attempted {name} but _scale is None. This may indicate your script did not use scaler.scale(loss or "
                "outputs) earlier in the iteration."
            )

    # ---- the gradients ----

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, to clip or read them before step().

        RuntimeError the second time before update(), and after step(); ValueError for float16 gradients.
        """
        if not self._enabled:
            return
        self._check_started("unscale_")
        known = self._of(optimizer)
        if known.stage is _Stage.UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if known.stage is _Stage.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        gradients: dict[Any, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    if parameter.grad.dtype is dtypes.float16:
                        raise ValueError("Attempting to unscale FP16 gradients. Keep the parameters in float32.")
                    gradients.setdefault(parameter.grad.device, []).append(parameter.grad)
        with no_grad():
            for device, found in gradients.items():
                known.found[device] = _unscale(found, self._scale.to(device))  # type: ignore[union-attr]
        known.stage = _Stage.UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), which changes nothing where a gradient is infinite or NaN. Gradients are unscaled first,
        unless unscale_() did so. RuntimeError the second time before update(), and for a closure."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or any(callable(arg) for arg in args):
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_started("step")
        known = self._of(optimizer)
        if known.stage is _Stage.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if known.stage is _Stage.READY:
            self.unscale_(optimizer)
        if not known.found:
            raise AssertionError("No inf checks were recorded for this optimizer.")
        result = None
        with no_grad():
            found = _any([*known.found.values()])
            if getattr(optimizer, "skips_on_device", False):
                optimizer.found_inf = found
                try:
                    result = optimizer.step(*args, **kwargs)
                except BaseException:  # what was found may wait for memory that there is not: the next one looks anew
                    del self._optimizers[id(optimizer)]
                    raise
                finally:
                    del optimizer.found_inf
            elif not found.item():
                result = optimizer.step(*args, **kwargs)
        known.stage = _Stage.STEPPED
        return result

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale to what the steps since the last update() found, or set it to `new_scale`."""
        if not self._enabled:
            return
        self._check_started("update")
        with no_grad():
            if new_scale is None:
                self._adapt()
            elif not isinstance(new_scale, Tensor):
                self._scale.fill_(float(new_scale))  # type: ignore[union-attr]
            elif new_scale.numel() != 1 or new_scale.requires_grad:
                raise ValueError("new_scale should be a float or a tensor of one element that requires no gradient")
            else:
                self._scale.copy_(new_scale.reshape(()))  # type: ignore[union-attr]
        self._optimizers.clear()

    def _adapt(self) -> None:
        scale, tracker = self._scale, self._growth_tracker
        found = [tensor for known in self._optimizers.values() for tensor in known.found.values()]
        if not found:
            raise AssertionError("No inf checks were recorded prior to update.")
        assert scale is not None
        assert tracker is not None
        operands = [scale._value, tracker._value, _any(found).to(scale.device)._value]
        numbers = [float(n) for n in (self._growth_factor, self._backoff_factor, self._growth_interval)]
        new = record_many("update_scale", operands, None, numbers, "float32")
        scale._assign(new[0])
        tracker._assign(new[1])

    # ---- what it is ----

    def get_scale(self) -> float:
        """The scale now, as a number: this waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def _get_growth_tracker(self) -> int:
        return self._init_growth_tracker if self._growth_tracker is None else int(self._growth_tracker.item())

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after growth_interval steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Another growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by when a gradient is infinite or NaN."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Another backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many steps in a row without infinities the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Another growth interval."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything at all."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale, the factors and the count of steps since it last changed, as numbers; {} where not enabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(), "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._get_growth_tracker(),
        }  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where state_dict() was called, PyTorch's too. RuntimeError for that of one that was not enabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler."
            )
        self._init_scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = int(state_dict["_growth_tracker"])
        if self._scale is not None and self._growth_tracker is not None:
            with no_grad():
                self._scale.fill_(self._init_scale)
                self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict[str, Any]:
        if self._optimizers:
            raise RuntimeError(
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after "
                "scaler.update()."
            )
        state = {name: value for name, value in self.__dict__.items() if not isinstance(value, Tensor)}
        if self._enabled:
            state.update(_init_scale=self.get_scale(), _init_growth_tracker=self._get_growth_tracker())
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


# ---- on the device -----------------------------------------------------------------------------------------------


def _number(number: float, dtype: Any, device: Any) -> Tensor:
    return full((), number, dtype=dtype, device=device)


def _any(found: list[Tensor]) -> Tensor:
    """1.0 where one of them is, on the first one's device."""
    total = found[0]
    for other in found[1:]:
        total = total.maximum(other.to(total.device))
    return total


def _unscale(gradients: list[Tensor], scale: Tensor) -> Tensor:
    """Divide gradients by the scale in place; 1.0 where an element of them is infinite or NaN, else 0.0."""
    *values, found = record_many("unscale", [*(g._value for g in gradients), scale._value])
    for gradient, value in zip(gradients, values, strict=True):
        gradient._assign(value)
    return Tensor._wrap(found)


def _unscale_infer(operands: Any, arg: Any) -> list[tuple]:
    return [*((g.shape, g.dtype) for g in operands[:-1]), ((), dtypes.float32)]


def _unscale_body(*operands: Any) -> tuple:
    *gradients, scale = map(Tensor._wrap, operands)
    inverse = scale.reciprocal()
    results, bad = [], None
    for gradient in gradients:
        wide = gradient.to(dtypes.accumulator(gradient.dtype)) * inverse
        results.append(wide.to(gradient.dtype)._value)
        if 0 in gradient._value.shape:
            continue
        here = (wide.abs() < inf).logical_not().to(dtypes.float32).sum()
        bad = here if bad is None else bad + here
    found = scale * 0.0 if bad is None else (bad > 0).to(dtypes.float32)
    return (*results, found._value)


def _update_infer(operands: Any, arg: Any) -> list[tuple]:
    return [(operands[0].shape, operands[0].dtype), (operands[1].shape, operands[1].dtype)]


def _update_body(*operands: Any) -> tuple:
    scale, tracker, found, growth, backoff, interval = map(Tensor._wrap, operands)
    bad = found > 0
    steps = tracker + 1
    grown = steps.to(dtypes.float32) == interval
    larger = scale * growth
    larger = larger.where(larger < inf, scale)
    after = (scale * backoff).where(bad, larger.where(grown, scale))
    return after._value, steps.where((bad | grown).logical_not(), 0).to(dtypes.int32)._value


composite("unscale", _unscale_infer, _unscale_body)
composite("update_scale", _update_infer, _update_body)
