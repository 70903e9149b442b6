"""Named results of operations that return several tensors, as torch.return_types has them.

>>> import netcl as nc
>>> nc.tensor([[1.0, 3.0]]).max(1).indices
tensor([1])
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

_FIELDS = {
    "max": "values indices", "min": "values indices", "median": "values indices", "nanmedian": "values indices",
    "mode": "values indices", "kthvalue": "values indices", "sort": "values indices", "topk": "values indices",
    "cummax": "values indices", "cummin": "values indices", "aminmax": "min max", "histogram": "hist bin_edges",
    "frexp": "mantissa exponent", "slogdet": "sign logabsdet", "linalg_slogdet": "sign logabsdet",
    "linalg_eigh": "eigenvalues eigenvectors", "linalg_qr": "Q R", "linalg_svd": "U S Vh",
    "linalg_lstsq": "solution residuals rank singular_values",
}  # fmt: skip

__all__ = list(_FIELDS)


def _text(result: Any) -> str:
    fields = ",\n".join(f"{name}={getattr(result, name)!r}" for name in result._fields)
    return f"netcl.return_types.{type(result).__name__}(\n{fields})"


def _make(name: str, fields: str) -> Any:
    made = namedtuple(name, fields, module=__name__)  # type: ignore[misc]
    return type(name, (made,), {"__repr__": _text, "__slots__": (), "__module__": __name__})


_TYPES = {name: _make(name, fields) for name, fields in _FIELDS.items()}
globals().update(_TYPES)


def named(name: str, *tensors: Any) -> Any:
    """The results of the operation `name` as its named tuple."""
    return _TYPES[name](*tensors)
