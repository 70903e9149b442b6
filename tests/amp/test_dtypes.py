"""The dtype of each operation's result under autocast, beside PyTorch's.

What PyTorch's "Autocast Op Reference" lists for GPUs stands in LOWER and FLOAT32 (without a GPU PyTorch has another,
shorter list); for everything else PyTorch is asked, on its CPU.
"""

import warnings
from typing import Any

import numpy as np
import pytest

import netcl as nc

LOWER = """
m.matmul(t(3,4), t(4,5)) | m.mm(t(3,4), t(4,5)) | m.bmm(t(2,3,4), t(2,4,5)) | m.baddbmm(t(2,3,5), t(2,3,4), t(2,4,5))
m.addbmm(t(3,5), t(2,3,4), t(2,4,5)) | m.addmm(t(3,5), t(3,4), t(4,5)) | m.addmv(t(3), t(3,4), t(4))
m.addr(t(3,4), t(3), t(4)) | m.einsum("ij,jk->ik", t(3,4), t(4,5)) | m.chain_matmul(t(3,4), t(4,5), t(5,2))
m.linalg.multi_dot([t(3,4), t(4,5), t(5,2)]) | m.linalg.matmul(t(3,4), t(4,5)) | F.linear(t(3,4), t(5,4), t(5))
F.prelu(t(3,4), t(4)) | F.scaled_dot_product_attention(t(1,2,3,4), t(1,2,3,4), t(1,2,3,4)) | t(3,4) @ t(4,5)
m.linalg.matrix_power(t(3,3), 2) | m.mv(t(3,4), t(4)) | m.linalg.vecdot(t(3,4), t(3,4))
"""
FLOAT32 = """
t(3,4).acos() | t(3,4).asin() | t(3,4).cosh() | t(3,4).erfinv() | t(3,4).exp() | t(3,4).expm1() | t(3,4).log()
t(3,4).log10() | t(3,4).log2() | t(3,4).log1p() | t(3,4).reciprocal() | t(3,4).rsqrt() | t(3,4).sinh() | t(3,4).tan()
t(3,4) ** 3 | t(3,4) ** 2 | t(3,4) ** 0.5 | 2 ** t(3,4) | t(3,4) ** t(3,4) | F.softplus(t(3,4)) | t(3,4).square()
F.layer_norm(t(3,4), (4,)) | F.layer_norm(t(3,4), (4,), t(4), t(4)) | F.group_norm(t(2,4,3), 2) | t(3,4).norm()
m.cosine_similarity(t(3,4), t(3,4)) | F.poisson_nll_loss(t(3,4), t(3,4)) | F.mse_loss(t(3,4), t(3,4))
F.cosine_embedding_loss(t(3,4), t(3,4), m.ones(3)) | F.nll_loss(t(3,4), m.tensor([0,1,2])) | F.l1_loss(t(3,4), t(3,4))
F.hinge_embedding_loss(t(3,4), m.ones(3,4)) | F.kl_div(t(3,4), t(3,4)) | F.smooth_l1_loss(t(3,4), t(3,4))
F.huber_loss(t(3,4), t(3,4)) | F.margin_ranking_loss(t(3), t(3), m.ones(3)) | F.soft_margin_loss(t(3,4), m.ones(3,4))
F.multilabel_margin_loss(t(3,4), m.zeros((3,4), dtype=m.int64)) | F.triplet_margin_loss(t(3,4), t(3,4), t(3,4))
F.multi_margin_loss(t(3,4), m.tensor([0,1,2])) | F.binary_cross_entropy_with_logits(t(3,4), t(3,4))
F.cross_entropy(t(3,4), m.tensor([0,1,2])) | m.dist(t(3,4), t(3,4)) | F.pdist(t(3,4)) | m.cdist(t(3,4), t(5,4))
m.renorm(t(3,4), 2, 0, 1.0) | t(3,4).logsumexp(1) | t(3,4).prod() | t(3,4).prod(1) | m.softmax(t(3,4), 1)
m.log_softmax(t(3,4), 1) | F.softmin(t(3,4), 1) | F.gumbel_softmax(t(3,4)) | t(3,4).cumprod(1) | t(3,4).cumsum(1)
m.linalg.vector_norm(t(3,4)) | m.linalg.matrix_norm(t(3,4)) | t(3,4).sum() | t(3,4).sum(1) | F.normalize(t(3,4))
F.rms_norm(t(3,4), (4,)) | F.ctc_loss(F.log_softmax(t(5,1,4), 2), m.tensor([[1,2]]), m.tensor([5]), m.tensor([2]))
"""
OTHER = """
m.outer(t(3), t(4)) | m.dot(t(3), t(3)) | F.bilinear(t(3,4), t(3,5), t(2,4,5)) | m.kron(t(2,2), t(2,2))
m.cov(t(3,4)) | F.pairwise_distance(t(3,4), t(3,4)) | F.instance_norm(t(2,4,3)) | t(3,4).cummax(1)[0] | t(3,4).median()
F.batch_norm(t(8,4), None, None, training=True) | m.nanmean(t(3,4)) | m.trace(t(3,3)) | t(3,4).sqrt() | t(3,4).sin()
t(3,4).cos() | t(3,4).tanh() | t(3,4).sigmoid() | t(3,4).relu() | t(3,4).abs() | -t(3,4) | t(3,4).floor() | t(3,4).erf()
t(3,4).erfc() | t(3,4).atan() | t(3,4).sign() | t(3,4).digamma() | t(3,4).lgamma() | t(3,4).exp2() | t(3,4).logit()
F.gelu(t(3,4)) | F.silu(t(3,4)) | F.elu(t(3,4)) | F.selu(t(3,4)) | F.hardtanh(t(3,4)) | F.hardswish(t(3,4))
F.glu(t(3,4)) | F.leaky_relu(t(3,4)) | F.mish(t(3,4)) | F.logsigmoid(t(3,4)) | F.softsign(t(3,4)) | t(3,4) + t(3,4)
t(3,4) * 2 | t(3,4) / t(3,4) | t(3,4).max() | m.cat((t(3,4), t(3,4))) | m.stack((t(3,4), t(3,4)))
m.where(t(3,4) > 0, t(3,4), t(3,4)) | t(3,4).argmax() | t(3,4) > 0
m.addcmul(t(3,4), t(3,4), t(3,4)) | m.addcdiv(t(3,4), t(3,4), t(3,4)) | m.atan2(t(3,4), t(3,4))
m.cross(t(4,3), t(4,3), dim=1) | m.lerp(t(3,4), t(3,4), 0.5) | m.hypot(t(3,4), t(3,4)) | F.dropout(t(3,4), 0.5)
m.scatter_add(t(3,4), 0, m.zeros((1,4), dtype=m.int64), t(1,4)) | t(3,4).index_put((m.tensor([0]),), t(1,4))
F.embedding(m.tensor([0,1]), t(3,4)) | F.pad(t(3,4), (1,1)) | t(4).sort()[0] | t(4).topk(2)[0] | t(3,4).clone()
F.binary_cross_entropy(t(3,4).sigmoid(), t(3,4) * 0)
t(3,4).sum(dtype=m.float64) | m.softmax(t(3,4), 1, dtype=m.float16)
t(3,4).mean(dtype=m.float16) | t(3,4).double() @ t(4,5).double()
"""
IN_FLOAT32 = """
m.linalg.lstsq(t(4,3), t(4,2))[0] | m.linalg.solve(t(3,3) + 3 * m.eye(3), t(3,2)) | m.linalg.svd(t(3,3))[1]
m.inverse(t(3,3) + 3 * m.eye(3)) | m.linalg.qr(t(3,3))[0] | m.linalg.eigh(m.eye(3))[0] | m.linalg.det(t(3,3))
"""


def calls(text: str) -> list[str]:
    return [call.strip() for line in text.strip().splitlines() for call in line.split("|")]


def result_dtype(m: Any, call: str, storage: str, narrow: str) -> str:
    def tensor(*shape: int) -> Any:
        numbers = np.random.default_rng(0).uniform(0.25, 0.75, shape).astype(np.float32)
        return m.tensor(numbers).to(getattr(m, storage))

    with m.autocast("cpu", dtype=getattr(m, narrow)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = eval(call, {"m": m, "F": m.nn.functional, "t": tensor})
    return str(result.dtype).rpartition(".")[2]


@pytest.mark.parametrize("narrow", ["bfloat16", "float16"])
def test_products_are_narrow_and_the_listed_are_float32(narrow):
    for storage in ("float32", narrow):
        for text, expected in ((LOWER, narrow), (FLOAT32, "float32")):
            found = {call: result_dtype(nc, call, storage, narrow) for call in calls(text)}
            assert found == dict.fromkeys(calls(text), expected)


def test_everything_else_has_the_dtype_that_pytorch_gives_it(torch):
    for storage in ("float32", "bfloat16"):
        found, expected = (
            {call: result_dtype(m, call, storage, "bfloat16") for call in calls(OTHER)} for m in (nc, torch)
        )
        assert found == expected, storage


def test_factorizations_and_solutions_keep_their_digits(torch):
    for call in calls(IN_FLOAT32):
        assert result_dtype(nc, call, "float32", "bfloat16") == "float32", call
        assert result_dtype(torch, call, "float32", "bfloat16") == "float32", call


HELD = {
    "elementwise": lambda x, w: (x.sin() * x).exp(),
    "sums": lambda x, w: x.sum(1),
    "total": lambda x, w: (x * x).sum(),
    "product": lambda x, w: x @ w,
    "transposed": lambda x, w: (x @ w).T,
    "slice": lambda x, w: x.cos()[3:20:2],
    "padded": lambda x, w: nc.nn.functional.pad(x.cos(), (1, 1)),
    "chosen": lambda x, w: nc.where(x > 0, x * 1.1, x * 1.7),
    "softmax": lambda x, w: x.softmax(1),
    "indexed": lambda x, w: x.cos()[nc.tensor([3, 1, 2])],
}


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("dtype", [nc.float16, nc.bfloat16], ids=str)
def test_what_is_held_has_one_value(dtype: Any) -> None:
    """What is computed from it in the same kernel sees it as it is stored."""
    rng = np.random.default_rng(0)
    x = nc.tensor(rng.standard_normal((37, 53), dtype=np.float32)).to(dtype)
    w = nc.tensor(rng.standard_normal((53, 29), dtype=np.float32)).to(dtype)
    for name, make in HELD.items():
        held = make(x, w)
        followed = (held.float() * 1.5 + 1).numpy()
        np.testing.assert_array_equal(followed, (held.float() * 1.5 + 1).numpy(), err_msg=name)
