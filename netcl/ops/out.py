"""`out=`: the tensor that an operation's result is written to, as `nc.add(x, y, out=z)`.

A write like any other: a view passes it on to what it is a view of, and z keeps its dtype. An empty z takes the
result's shape, and so does, with a warning, one of another shape whose elements no other tensor shares.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from inspect import signature
from typing import Any

from netcl.autograd import tape
from netcl.ops import creation
from netcl.ops.inplace import store
from netcl.storage import check_writable
from netcl.tensor import Tensor

# The functions of nc, nc.linalg and nc.special that take it, as in PyTorch. Others are views, or return what is no new
# tensor of known shape.
NAMES = frozenset(
    """
    abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax angle any arange
    arccos arccosh arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort asin asinh atan atan2 atanh baddbmm
    bernoulli bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bmm bucketize
    cat ceil chain_matmul cholesky cholesky_inverse cholesky_solve clamp clamp_max clamp_min clip column_stack
    concat concatenate cond conj_physical copysign cos cosh cross cummax cummin cumprod cumsum deg2rad det diag diff
    digamma div divide dot dstack eigh eigvalsh empty entr eq erf erfc erfcx erfinv exp exp2 expit expm1 eye fix
    float_power floor floor_divide fmax fmin fmod frac frexp full gammaln gather gcd ge ger greater greater_equal gt
    hardshrink heaviside histc histogram hstack hypot i0 i0e i1 i1e index_add index_copy index_reduce index_select
    inner inv inverse isin isneginf isposinf kron kthvalue lcm ldexp le lerp less less_equal lgamma linspace log
    log10 log1p log2 log_ndtr logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit
    logspace logsumexp lstsq lt masked_select matmul matrix_norm matrix_power matrix_rank max maximum mean median
    min minimum mm mode msort mul multi_dot multigammaln multinomial multiply mv mvlgamma nan_to_num nanmean
    nanmedian nanquantile nansum ndtr ndtri ne neg negative nextafter nonzero norm normal normalize not_equal ones
    outer pinv polygamma pow prod psi qr quantile rad2deg rand randint randn randperm reciprocal remainder renorm
    round row_stack rsqrt scatter scatter_add scatter_reduce searchsorted sgn sigmoid sign signbit sin sinc sinh
    slice_scatter slogdet solve solve_triangular sort sqrt square stack std std_mean sub subtract sum svd svdvals take
    take_along_dim tan tanh tensordot tensorinv tensorsolve threshold topk tril triu true_divide trunc var var_mean vdot
    vecdot vector_norm vstack where xlog1py xlogy zeros zeta
""".split()
)


def write_to(out: Any, function: Callable[..., Any], args: tuple, kwargs: dict[str, Any]) -> Any:
    """Call the function, write its results to `out` (a tuple, where it has several), and return that.

    The dtype of `out` is that of the result, where the function can choose. RuntimeError where a gradient is asked for,
    or where shape, dtype or device don't fit.
    """
    name = function.__name__
    words = signature(function)
    chooses = "dtype" in words.parameters and words.bind_partial(*args, **kwargs).arguments.get("dtype") is None
    if chooses and isinstance(out, Tensor):
        kwargs["dtype"] = out.dtype
    result = function(*args, **kwargs)
    if isinstance(result, Tensor):
        if not isinstance(out, Tensor):
            raise TypeError(f"{name}: out must be a tensor, got {type(out).__name__}")
        _write(name, out, result)
        return out
    fits = isinstance(out, (tuple, list)) and len(out) == len(result) and all(isinstance(t, Tensor) for t in out)
    if not fits:
        raise TypeError(f"{name}: out must be a tuple of {len(result)} tensors, one for each result")
    for place, part in zip(out, result, strict=True):
        _write(name, place, part)
    return result._make(out) if hasattr(result, "_make") else tuple(out)


def _write(name: str, out: Tensor, result: Tensor) -> None:
    if tape.is_grad_enabled() and (out._tracked or result._tracked):
        raise RuntimeError(
            f"{name}: out= has no gradients, but one of the arguments requires one; leave out= away, or call it under "
            "nc.no_grad()"
        )
    if out._value.device is not result._value.device:
        raise RuntimeError(f"{name}: the result is on {result.device}, out on {out.device}; make out there")
    if out._value.shape != result._value.shape:
        if out.numel():
            _check_alone(name, out, result)
        out.data = creation.zeros(result.shape, dtype=out.dtype, device=out.device)
    check_writable(name, out)
    store(name, out, result)


def _check_alone(name: str, out: Tensor, result: Tensor) -> None:
    """Warns that out gets another shape; RuntimeError where others share its elements, and could not follow."""
    shapes = f"{name}: the result has shape {list(result.shape)}, out has {list(out.shape)}"
    if out._storage is not None and (out._chain or out._storage.others(out)):
        raise RuntimeError(
            f"{shapes} and shares its elements; give a tensor of the result's shape, a clone(), or nc.empty(0)"
        )
    warnings.warn(
        f"{shapes}: out was resized. As in PyTorch, this is deprecated for an out that has elements; give a tensor of "
        "the result's shape, or nc.empty(0)",
        stacklevel=6,
    )
