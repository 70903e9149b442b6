"""What goes in wrong comes out as PyTorch's kind of error, naming the operation, the shapes and what to do."""

import re
import sys

import numpy as np
import pytest

import netcl as nc
import netcl.nn.functional as F
from netcl import nn

f, i = nc.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).numpy(), np.array([1, 2, 3])


def make() -> tuple:
    return nc.tensor(f), nc.tensor(i), nc.tensor([True, False, True])


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        (lambda x, n, b: x + nc.ones(4), RuntimeError, r"add.*\[2, 3\].*\[4\]"),
        (lambda x, n, b: x * nc.ones(2), RuntimeError, r"mul.*\[2, 3\].*\[2\]"),
        (lambda x, n, b: nc.where(b, x, nc.ones(5)), RuntimeError, r"where.*\[3\].*\[2, 3\].*\[5\]"),
        (lambda x, n, b: nc.where(x, x, x), RuntimeError, "where.*bool"),
        (lambda x, n, b: nc.where([True], x, x), TypeError, "where.*list"),
        (lambda x, n, b: x @ nc.ones(4, 2), RuntimeError, r"matmul.*\[2, 3\].*\[4, 2\]"),
        (lambda x, n, b: x @ nc.tensor(2.0), RuntimeError, "matmul.*1 dimension"),
        (lambda x, n, b: x @ n, RuntimeError, "matmul.*float32.*int64.*to"),
        (lambda x, n, b: x @ 3, TypeError, "matmul.*int"),
        (lambda x, n, b: x @ np.ones(3), TypeError, r"matmul.*ndarray.*nc\.tensor"),
        (lambda x, n, b: nc.mm(x, n), RuntimeError, r"mm.*\[2, 3\].*\[3\]"),
        (lambda x, n, b: nc.bmm(nc.ones(2, 2, 2), nc.ones(3, 2, 2)), RuntimeError, "bmm"),
        (lambda x, n, b: F.linear(x, nc.ones(4, 2)), RuntimeError, r"linear.*\[2, 3\].*\[4, 2\]"),
        (lambda x, n, b: F.linear(x, nc.ones(4, 3), nc.ones(3)), RuntimeError, r"linear.*bias.*\[3\].*\[4, 3\]"),
        (lambda x, n, b: F.linear(x.double(), nc.ones(4, 3)), RuntimeError, "linear.*float64.*float32"),
        (lambda x, n, b: x.reshape(4), RuntimeError, r"reshape.*\[4\].*\[2, 3\]"),
        (lambda x, n, b: x.reshape(-1, -1), RuntimeError, "reshape.*-1"),
        (lambda x, n, b: x.reshape(-1, 4), RuntimeError, r"reshape.*\[2, 3\]"),
        (lambda x, n, b: x.reshape(2.5, 2), TypeError, "reshape.*integers"),
        (lambda x, n, b: x.expand(2, 4), RuntimeError, r"expand.*4.*\[2, 3\]"),
        (lambda x, n, b: x.permute(0, 0), RuntimeError, "permute"),
        (lambda x, n, b: x.transpose(0, 2), IndexError, "transpose.*2.*2 dimensions"),
        (lambda x, n, b: x.sum(2), IndexError, "sum.*2"),
        (lambda x, n, b: x.sum((0, 0)), RuntimeError, "sum.*twice"),
        (lambda x, n, b: x.squeeze(5), IndexError, "squeeze"),
        (lambda x, n, b: x.flip(0, 0), RuntimeError, "flip.*twice"),
        (lambda x, n, b: x.narrow(0, 1, 5), RuntimeError, "narrow"),
        (lambda x, n, b: n.mean(), RuntimeError, "mean.*int64.*float"),
        (lambda x, n, b: F.softmax(n, 0), RuntimeError, "softmax.*int64"),
        (lambda x, n, b: x.clamp(), RuntimeError, "clamp.*min.*max"),
        (lambda x, n, b: -b, RuntimeError, "neg.*bool"),
        (lambda x, n, b: b - b, RuntimeError, "sub.*bool"),
        (lambda x, n, b: n**-1, RuntimeError, "pow.*negative"),
        (lambda x, n, b: x & 1, NotImplementedError, "bitwise_and.*float32"),
        (lambda x, n, b: b @ b, RuntimeError, "matmul.*bool"),
        (lambda x, n, b: x[5], IndexError, "5.*dimension 0.*size 2"),
        (lambda x, n, b: x[0, 0, 0], IndexError, "too many"),
        (lambda x, n, b: x[1.0], IndexError, "float"),
        (lambda x, n, b: x[::-1], ValueError, "positive.*flip"),
        (lambda x, n, b: x[n.to(nc.uint8)], IndexError, "uint8.*long.*bool"),
        (lambda x, n, b: x[[0, 1.5]], IndexError, "integers or bools.*float64"),
        (lambda x, n, b: x.gather(0, b), RuntimeError, "gather.*int64.*bool"),
        (lambda x, n, b: x.gather(0, n), RuntimeError, r"gather.*\[3\].*\[2, 3\]"),
        (lambda x, n, b: F.gelu(x, "exact"), RuntimeError, "gelu.*exact"),
        (lambda x, n, b: F.dropout(x, 1.5), ValueError, "dropout.*1.5"),
        (lambda x, n, b: F.layer_norm(x, (2,)), RuntimeError, r"layer_norm.*\[2\].*\[2, 3\]"),
        (lambda x, n, b: F.relu(f), TypeError, "relu.*ndarray"),
        (lambda x, n, b: nc.exp(2.0), TypeError, "exp.*float"),
        (lambda x, n, b: x + "a", TypeError, "str"),
        (lambda x, n, b: x + None, TypeError, "NoneType"),
        (lambda x, n, b: x * [1, 2, 3], TypeError, r"list.*nc\.tensor"),
        (lambda x, n, b: x + 1j, TypeError, "complex"),
        (lambda x, n, b: x.to(np.float32), TypeError, r"nc\.float32"),
        (lambda x, n, b: x.to("cuda:7"), ValueError, "cuda:7.*opencl:0"),
        (lambda x, n, b: x.sum(dtype="float32"), TypeError, "dtype"),
        (lambda x, n, b: bool(x), RuntimeError, "6 elements"),
        (lambda x, n, b: x.item(), RuntimeError, "6 elements"),
        (lambda x, n, b: float(x), ValueError, "6 elements"),
        (lambda x, n, b: len(nc.tensor(1.0)), TypeError, "0-d"),
        (lambda x, n, b: list(nc.tensor(1.0)), TypeError, "0-d"),
        (lambda x, n, b: nc.zeros(-1), RuntimeError, "negative"),
        (lambda x, n, b: nc.full((2,), 300, dtype=nc.uint8), RuntimeError, "300.*uint8"),
        (lambda x, n, b: nc.full((2,), float("nan"), dtype=nc.int64), RuntimeError, "nan.*int64"),
        (lambda x, n, b: nc.arange(0, 5, 0), RuntimeError, "arange.*zero"),
        (lambda x, n, b: nc.arange(5, 0), RuntimeError, "arange"),
        (lambda x, n, b: nc.tensor([[1], [1, 2]]), ValueError, "equal length"),
        (lambda x, n, b: nc.tensor("a"), TypeError, "str"),
        (lambda x, n, b: nc.tensor(["a"]), TypeError, "list"),
        (lambda x, n, b: nc.tensor(None), RuntimeError, "NoneType"),
        (lambda x, n, b: nc.tensor({}), TypeError, "dict"),
        (lambda x, n, b: nc.tensor(1j), TypeError, "complex"),
        (lambda x, n, b: nc.tensor(2**63), ValueError, "int64"),
        (lambda x, n, b: nc.tensor([2**70]), ValueError, "int64"),
        (lambda x, n, b: nc.tensor([300], dtype=nc.uint8), RuntimeError, "300.*uint8"),
        (lambda x, n, b: nc.tensor([float("nan")], dtype=nc.int32), RuntimeError, "nan.*int32"),
        (lambda x, n, b: nc.tensor(np.uint16([1])), TypeError, "uint16.*signed"),
        (lambda x, n, b: nc.tensor(np.array([object()])), TypeError, "object"),
        (lambda x, n, b: nc.tensor(np.array(["2020-01-01"], "M8[D]")), TypeError, "datetime64"),
        (lambda x, n, b: nc.Tensor(2.5), TypeError, r"2\.5.*nc\.tensor"),
        (lambda x, n, b: nc.Tensor([1.0], nc.float64), TypeError, "one sequence"),
        (lambda x, n, b: nc.Tensor(2, -3), RuntimeError, "negative"),
        (lambda x, n, b: nc.tensor([1.0], dtype=np.float32), TypeError, "dtype"),
        (lambda x, n, b: nc.tensor(1.0, device="gpu:99"), (ValueError, RuntimeError), "gpu"),
        (lambda x, n, b: n.requires_grad_(), RuntimeError, "int64.*float"),
        (lambda x, n, b: nc.tensor([1], requires_grad=True), RuntimeError, "int64.*float"),
        (lambda x, n, b: setattr(n, "requires_grad", True), RuntimeError, "int64.*float"),
        (lambda x, n, b: setattr((nc.ones(2, requires_grad=True) * 2), "requires_grad", False), RuntimeError, "detach"),
        (lambda x, n, b: nc.ones(2, requires_grad=True).numpy(), RuntimeError, r"detach\(\)\.numpy\(\)"),
        (lambda x, n, b: x.register_hook(print), RuntimeError, "does not require"),
        (lambda x, n, b: x.backward(), RuntimeError, "no graph.*no_grad"),
        (
            lambda x, n, b: F.mse_loss(x, n, reduction="median"),
            ValueError,
            "mse_loss.*median.*mean.*sum.*none.*batchmean",
        ),
        (lambda x, n, b: F.mse_loss(x, 1.0), TypeError, "mse_loss.*target.*float"),
        (lambda x, n, b: F.mse_loss(n, n), RuntimeError, "mse_loss.*int64"),
        (lambda x, n, b: F.cross_entropy(x, n, reduction="batchmean"), ValueError, "cross_entropy.*batchmean.*mean"),
        (lambda x, n, b: F.cross_entropy(x, n), ValueError, r"cross_entropy.*\[2, 3\].*\[2\].*\[3\]"),
        (lambda x, n, b: F.cross_entropy(x, nc.ones(3, 2)), ValueError, r"cross_entropy.*\[3, 2\].*\[2, 3\]"),
        (lambda x, n, b: F.cross_entropy(n, n[0]), RuntimeError, "cross_entropy.*int64"),
        (lambda x, n, b: F.cross_entropy(x, b[:2]), RuntimeError, "cross_entropy.*bool"),
        (
            lambda x, n, b: F.cross_entropy(x, n[:2], weight=nc.ones(2)),
            RuntimeError,
            r"cross_entropy.*weight.*3.*\[2\]",
        ),
        (
            lambda x, n, b: F.cross_entropy(x, n[:2], weight=nc.ones(3, requires_grad=True)),
            RuntimeError,
            "weight.*detach",
        ),
        (lambda x, n, b: F.cross_entropy(x, n[:2], label_smoothing=1.5), RuntimeError, "label_smoothing.*1.5"),
        (lambda x, n, b: F.cross_entropy(nc.ones(2, 0), n[:2]), IndexError, r"cross_entropy.*\[2, 0\]"),
        (lambda x, n, b: F.cross_entropy(nc.tensor(1.0), nc.tensor(0)), ValueError, "cross_entropy.*0-d"),
        (lambda x, n, b: F.cross_entropy(x, 1), TypeError, "cross_entropy.*target.*int"),
        (lambda x, n, b: x.gather(0, nc.tensor([[0]])).reshape(3), RuntimeError, "reshape"),
        (lambda x, n, b: nn.MSELoss(x, x), TypeError, r"MSELoss\(\)\(input, target\)"),
        (lambda x, n, b: nn.CrossEntropyLoss(x, n), TypeError, r"CrossEntropyLoss\(\)\(input, target\)"),
        (lambda x, n, b: nc.optim.SGD(nn.Linear(2, 2), lr=1), TypeError, r"Linear.*model\.parameters\(\)"),
        (lambda x, n, b: nc.optim.SGD(nn.Sequential(nn.ReLU()), lr=1), TypeError, r"ReLU.*model\.parameters\(\)"),
        (lambda x, n, b: nc.optim.SGD(iter(()), lr=1), ValueError, "empty.*used up"),
        (lambda x, n, b: nc.optim.SGD([x]).load_state_dict({"w": x}), KeyError, "no param_groups and no state"),
        (lambda x, n, b: x.to("cuda"), (ValueError, RuntimeError), "'cuda'.*'gpu' here"),
    ],
)
def test_wrong_input_raises_at_the_users_line(wrong, kind, words):
    x, n, b = make()
    with pytest.raises(kind) as caught:
        wrong(x, n, b)
    assert re.search(words, str(caught.value), re.DOTALL), str(caught.value)
    np.testing.assert_array_equal((x * 2).numpy(), f * 2)  # nothing is left behind that would fail later


def test_tensors_on_two_devices_do_not_mix():
    if len(nc.devices()) < 2 or any(d.error for d in nc.devices()[:2]):
        pytest.skip("needs two devices")
    x, y = nc.tensor(f, device="opencl:0"), nc.tensor(f, device="opencl:1")
    labels = nc.tensor([0, 1], device="opencl:1")
    for name, wrong in (
        ("add", lambda: x + y),
        ("where", lambda: nc.where(x > 0, y, y)),
        ("matmul", lambda: x @ y.T),
        ("mse_loss", lambda: F.mse_loss(x, y)),
        ("cross_entropy", lambda: F.cross_entropy(x, labels)),
        ("linear", lambda: F.linear(x, y)),
        ("lt", lambda: x < y),
        ("gather", lambda: x.gather(1, labels.reshape(2, 1))),
        ("layer_norm", lambda: F.layer_norm(x, 3, y[0])),
        ("cross_entropy", lambda: F.cross_entropy(x, labels.to("opencl:0"), weight=y[0])),
        ("backward", lambda: nc.ones(2, 3, device="opencl:0", requires_grad=True).backward(y)),
    ):
        with pytest.raises(RuntimeError, match=rf"{name}.*opencl:0.*opencl:1|{name}.*opencl:1.*opencl:0"):
            wrong()
    moved = x.to("opencl:1")
    assert moved.device is y.device
    np.testing.assert_array_equal((moved + y).numpy(), f * 2)


def test_gradients_follow_tensors_between_devices():
    if len(nc.devices()) < 2 or any(d.error for d in nc.devices()[:2]):
        pytest.skip("needs two devices")
    x = nc.tensor(f, device="opencl:0", requires_grad=True)
    ((x * 2).to("opencl:1") * 3).sum().backward()
    assert x.grad.device is x.device
    np.testing.assert_array_equal(x.grad.numpy(), np.full_like(f, 6))


def line() -> int:
    return sys._getframe(1).f_lineno


@pytest.mark.parametrize(("label", "position"), [(3, 1), (-1, 0), (-101, 2), (2**40, 3)])
def test_a_class_out_of_range_raises_at_the_next_read_and_later_reads_work(label, position, place, mode):
    labels = np.array([0, 1, 2, 0])
    labels[position] = label
    logits = nc.tensor(np.eye(4, 3, dtype=np.float32), requires_grad=True)
    other = nc.tensor([1.0, 2.0])
    loss, at = F.cross_entropy(logits, nc.tensor(labels)), line()
    loss.backward()
    with pytest.raises(IndexError) as caught:
        loss.item()
    text = str(caught.value)
    assert "cross_entropy" in text
    assert f"{__file__}:{at}" in text
    assert f"index {label} " in text
    assert f"position {position} " in text
    assert (other * 2).tolist() == [2.0, 4.0]
    good = F.cross_entropy(logits.detach(), nc.tensor([0, 1, 2, 0]))
    assert np.isfinite(good.item())


def test_the_ignored_index_is_no_class_and_raises_nothing():
    logits = nc.tensor(np.eye(3, dtype=np.float32))
    assert np.isfinite(F.cross_entropy(logits, nc.tensor([0, -100, 2])).item())
    with pytest.raises(IndexError, match="index 7 at position 2"):
        F.cross_entropy(logits, nc.tensor([0, -1, 7]), ignore_index=-1).item()


def test_gathering_out_of_range_raises_at_the_next_read():
    x = nc.tensor(f)
    for bad in (3, -1):
        picked, at = x.gather(1, nc.tensor([[0], [bad]])), line()
        with pytest.raises(IndexError, match=f"gather.*{at}.*index {bad} at position 1"):
            picked.numpy()
    np.testing.assert_array_equal(x.gather(1, nc.tensor([[0], [2]])).numpy(), [[1], [6]])


def test_empty_batches_give_pytorchs_results(torch):
    TF = torch.nn.functional
    x, t = nc.zeros(0, 3, requires_grad=True), torch.zeros(0, 3, requires_grad=True)
    w, v = nc.ones(2, 3, requires_grad=True), torch.ones(2, 3, requires_grad=True)
    for reduction in ("mean", "sum", "none"):
        for ours, theirs in (
            (
                F.cross_entropy(x, nc.zeros(0, dtype=nc.int64), reduction=reduction),
                TF.cross_entropy(t, torch.zeros(0, dtype=torch.int64), reduction=reduction),
            ),
            (
                F.mse_loss(x, nc.zeros(0, 3), reduction=reduction),
                TF.mse_loss(t, torch.zeros(0, 3), reduction=reduction),
            ),
            (
                F.cross_entropy(x, nc.zeros(0, 3), reduction=reduction),
                TF.cross_entropy(t, torch.zeros(0, 3), reduction=reduction),
            ),
        ):
            np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    (F.linear(x, w).sum() + F.layer_norm(x, 3).sum() + F.gelu(x).sum()).backward()
    (TF.linear(t, v).sum() + TF.layer_norm(t, (3,)).sum() + TF.gelu(t).sum()).backward()
    assert tuple(x.grad.shape) == (0, 3)
    np.testing.assert_array_equal(w.grad.numpy(), v.grad.numpy())
    for a, b in (
        (nc.ones(3, 0) @ nc.ones(0, 2), torch.ones(3, 0) @ torch.ones(0, 2)),
        (nc.ones(0, 3) @ nc.ones(3, 2), torch.ones(0, 3) @ torch.ones(3, 2)),
        (nc.ones(2, 3, 0) @ nc.ones(2, 0, 4), torch.ones(2, 3, 0) @ torch.ones(2, 0, 4)),
        (nc.ones(0) @ nc.ones(0), torch.ones(0) @ torch.ones(0)),
        (nc.ones(0, 2, 3) @ nc.ones(3, 2), torch.ones(0, 2, 3) @ torch.ones(3, 2)),
    ):
        assert tuple(a.shape) == tuple(b.shape)
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert repr(nc.zeros(0, 3)) == "tensor([], size=(0, 3))"


def test_a_broadcast_mse_target_warns_and_says_so():
    with pytest.warns(UserWarning, match=r"\[2, 1\].*\[2\].*broadcast"):
        loss = F.mse_loss(nc.tensor([1.0, 2.0]), nc.tensor([[1.0], [2.0]]))
    assert loss.item() == pytest.approx(0.5)


def test_from_host_copies_data_as_nc_tensor_does():
    for data in ([1.0, 2.0], 3, f):
        a, b = nc.Tensor.from_host(np.asarray(data)), nc.tensor(np.asarray(data))
        assert a.dtype is b.dtype
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert nc.Tensor.from_host(f, requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="copied"):
        np.asarray(nc.tensor([1.0]), copy=False)
