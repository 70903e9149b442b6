"""What the table leaves out, and where netcl and PyTorch differ for a reason. Each entry has its reason."""

from __future__ import annotations

RANDOM = "random: tests/ops/test_sampling.py and tests/test_random.py compare the numbers with PyTorch's"
LOSS = "a loss: tests/losses and tests/ops/test_losses.py"
INTERNAL = "used by gradient rules; no name of PyTorch's"
CONVERSION = "goes in and out of other libraries: tests/ops/test_conversion.py, tests/ops/test_creation.py"
SETTING = "a setting or a class: tests/dtypes"

_LEFT_OUT = {
    RANDOM: """
        bernoulli multinomial normal poisson rand rand_like randint randint_like randn randn_like randperm
        Tensor.bernoulli Tensor.bernoulli_ Tensor.cauchy_ Tensor.exponential_ Tensor.geometric_ Tensor.log_normal_
        Tensor.multinomial Tensor.normal_ Tensor.random_ Tensor.uniform_ F.gumbel_softmax
    """,
    LOSS: """
        F.binary_cross_entropy F.binary_cross_entropy_with_logits F.cosine_embedding_loss F.cross_entropy F.ctc_loss
        F.dice_loss F.focal_loss F.gaussian_nll_loss F.hinge_embedding_loss F.huber_loss F.info_nce F.kl_div F.l1_loss
        F.linear_cross_entropy F.linear_mse F.log_cosh_loss F.margin_ranking_loss F.mse_loss F.multi_margin_loss
        F.multilabel_margin_loss F.multilabel_soft_margin_loss F.nll_loss F.poisson_nll_loss F.quantile_loss
        F.reduction F.sigmoid_focal_loss F.smooth_l1_loss F.soft_margin_loss F.triplet_margin_loss
        F.triplet_margin_with_distance_loss
    """,
    INTERNAL: """
        Tensor.contract Tensor.dilate Tensor.overlap_add Tensor.pad_with_zeros Tensor.put_diagonal Tensor.slice_axes
        Tensor.sum_to_shape Tensor.trunc_divide Tensor.i0e Tensor.i1e Tensor.zeta
    """,
    CONVERSION: """
        from_dlpack from_numpy frombuffer Tensor.__array_wrap__ Tensor.__dlpack__ Tensor.__dlpack_device__
        Tensor.__reduce_ex__ Tensor.__copy__
    """,
    SETTING: """
        BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor
        ShortTensor finfo iinfo set_default_dtype use_deterministic_algorithms are_deterministic_algorithms_enabled
        linalg.LinAlgError get_float32_matmul_precision set_float32_matmul_precision
    """,
    "words about memory: tests/ops/test_formats.py": """
        channels_last channels_last_3d contiguous_format layout memory_format preserve_format strided Tensor.layout
    """,
    "their elements are whatever the memory held: tests/ops/test_creation.py": "empty empty_like Tensor.new_empty",
    "addresses memory as it lies: tests/ops/test_layouts.py": "as_strided",
    "a statement, no call: tests/ops/test_inplace.py": "Tensor.__setitem__",
    "Python's divmod(); PyTorch's tensors don't have it: tests/ops/test_elementwise_division.py":
        "Tensor.__divmod__ Tensor.__rdivmod__",
    "netcl's devices are OpenCL ones": "Tensor.cuda Tensor.get_device Tensor.is_cpu",
}  # fmt: skip
EXCEPTIONS = {name: reason for reason, names in _LEFT_OUT.items() for name in names.split()}

# (name, layout) where values can't be compared, or an error is PyTorch's own mistake.
OTHER_VALUES = {
    ("take_along_dim", None): "PyTorch does not flatten an input that has no dense strides",
    ("kthvalue", "expanded"): "which of equal elements is the k-th is not said",
    ("linalg.svd", "expanded"): "the singular vectors of the singular value 0 may be any",
    ("threshold_", "expanded"): "PyTorch misses that elements share memory, and writes to them",
    ("F.threshold_", "expanded"): "PyTorch misses that elements share memory, and writes to them",
    ("Tensor.fill_diagonal_", "expanded"): "PyTorch misses that elements share memory, and writes to them",
    ("Tensor.fill_", "expanded"): "netcl refuses every write to elements that share memory",
    ("Tensor.zero_", "expanded"): "netcl refuses every write to elements that share memory",
}

# Names whose derivatives PyTorch computes otherwise; gradcheck decides that netcl's are right.
OTHER_DERIVATIVES = {
    "cholesky_inverse": "reads one triangle, so the other one has no gradient; PyTorch gives it one",
    "cholesky_solve": "reads one triangle, so the other one has no gradient; PyTorch gives it one",
    "ldexp": "PyTorch's gradient takes 2 ** exponent as an integer",
    "digamma lgamma special.digamma special.gammaln special.psi polygamma mvlgamma special.multigammaln":
        "PyTorch's trigamma has nine digits",
    "F.celu F.hardsigmoid": "PyTorch rounds 1 / alpha and 1 / 6 to float32",
}  # fmt: skip

NO_GRADIENT_THERE = (
    "not implemented", "is not differentiable", "does not require grad", "inplace operation",
    "view size is not compatible with input tensor's size",  # take_along_dim of a strided tensor
)  # fmt: skip

# Names that take dtypes which PyTorch refuses, or refuse what PyTorch takes.
_DTYPES = {
    "a bool or an integer is a number like any other": """
        F.embedding_bag argmax argmin corrcoef cov cumulative_trapezoid isin linalg.vander linalg.vecdot topk trapezoid
        trapz
    """,
    "the limits of an unsigned tensor may be negative":
        "F.hardtanh F.hardtanh_ F.threshold F.threshold_ histc threshold threshold_",
    "PyTorch cuts a factor of 0.5 down to 0 where the tensors are integers": "addbmm addcmul addmm addmv baddbmm",
}  # fmt: skip
HERE_ONLY = {name: reason for reason, names in _DTYPES.items() for name in names.split()}

# Names whose values in other dtypes than float32 are not compared.
_VALUES = {
    "which of equal integers is named is not said": "kthvalue topk",
    "PyTorch's sums of neighbours wrap around in uint8": "cumulative_trapezoid trapezoid trapz",
    "PyTorch's magnitude of what has wrapped around may be negative": "lcm",
    "PyTorch cuts a factor of 0.5 down to 0 where the tensors are integers": "index_add",
    "PyTorch's trigamma has nine digits": "polygamma special.polygamma",
}
OTHER_IN_DTYPES = {name: reason for reason, names in _VALUES.items() for name in names.split()}

# Names whose shapes are checked more strictly here, or less.
_SHAPES = {
    "a layer's tensors have to have its sizes: nothing is broadcast": """
        F.batch_norm F.dropout1d F.dropout2d F.dropout3d F.feature_alpha_dropout F.instance_norm F.linear
    """,
    "the device counts, and says so at the next read: tests/ops/test_indexing_masks.py": "masked_scatter",
    "PyTorch does not flatten an operand that has no dense strides": "kron",
    "PyTorch gives a product of nothing the shape of what is added to it": "addmv",
    "PyTorch sums what would have to be broadcast": "tensordot",
    "PyTorch lets what has no elements pass unlooked at":
        "F.pixel_unshuffle F.scaled_dot_product_attention pixel_unshuffle trapezoid",
    "a 0-d tensor is no vector, and no matrix": "adjoint linalg.vander Tensor.mH Tensor.mT",
    "PyTorch's strides of what has no elements come from where it was made": "Tensor.stride",
}
OTHER_SHAPES = {name: reason for reason, names in _SHAPES.items() for name in names.split()}
