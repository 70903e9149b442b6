"""linear_cross_entropy: PyTorch's numbers and gradients with every option, and never all logits at a time."""

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl.graph.plan import clear_plans
from netcl.ops.losses import linear

ROWS, FEATURES, CLASSES = 70, 12, 40


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Three chunks of rows, the last one smaller."""
    monkeypatch.setattr(linear, "CHUNK", CLASSES * 32)
    clear_plans()
    yield
    clear_plans()


@pytest.fixture(scope="module")
def arrays():
    draws = np.random.default_rng(0)
    target = draws.integers(0, CLASSES, ROWS)
    target[3] = -100
    numbers = [draws.standard_normal(shape).astype(np.float32) for shape in ((ROWS, FEATURES), (CLASSES, FEATURES))]
    more = draws.standard_normal(CLASSES).astype(np.float32), draws.random(CLASSES).astype(np.float32)
    return (*numbers, *more, target, draws.standard_normal(ROWS).astype(np.float32))


OPTIONS = [
    {}, {"reduction": "sum"}, {"reduction": "none"}, {"label_smoothing": 0.1}, {"linear_bias": True}, {"weight": True},
    {"ignore_index": 5},
]  # fmt: skip
EVERYTHING = {"linear_bias": True, "weight": True, "label_smoothing": 0.2, "reduction": "none"}


def run(t, functional, arrays, options, read_first=False):
    x, w, bias, class_weight, target, upstream = arrays
    leaves = [t.tensor(a, requires_grad=True) for a in (x, w, bias)]
    given = dict(options)
    if "linear_bias" in given:
        given["linear_bias"] = leaves[2]
    if "weight" in given:
        given["weight"] = t.tensor(class_weight)
    if "ignore_index" in given:
        target = np.where(target < 0, 0, target)
    loss = functional.linear_cross_entropy(leaves[0], leaves[1], t.tensor(target), **given)
    if read_first:
        loss.sum().item()
    ((loss * t.tensor(upstream)).sum() if loss.ndim else loss * loss).backward()
    return [loss, *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "default")
def test_values_and_gradients_equal_pytorch(options, arrays, torch):
    if not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("PyTorch has it since 2.13")
    theirs = run(torch, torch.nn.functional, arrays, options)
    for read_first in (False, True):
        ours = run(nc, F, arrays, options, read_first)
        for a, b in zip(ours, theirs, strict=True):
            expected = b.detach().numpy()
            np.testing.assert_allclose(a.detach().numpy(), expected, rtol=1e-4, atol=2e-6 * np.abs(expected).max())


def test_values_and_gradients_with_all_options_equal_pytorch_everywhere(arrays, torch, device):
    test_values_and_gradients_equal_pytorch(EVERYTHING, arrays, torch)


def test_it_is_cross_entropy_of_linear_also_with_z_loss_and_for_one_row(arrays, place):
    x, w, bias, _, target, _ = (nc.tensor(a) for a in arrays)
    for options in ({}, {"lse_square_scale": 0.01}):
        ours = F.linear_cross_entropy(x, w, target, bias, **options)
        expected = F.cross_entropy(F.linear(x, w, bias), target, **options)
        np.testing.assert_allclose(ours.item(), expected.item(), rtol=1e-5)
    one = F.linear_cross_entropy(x[0], w, target[0])
    np.testing.assert_allclose(one.item(), F.cross_entropy(F.linear(x[0], w), target[0]).item(), rtol=1e-5)
    probabilities = F.linear(x, w).softmax(1)
    ours = F.linear_cross_entropy(x, w, probabilities, bias)
    np.testing.assert_allclose(ours.item(), F.cross_entropy(F.linear(x, w, bias), probabilities).item(), rtol=1e-5)


TWICE = [
    {"label_smoothing": 0.1},
    {"label_smoothing": 0.1, "weighted": True, "ignore_index": 1, "lse_square_scale": 0.1, "reduction": "none"},
    {"weighted": True, "reduction": "sum"},
]


@pytest.mark.parametrize("options", TWICE, ids=lambda o: "-".join(o))
def test_gradients_of_gradients_are_right(monkeypatch, options):
    """By the input, the weight and the bias; "none" with another number arriving at each row."""
    monkeypatch.setattr(linear, "CHUNK", 6)
    draws = np.random.default_rng(0)
    given = tuple(nc.tensor(draws.standard_normal(s), requires_grad=True) for s in ((3, 2), (4, 2), (4,)))
    chosen = {"ignore_index": -100, **options}
    target = nc.tensor([1, 3, chosen["ignore_index"]])
    if chosen.pop("weighted", False):
        chosen["weight"] = nc.tensor(draws.uniform(0.5, 1.5, 4))
    arriving = nc.tensor(draws.uniform(0.5, 1.5, 3 if chosen.get("reduction") == "none" else ()))

    def loss(a, b, c):
        return F.linear_cross_entropy(a, b, target, c, **chosen) * arriving

    assert nc.autograd.gradcheck(loss, given)
    assert nc.autograd.gradgradcheck(loss, given)


def test_logits_exist_for_one_chunk_at_a_time(device):
    rows, classes, features, size = 512, 1000, 16, 64
    linear.CHUNK = classes * size
    x, w = (nc.tensor(np.ones(s, np.float32), requires_grad=True) for s in ((rows, features), (classes, features)))
    target = nc.arange(rows)
    nc.synchronize()
    pool = device.pool
    pool.reset_peak()
    before = pool.in_use
    F.linear_cross_entropy(x, w, target).backward()
    nc.synchronize()
    chunk, gradients = 4 * size * classes, 4 * features * (rows + classes)
    assert pool.peak - before < 1.3 * chunk + 2.5 * gradients  # all logits are 8 chunks


def test_two_runs_give_the_same_bits(arrays):
    first, second = (run(nc, F, arrays, {"linear_bias": True}) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())


def test_half_precision_sums_in_float32(arrays):
    x, w, _, _, target, _ = arrays
    for dtype in (nc.float16, nc.bfloat16):
        a, b = (nc.tensor(v).to(dtype).requires_grad_() for v in (x, w))
        loss = F.linear_cross_entropy(a, b, nc.tensor(target))
        loss.backward()
        c, d = (v.detach().float().requires_grad_() for v in (a, b))
        wide = F.linear_cross_entropy(c, d, nc.tensor(target))
        wide.backward()
        assert loss.dtype is nc.float32 and b.grad.dtype is dtype
        np.testing.assert_allclose(loss.item(), wide.item(), rtol=1e-6)
        np.testing.assert_array_equal(b.grad.float().numpy(), d.grad.to(dtype).float().numpy())


def test_bad_input_raises(arrays):
    x, w, bias, _, target, _ = (nc.tensor(a) for a in arrays)
    with pytest.raises(RuntimeError, match="last size must equal"):
        F.linear_cross_entropy(x[:, :5], w, target)
    with pytest.raises(ValueError, match="class indices of shape"):
        F.linear_cross_entropy(x, w, target[:5])
    with pytest.raises(RuntimeError, match="flatten"):
        F.linear_cross_entropy(x.reshape(7, 10, FEATURES), w, target.reshape(7, 10))
    with pytest.raises(RuntimeError, match="one floating dtype"):
        F.linear_cross_entropy(x, w.double(), target)
    with pytest.raises(TypeError, match="same argument"):
        F.linear_cross_entropy(x, w, target, bias, bias=bias)
    with pytest.raises(NotImplementedError, match="options"):
        F.linear_cross_entropy(x, w, target, options=object())
    with pytest.raises(ValueError, match="not a valid reduction"):
        F.linear_cross_entropy(x, w, target, reduction="average")
    loss = F.linear_cross_entropy(x, w, target.where(target != 0, CLASSES))
    with pytest.raises(IndexError, match="linear_cross_entropy.*40"):
        loss.item()


def test_no_rows_give_nan_and_zero(arrays):
    _, w, _, _, _, _ = (nc.tensor(a) for a in arrays)
    empty, target = nc.zeros(0, FEATURES), nc.zeros(0, dtype=nc.int64)
    assert np.isnan(F.linear_cross_entropy(empty, w, target).item())
    assert F.linear_cross_entropy(empty, w, target, reduction="sum").item() == 0
