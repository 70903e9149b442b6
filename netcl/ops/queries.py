"""Questions about tensors and settings that have one answer in netcl, and tensors taken as they are.

There are no complex, sparse, quantised or lazily negated tensors, and every kernel is deterministic.
"""

from __future__ import annotations

from typing import Any

from netcl.ops.elementwise import check_devices
from netcl.ops.formats import strided
from netcl.tensor import Tensor

__all__ = """
    are_deterministic_algorithms_enabled clone conj conj_physical detach get_float32_matmul_precision is_conj
    is_inference is_neg is_signed real resolve_conj resolve_neg set_float32_matmul_precision
    use_deterministic_algorithms
""".split()
METHODS = """
    __contains__ conj conj_physical get_device is_conj is_neg is_pinned is_shared ndimension resolve_conj resolve_neg
""".split()
METHODS_BY_NAME: dict[str, Any] = {
    name: property(lambda input: False, doc="False: netcl has no such tensors.")
    for name in ("is_meta", "is_mps", "is_nested", "is_sparse", "is_sparse_csr", "is_xpu")
}
METHODS_BY_NAME["itemsize"] = property(Tensor.element_size, doc="The bytes of an element.")
METHODS_BY_NAME["layout"] = property(lambda input: strided, doc="nc.strided: netcl has no sparse tensors.")
METHODS_BY_NAME["real"] = property(lambda input: input, doc="The tensor itself: netcl has no complex dtypes.")


def _itself(name: str) -> Any:
    def function(input: Tensor) -> Tensor:
        check_devices(name, input)
        return input

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "The tensor itself: netcl has no complex dtypes and no lazily negated tensors."
    return function


conj, conj_physical, real = _itself("conj"), _itself("conj_physical"), _itself("real")
resolve_conj, resolve_neg = _itself("resolve_conj"), _itself("resolve_neg")


def is_conj(input: Tensor) -> bool:
    """False: netcl has no complex dtypes."""
    check_devices("is_conj", input)
    return False


def is_neg(input: Tensor) -> bool:
    """False: netcl negates when asked to."""
    check_devices("is_neg", input)
    return False


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers: not for uint8 and bool."""
    return input.is_signed()


def __contains__(self: Tensor, element: Any) -> bool:
    """Whether an element of the tensor equals a number (or some element of a tensor). Waits."""
    if not isinstance(element, (Tensor, int, float)):
        raise RuntimeError(f"in: expected a number or a tensor, got {type(element).__name__}")
    return bool((self == element).any().item())


def ndimension(input: Tensor) -> int:
    """How many dimensions it has."""
    return input.ndim


def clone(input: Tensor) -> Tensor:
    """A copy, connected to the gradient graph."""
    return input.clone()


def detach(input: Tensor) -> Tensor:
    """The same elements, outside the gradient graph."""
    return input.detach()


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing to choose: every operation of netcl gives the same bits each time, whatever mode is."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: every operation of netcl gives the same bits each time."""
    return True


_precision = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """How much less than float32 products of float32 matrices may be: "highest" (nothing), "high" or "medium".

    netcl always computes them in float32: this only sets what get_float32_matmul_precision gives.
    """
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"set_float32_matmul_precision: expected highest, high or medium, got {precision!r}")
    _precision = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was called with last; at first "highest"."""
    return _precision


def is_inference(input: Tensor) -> bool:
    """False, see Tensor.is_inference."""
    return input.is_inference()


def get_device(input: Tensor) -> int:
    """The number of the GPU that the tensor is on, -1 on another device."""
    return input.device.kind_index if input.device.kind == "gpu" else -1


def is_pinned(input: Tensor) -> bool:
    """False: the elements are in a device's memory."""
    return False


def is_shared(input: Tensor) -> bool:
    """False: processes don't share a device's memory."""
    return False
