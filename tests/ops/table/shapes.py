"""Views, joining and splitting, repeating, triangles and diagonals, creation, and questions about a tensor."""

from __future__ import annotations

from table.rows import Named, index, real, row, whole

X = real(3, 4)
CUBE = real(2, 3, 4)
SQUARE = real(4, 4)
LINE = real(4)

# ---- views ----

row("reshape", X, (2, 6))
row("reshape Tensor.view Tensor.reshape", X, (4, -1))
row("Tensor.view Tensor.reshape", X, 2, 6)
row("Tensor.view_as Tensor.reshape_as", X, real(2, 6))
row("permute", CUBE, (2, 0, -2))
row("Tensor.permute", CUBE, 1, 2, 0)
row("transpose swapaxes swapdims moveaxis movedim", CUBE, 0, 2)
row("movedim moveaxis", CUBE, (0, 1), (-1, 0))
row("t adjoint ravel flatten squeeze fliplr flipud rot90 Tensor.T Tensor.mT Tensor.H Tensor.mH", X)
row("squeeze", real(3, 1, 4), 1)
row("squeeze", real(1, 3, 1, 4))
row("unsqueeze", X, -1)
row("flatten", CUBE, 1, 2)
row("unflatten", X, 1, (2, -1))
row("Tensor.expand", real(3, 1), 3, 4)
row("Tensor.expand", LINE, (2, -1))
row("Tensor.expand_as", LINE, X)
row("Tensor.sum_to_size", X, 3, 1)
row("broadcast_to", LINE, (3, 4))
row("broadcast_tensors", LINE, real(3, 1))
row("broadcast_shapes", (3, 1), (4,))
row("narrow", X, 1, 1, 2)
row("select", X, 0, -1)
row("flip", X, (0, 1))
row("Tensor.flip", CUBE, 1, 2)
row("Tensor.unfold", X, 1, 3, 1)
row("atleast_1d atleast_2d atleast_3d", LINE)
row("atleast_1d atleast_2d atleast_3d", real())
row("atleast_2d", LINE, real())
row("diagonal", X)
row("diagonal", CUBE, 1, -1, 0)
row("meshgrid", LINE, real(3), indexing="ij")
row("meshgrid", LINE, real(3), indexing="xy")

# ---- joining and splitting ----

row("cat concat concatenate stack", [X, real(3, 4)])
row("cat concat concatenate", [X, real(3, 2), real(3, 0)], 1)
row("stack", [X, real(3, 4)], -1)
row("hstack vstack dstack column_stack row_stack", [X, real(3, 4)])
row("hstack vstack column_stack", [LINE, real(4)])
row("block_diag", X, LINE, real(2, 1))
row("split unsafe_split", X, 2, 1)
row("split", X, [1, 2])
row("split_with_sizes unsafe_split_with_sizes", X, [1, 3], 1)
row("chunk unsafe_chunk", X, 3, 1)
row("tensor_split", X, 3, 1)
row("tensor_split", X, (1, 3), 1)
row("hsplit", X, 2)
row("vsplit", X, (1,))
row("dsplit", CUBE, 2)
row("unbind", X, 1)

# ---- repeating and rearranging ----

row("Tensor.repeat", X, 2, 1, 3)
row("tile", X, (2, 2))
row("repeat_interleave", X, 2)
row("repeat_interleave", X, 2, 1)
row("repeat_interleave", X, index(3, 4), 1)
row("roll", X, 1)
row("roll", X, (1, -1), (0, 1))
row("rot90", CUBE, 3, (0, 2))
row("cartesian_prod", LINE, real(3))
row("combinations", LINE)
row("combinations", LINE, 2, True)
row("tril triu", X)
row("tril triu", CUBE, -1)
row("tril triu", X, 1)
row("diag", SQUARE, 1)
row("diag diagflat diag_embed", LINE)
row("diag_embed", X, 1, 0, 2)
row("diagflat", X, -1)
row("Tensor.fill_diagonal_", X, 0.5)
row("diagonal_scatter", SQUARE, real(3), 1)
row("select_scatter", X, LINE, 0, 1)
row("slice_scatter", X, real(3, 2), 1, 0, 4, 2)

# ---- creation ----

row("zeros ones", 2, 3)
row("zeros ones eye", 3, dtype=Named("int32"))
row("eye", 3, 4)
row("full", (2, 3), 1.5)
row("full", (2,), 3)
row("full_like", X, 2)
row("zeros_like ones_like", X)
row("zeros_like ones_like", X, dtype=Named("int64"))
row("Tensor.new_zeros Tensor.new_ones", X, (2, 2))
row("Tensor.new_full", X, (2, 2), 3)
row("Tensor.new_tensor", X, [1.5, 2.0])
row("arange", 5)
row("arange", 1.0, 3.0, 0.25)
row("arange", 5, 0, -2)
row("linspace", -1.0, 2.0, 7)
row("logspace", -1.0, 2.0, 5)
row("linspace", 0, 10, 5, dtype=Named("int64"))
row("tril_indices triu_indices", 4, 3)
row("tril_indices triu_indices", 4, 5, 1)
row("scalar_tensor", 2.5)
row("bartlett_window blackman_window hamming_window hann_window kaiser_window", 7)
row("bartlett_window blackman_window hamming_window hann_window kaiser_window", 6, False)
row("tensor as_tensor asarray", [[1, 2], [3, 4]])
row("tensor", [1.5, True, 2])
row("as_tensor asarray", X)

# ---- questions ----

row("is_inference numel is_tensor is_floating_point is_signed is_complex is_conj is_neg", X)
row("""
    Tensor.is_contiguous Tensor.stride Tensor.storage_offset Tensor.ndimension Tensor.is_cuda Tensor.is_meta
    Tensor.is_mps Tensor.is_nested Tensor.is_sparse Tensor.is_sparse_csr Tensor.is_xpu Tensor.itemsize Tensor.real
""", X)  # fmt: skip
row("is_same_size", X, real(3, 4))
row("Tensor.is_pinned Tensor.is_shared", X)
row("is_same_size", X, LINE)
row("Tensor.stride", X, 1)
row("result_type", X, whole(2))
row("result_type", X, 2)
row("promote_types", Named("int8"), Named("uint8"))
row("can_cast", Named("float32"), Named("int64"))
row("get_default_dtype")

# ---- in place, without an operation of their own ----

row("Tensor.copy_", X, LINE)
row("Tensor.fill_", X, 0.5)
row("Tensor.zero_ Tensor.t_ Tensor.squeeze_ Tensor.detach_", X)
row("Tensor.float_power_", X, 2)
row("Tensor.transpose_ Tensor.swapaxes_ Tensor.swapdims_", X, 0, 1)
row("Tensor.unsqueeze_", X, 0)
