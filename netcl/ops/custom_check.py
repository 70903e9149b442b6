"""What is tried when an operation is registered: it compiles, its values are the reference's, its gradient is right."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from netcl.autograd.gradcheck import GradcheckError
from netcl.codegen.formulas import Formula, compiler_errors
from netcl.core import dtypes, program
from netcl.core.device import current_device, target_override
from netcl.tensor import Tensor

if TYPE_CHECKING:
    from netcl.ops.custom import CustomPrimitive

# (step, absolute, relative): of differences in float64, and in float32 where there is nothing better.
_DOUBLE, _SINGLE = (1e-6, 1e-5, 1e-3), (1e-2, 5e-3, 1e-2)


def check_primitive(made: CustomPrimitive, samples: Any) -> None:
    """Compile an operation on the current device and compare its values and gradients; raises where they are wrong."""
    device = current_device()
    _compile(made._formula, device)
    _apart(lambda: _compare(made, device, samples, device.capabilities.fp64), device)


def _compile(formula: Formula, device: Any) -> None:
    """RuntimeError with the compiler's words about the expression, and nothing else of its log."""
    try:
        program.get_kernel(device, formula.trial(), "trial")
    except RuntimeError as error:
        found = compiler_errors(str(error)) or str(error).splitlines()[:8]
        listed = "\n".join(f"  {line}" for line in found[:6])
        raise RuntimeError(
            f"register_primitive: the compiler of {device} refuses the expression of {formula.name!r}\n"
            f"    {formula.expression}\n{listed}"
        ) from None


def _apart(work: Callable[[], None], device: Any) -> None:
    """Run in a thread of its own, where the caller's pending operations, tapes and modes are not."""
    failed: list[BaseException] = []
    target = device.target

    def run() -> None:
        try:
            with device, target_override(target):
                work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="netcl-check")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def _points(made: CustomPrimitive, samples: Any, kind: Any) -> list[np.ndarray]:
    """Where to compare: one array for each operand."""
    count = len(made.operands)
    if samples is None:
        spread = np.random.default_rng(0)
        base = np.linspace(-3, 3, 37) + 0.0137  # no whole numbers: there are steps and kinks
        if np.dtype(kind).kind == "i":
            base = np.array([n for n in range(-18, 19) if n])
        return [spread.permutation(base).astype(kind) for _ in range(count)]
    given = list(samples) if isinstance(samples, (tuple, list)) and count > 1 else [samples]
    arrays = [np.asarray(one, dtype=kind).reshape(-1) for one in given]
    if len(arrays) != count or any(array.size != arrays[0].size or not array.size for array in arrays):
        raise ValueError(
            f"register_primitive: samples of {made.name!r} must be {count} arrays of one length, got "
            f"{[array.size for array in arrays]}"
        )
    return arrays


def _compare(made: CustomPrimitive, device: Any, samples: Any, wide: bool) -> None:
    """Values with the reference, gradients with differences; `wide`: in float64."""
    kind = dtypes.int32 if not made._formula.floats else dtypes.float64 if wide else dtypes.float32
    step, absolute, relative = _DOUBLE if wide else _SINGLE
    points = _points(made, samples, kind.numpy)

    def values(at: list[np.ndarray]) -> np.ndarray:
        return made(*[Tensor(array, dtype=kind, device=device) for array in at]).numpy()

    plain = values(points)
    if made.reference is not None:
        with np.errstate(all="ignore"):
            expected = np.asarray(made.reference(*points))
        _agree(made, "value", expected, plain, points, (1e-12, 1e-9) if wide else (1e-6, 1e-4), "the reference gives")
    if made.gradient is None:
        return
    refused = 0
    for number, operand in enumerate(made.operands):
        try:
            found, start = _gradient(made, points, number, kind, device)
        except NotImplementedError:
            refused += 1
            continue
        rough, slopes = (_slopes(values, points, number, width) for width in (step, step / 2))
        if np.isfinite(slopes).sum() < 3:
            raise ValueError(
                f"register_primitive: {made.name!r} has finite differences at {np.isfinite(slopes).sum()} of "
                f"{slopes.size} points, too few to check its gradient; pass samples= from where it is defined"
            )
        with np.errstate(invalid="ignore"):
            doubt = 2 * np.nan_to_num(np.abs(slopes - rough), nan=0.0, posinf=0.0)  # near a kink or a pole
        slopes[~np.isfinite(slopes)] = np.nan  # outside of where it is defined there is nothing to compare with
        _agree(
            made, f"gradient in {operand}", start * slopes, found, points, (absolute + doubt, relative),
            "differences give", start,
        )  # fmt: skip
    if refused == len(made.operands):
        raise ValueError(f"register_primitive: the gradient of {made.name!r} is None for every operand; leave it out")


def _slopes(
    values: Callable[[list[np.ndarray]], np.ndarray], points: list[np.ndarray], number: int, step: float
) -> np.ndarray:
    """Difference quotients in one operand, over steps to both sides."""
    width = step * np.maximum(1, np.abs(points[number]))
    sides = []
    for sign in (1, -1):
        moved = list(points)
        moved[number] = (points[number] + sign * width).astype(points[number].dtype)
        sides.append((values(moved).astype(np.float64), moved[number].astype(np.float64)))
    with np.errstate(all="ignore"):
        return (sides[0][0] - sides[1][0]) / (sides[0][1] - sides[1][1])


def _gradient(
    made: CustomPrimitive, points: list[np.ndarray], number: int, kind: Any, device: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient in one operand by the rule, from different gradients of the result, and these."""
    start = np.linspace(0.5, 1.5, points[0].size)
    tensors = [Tensor(p, dtype=kind, device=device, requires_grad=n == number) for n, p in enumerate(points)]
    made(*tensors).backward(Tensor(start, dtype=kind, device=device))
    gradient = tensors[number].grad
    assert gradient is not None
    return gradient.numpy(), start


def _agree(
    made: CustomPrimitive, what: str, expected: np.ndarray, found: np.ndarray, points: list[np.ndarray],
    tolerance: tuple[Any, float], other: str, scale: np.ndarray | None = None,
) -> None:  # fmt: skip
    """GradcheckError with the place and both numbers where they differ; NaN as expected is no comparison."""
    absolute, relative = tolerance
    wrong = ~np.isclose(found, expected, relative, absolute, equal_nan=True) & ~np.isnan(expected)
    if not wrong.any():
        return
    at = int(np.argmax(wrong))
    where = ", ".join(f"{name} = {array[at]:.6g}" for name, array in zip(made.operands, points, strict=True))
    by = 1.0 if scale is None else scale[at]
    raise GradcheckError(
        f"register_primitive: the {what} of {made.name!r} is {found[at] / by:.8g} at {where}, {other} "
        f"{expected[at] / by:.8g} ({int(wrong.sum())} of {wrong.size} points differ); nothing was registered"
    )
