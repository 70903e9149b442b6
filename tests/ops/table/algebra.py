"""Products, factorisations and functions of matrices."""

from __future__ import annotations

import numpy as np

from table.rows import Numbers, real, row


def _diagonal(size: int, dtype: np.dtype) -> np.ndarray:
    return np.diag(np.arange(1, size + 1)).astype(dtype)


class Definite(Numbers):
    """Symmetric matrices whose eigenvalues are positive and apart."""

    spreads = False

    def draw(self, position: int, dtype: str | None = None) -> np.ndarray:
        a = super().draw(position, dtype)
        return a @ a.swapaxes(-1, -2) + 2 * _diagonal(self.shape[-1], a.dtype)


class Lower(Numbers):
    """Lower triangles with a diagonal away from 0."""

    spreads = False

    def draw(self, position: int, dtype: str | None = None) -> np.ndarray:
        a = super().draw(position, dtype)
        return np.tril(a, -1) + _diagonal(self.shape[-1], a.dtype)


A, B = real(3, 4), real(4, 5)
SQUARE = real(3, 3)
BATCH = real(2, 3, 3)
VECTOR = real(4)

row("matmul linalg.matmul mm Tensor.__matmul__", A, B)
row("matmul", A, VECTOR)
row("matmul", VECTOR, B)
row("matmul", VECTOR, real(4))
row("matmul bmm", real(2, 3, 4), real(2, 4, 5))
row("matmul", real(2, 1, 3, 4), real(3, 4, 5))
row("matmul", real(2, 3, 4), VECTOR)
row("mv", A, VECTOR)
row("dot vdot", VECTOR, real(4))
row("inner", A, real(5, 4))
row("outer ger", VECTOR, real(3))
row("linalg.vecdot", A, real(3, 4))
row("linalg.vecdot", A, real(3, 4), dim=0)
row("cross linalg.cross", real(4, 3), real(4, 3))
row("cross linalg.cross", real(3, 4), real(3, 4), dim=0)
row("addmm", real(5), A, B, beta=0.5, alpha=2)
row("addmm", real(3, 5), A, B)
row("addmv", real(3), A, VECTOR, beta=0.5, alpha=2)
row("addr", A, real(3), VECTOR, beta=0.5, alpha=2)
row("baddbmm", real(2, 3, 5), real(2, 3, 4), real(2, 4, 5), beta=0.5, alpha=2)
row("addbmm", real(3, 5), real(2, 3, 4), real(2, 4, 5), beta=0.5)
row("chain_matmul", A, B, real(5, 2))
row("linalg.multi_dot", [VECTOR, B, real(5, 2)])
row("tensordot", A, B, 1)
row("tensordot", real(2, 3, 4), real(4, 3, 2), ([1, 2], [1, 0]))
row("kron", A, real(2, 2))
row("einsum", "ij,jk->ik", A, B)
row("einsum", "bij,bj->i", real(2, 3, 4), real(2, 4))
row("einsum", "ii->i", SQUARE)
row("einsum", "...ij->...ji", real(2, 3, 4))

row("cholesky linalg.cholesky logdet", Definite((3, 3)))
row("linalg.cholesky", Definite((2, 3, 3)), upper=True)
row("cholesky_inverse", Lower((3, 3)))
row("cholesky_solve", real(3, 2), Lower((3, 3)))
row("det slogdet inverse linalg.det linalg.slogdet linalg.inv linalg.pinv pinverse linalg.cond", Definite((3, 3)))
row("det slogdet inverse linalg.inv", Definite((2, 3, 3)))
row("linalg.solve", Definite((3, 3)), real(3, 2))
row("linalg.solve", Definite((2, 3, 3)), real(2, 4, 3), left=False)
row("linalg.solve_triangular", Lower((3, 3)), real(3, 2), upper=False)
row("linalg.lstsq", real(4, 3), real(4, 2), driver="gelsd")
row("linalg.eigvalsh linalg.svdvals linalg.matrix_rank", Definite((3, 3)))
row("linalg.pinv linalg.svdvals linalg.matrix_rank", real(4, 3))
row("linalg.eigh linalg.qr linalg.svd", Definite((3, 3)))
row("linalg.matrix_exp matrix_exp", SQUARE)
row("matrix_power linalg.matrix_power", BATCH, 3)
row("matrix_power linalg.matrix_power", Definite((3, 3)), -2)
row("vander", VECTOR)
row("vander", VECTOR, 3, True)
row("linalg.vander", A, N=3)
row("linalg.diagonal", BATCH)
row("linalg.diagonal", BATCH, offset=1, dim1=0, dim2=2)
row("linalg.tensorinv", Definite((6, 6)), 1)
row("linalg.tensorsolve", Definite((6, 6)), real(6))
row("trace", SQUARE)
row("linalg.cond", Definite((3, 3)), 1)
