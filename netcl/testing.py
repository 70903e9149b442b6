"""assert_close, for tests: PyTorch's tolerances by dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from netcl.core import dtypes
from netcl.tensor import Tensor

__all__ = ["assert_close"]

# (relative, absolute); of two dtypes the larger tolerances
_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
}  # fmt: skip


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None,
    atol: float | None = None, equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True,
    check_stride: bool = False, msg: str | Callable[[str], str] | None = None,
) -> None:  # fmt: skip
    """AssertionError unless |actual - expected| <= atol + rtol * |expected| everywhere: in tensors, arrays, numbers,
    and sequences and mappings of them. Shapes, and as asked dtypes, devices and strides, have to be equal too.

    Subclasses are compared by their elements, whatever allow_subclasses says.

    >>> import netcl as nc
    >>> nc.testing.assert_close(nc.tensor([1.0]), nc.tensor([1.0 + 1e-7]))
    """
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            _fail(f"The keys of the mappings do not match: {sorted(actual)} and {sorted(expected)}", msg)
        pairs = [(actual[key], expected[key]) for key in expected]
    elif isinstance(actual, Sequence) and isinstance(expected, Sequence) and not isinstance(actual, str):
        if len(actual) != len(expected):
            _fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", msg)
        pairs = list(zip(actual, expected, strict=True))
    else:
        if (rtol is None) != (atol is None):
            raise ValueError("assert_close: rtol and atol must both be given, or neither")
        both = _tensor(actual), _tensor(expected)
        _compare(*both, rtol, atol, equal_nan, check_device, check_dtype, check_stride, msg)
        return
    for one, other in pairs:
        assert_close(
            one, other, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=check_device, check_dtype=check_dtype,
            check_stride=check_stride, msg=msg,
        )  # fmt: skip


def _tensor(thing: Any) -> Tensor:
    if isinstance(thing, Tensor):
        return thing.detach()
    if not isinstance(thing, (bool, int, float, np.ndarray, np.generic)):
        raise TypeError(f"assert_close: can't compare {type(thing).__name__}; pass tensors, arrays or numbers")
    array = np.asarray(thing)
    return Tensor.from_host(array.astype(np.float64) if isinstance(thing, float) else array)


def _compare(
    actual: Tensor, expected: Tensor, rtol: float | None, atol: float | None, equal_nan: bool, check_device: bool,
    check_dtype: bool, check_stride: bool, msg: Any,
) -> None:  # fmt: skip
    asked = (("shape", True), ("device", check_device), ("dtype", check_dtype), ("stride", check_stride))
    for name, wanted in asked:
        one, other = (getattr(x, name)() if name == "stride" else getattr(x, name) for x in (actual, expected))
        if wanted and one != other:
            _fail(f"The values for attribute '{name}' do not match: {one} != {other}.", msg)
    if rtol is None or atol is None:
        known = [_TOLERANCES.get(x.dtype, (0.0, 0.0)) for x in (actual, expected)]
        rtol, atol = max(r for r, _ in known), max(a for _, a in known)
    one, other = (x.double().numpy() for x in (actual, expected))
    close = np.isclose(one, other, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if close.all():
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(one - other)
        share = apart / np.abs(other)
    where = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.where(close, 0, apart))), one.shape))
    _fail(
        f"Tensor-likes are not close!\n\nMismatched elements: {int((~close).sum())} / {close.size}\n"
        f"Greatest absolute difference: {apart[where]} at index {where} (up to {atol} allowed)\n"
        f"Relative difference there: {share[where]} (up to {rtol} allowed)", msg,
    )  # fmt: skip


def _fail(text: str, msg: Any) -> None:
    raise AssertionError(msg(text) if callable(msg) else msg or text)
