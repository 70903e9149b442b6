"""NumPy's functions by the names of the table, for rows whose arguments they take in the same order."""

from __future__ import annotations

import numpy as np

_SAME = """
    abs absolute add all amax amin angle any argmax argmin atleast_1d atleast_2d bitwise_and bitwise_or bitwise_xor
    ceil clip copysign cos cosh cumsum deg2rad diag diagonal divide dot exp exp2 expm1 fix fliplr flipud float_power
    floor floor_divide fmax fmin fmod gcd greater greater_equal heaviside hypot inner isfinite isinf isnan isneginf
    isposinf kron lcm ldexp less less_equal log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not
    logical_or logical_xor matmul maximum mean minimum moveaxis multiply nan_to_num negative nextafter not_equal
    outer positive prod rad2deg ravel reciprocal remainder reshape roll rot90 round sign signbit sin sinc sinh sqrt
    square squeeze subtract sum swapaxes take tan tanh tensordot tile trace tril triu true_divide trunc vdot
""".split()
_OTHERWISE = {
    "acos": "arccos", "acosh": "arccosh", "arccos": "arccos", "arccosh": "arccosh", "arcsin": "arcsin",
    "arcsinh": "arcsinh", "arctan": "arctan", "arctan2": "arctan2", "arctanh": "arctanh", "asin": "arcsin",
    "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2", "atanh": "arctanh", "bitwise_left_shift": "left_shift",
    "bitwise_not": "invert", "bitwise_right_shift": "right_shift", "bmm": "matmul", "cat": "concatenate",
    "column_stack": "column_stack", "concat": "concatenate", "concatenate": "concatenate", "dstack": "dstack",
    "eq": "equal", "ge": "greater_equal", "gt": "greater", "hstack": "hstack", "le": "less_equal", "lt": "less",
    "mm": "matmul", "mul": "multiply", "mv": "matmul", "ne": "not_equal", "neg": "negative", "permute": "transpose",
    "pow": "power", "row_stack": "vstack", "sgn": "sign", "stack": "stack", "sub": "subtract", "vstack": "vstack",
}  # fmt: skip
REFERENCES = {name: getattr(np, name) for name in _SAME} | {a: getattr(np, b) for a, b in _OTHERWISE.items()}


def reference(name: str, args: tuple) -> list[np.ndarray]:
    """NumPy's result, in float64 where there are floating-point numbers."""
    with np.errstate(all="ignore"):
        found = REFERENCES[name](*args)
    return [np.asarray(part) for part in (found if isinstance(found, (tuple, list)) else [found])]
