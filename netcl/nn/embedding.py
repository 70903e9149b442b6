"""Tables of trained rows: Embedding, and EmbeddingBag, which combines rows."""

from __future__ import annotations

from typing import Any

from netcl.autograd.tape import no_grad
from netcl.core.dtypes import DType
from netcl.nn import functional as F
from netcl.nn import init
from netcl.nn.module import Module
from netcl.nn.parameter import Parameter, unset
from netcl.tensor import Tensor


class _Table(Module):
    """num_embeddings rows of embedding_dim numbers, drawn from N(0, 1): PyTorch's for the same `manual_seed`."""

    weight: Parameter

    def _set_up(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None,
        norm_type: float, scale_grad_by_freq: bool, sparse: bool, weight: Tensor | None, device: Any,
        dtype: DType | None,
    ) -> None:  # fmt: skip
        if sparse:
            raise NotImplementedError(f"{type(self).__name__}: there are no sparse gradients here; leave sparse=False")
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"padding_idx {padding_idx} must lie within the {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is not None:
            if tuple(weight.shape) != (num_embeddings, embedding_dim):
                raise ValueError(f"weight has shape {list(weight.shape)}, expected {[num_embeddings, embedding_dim]}")
            self.weight = Parameter(weight)
        else:
            self.weight = unset(num_embeddings, embedding_dim, device=device, dtype=dtype)
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the rows anew; the row padding_idx becomes zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        defaults = {"padding_idx": None, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text


class Embedding(_Table):
    """The rows of a table that indices name: (*) int64 or int32 gives (*, embedding_dim).

    The row padding_idx starts as zeros and has no gradient. See `functional.embedding` for the rest.

    >>> import netcl as nc
    >>> nc.nn.Embedding(10, 3)(nc.tensor([[1, 2], [4, 5]])).shape
    netcl.Size([2, 2, 3])
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None,
        _freeze: bool = False, device: Any = None, dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._set_up(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            device, dtype,
        )  # fmt: skip
        self.weight.requires_grad_(not _freeze)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """A table of given rows (num_embeddings, embedding_dim), not trained unless freeze is False."""
        rows, size = _rows_of(embeddings)
        return cls(
            rows, size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze
        )


def _rows_of(embeddings: Tensor) -> tuple[int, int]:
    if embeddings.ndim != 2:
        raise ValueError(f"from_pretrained: expected 2 dimensions, got shape {list(embeddings.shape)}")
    return embeddings.shape[0], embeddings.shape[1]


class EmbeddingBag(_Table):
    """The sum, mean or max of the rows of each bag of indices: (bags, length), or (n,) with offsets, gives
    (bags, embedding_dim). See `functional.embedding_bag`.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None,
        include_last_offset: bool = False, padding_idx: int | None = None, device: Any = None,
        dtype: DType | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.mode = mode
        self.include_last_offset = include_last_offset
        self._set_up(
            num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:  # fmt: skip
        """A table of given rows (num_embeddings, embedding_dim), not trained unless freeze is False."""
        rows, size = _rows_of(embeddings)
        bag = cls(
            rows, size, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset,
            padding_idx,
        )  # fmt: skip
        bag.weight.requires_grad_(not freeze)
        return bag

    def extra_repr(self) -> str:
        text = super().extra_repr()
        padding = f", padding_idx={self.padding_idx}"
        if self.padding_idx is None:
            return f"{text}, mode={self.mode!r}"
        return f"{text.replace(padding, '', 1)}, mode={self.mode!r}{padding}"  # PyTorch's order
