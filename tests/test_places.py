"""PyTorch's places that scripts look into: accelerator, backends, testing, the default device, older names."""

from __future__ import annotations

import numpy as np
import pytest

import netcl as nc


def test_a_script_can_choose_its_device():
    device = nc.accelerator.current_accelerator().type if nc.accelerator.is_available() else "cpu"
    assert nc.ones(2, device=device).device.kind in ("cpu", "gpu")
    assert nc.accelerator.device_count() == sum(d.kind == "gpu" and d.error is None for d in nc.devices())
    assert (nc.accelerator.current_accelerator() is None) == (nc.accelerator.device_count() == 0)
    nc.accelerator.synchronize()
    assert not nc.backends.mps.is_available() and not nc.backends.cuda.is_built()
    assert not nc.cuda.is_available()


def test_switches_of_backends_can_be_set_and_read(torch):
    for name in ("benchmark", "deterministic", "enabled", "allow_tf32"):
        before = getattr(nc.backends.cudnn, name)
        setattr(nc.backends.cudnn, name, True)
        assert getattr(nc.backends.cudnn, name) is True
        setattr(nc.backends.cudnn, name, before)
        assert before == getattr(torch.backends.cudnn, name)
    nc.backends.cuda.matmul.allow_tf32 = True
    with pytest.raises(AttributeError):
        nc.backends.cudnn.no_such_switch = True


def test_precision_of_products(torch):
    for t in (torch, nc):
        assert t.get_float32_matmul_precision() == "highest"
        t.set_float32_matmul_precision("high")
        assert t.get_float32_matmul_precision() == "high"
        t.set_float32_matmul_precision("highest")
    with pytest.raises(RuntimeError, match="'low'"):
        nc.set_float32_matmul_precision("low")


def test_the_default_device_can_be_chosen():
    start = nc.default_device()
    for device in nc.devices():
        if device.error is None and device.kind != "accelerator":
            nc.set_default_device(str(device))
            assert nc.get_default_device() is nc.current_device() is device
            assert (nc.ones(2) + 1).device is device
    with pytest.raises(ValueError, match="no-such"):
        nc.set_default_device("no-such")
    nc.set_default_device(None)
    assert nc.get_default_device() is start


def test_variables_are_tensors():
    x = nc.ones(2)
    v = nc.autograd.Variable(x, requires_grad=True)
    (v * 3).sum().backward()
    assert v.grad.tolist() == [3, 3] and not x.requires_grad
    with pytest.raises(TypeError, match="Tensor"):
        nc.autograd.Variable([1.0])


CLOSE = [
    lambda t: (t.ones(2), t.ones(2)), lambda t: (t.ones(2), t.ones(2) + 1e-6), lambda t: (1.0, 1.0 + 1e-9),
    lambda t: ([t.ones(1), 2.0], [t.ones(1), 2.0]), lambda t: ({"a": t.zeros(2)}, {"a": t.zeros(2) + 1e-6}),
    lambda t: (t.ones(2, dtype=t.float16), t.ones(2, dtype=t.float16) * 1.0005), lambda t: (t.arange(3), t.arange(3)),
]  # fmt: skip
APART = [
    lambda t: (t.ones(2), t.ones(2) + 1e-4), lambda t: (t.ones(2), t.ones(3)), lambda t: ([1.0], [1.0, 2.0]),
    lambda t: (t.ones(2), t.ones(2).double()), lambda t: ({"a": 1.0}, {"b": 1.0}),
    lambda t: (t.arange(3), t.arange(3) + 1),
    lambda t: (t.tensor(float("nan")), t.tensor(float("nan"))),
]  # fmt: skip


def test_assert_close_is_pytorchs(torch):
    for t in (torch, nc):
        for case in CLOSE:
            t.testing.assert_close(*case(t))
        for case in APART:
            with pytest.raises(AssertionError):
                t.testing.assert_close(*case(t))
        t.testing.assert_close(t.ones(2), t.ones(2).double(), check_dtype=False)
        t.testing.assert_close(t.tensor(float("nan")), t.tensor(float("nan")), equal_nan=True)
        t.testing.assert_close(t.ones(2), t.ones(2) + 0.1, rtol=0.2, atol=0)
        with pytest.raises(AssertionError, match="Mismatched elements: 1 / 3"):
            t.testing.assert_close(t.arange(3.0), t.tensor([0.0, 1, 5]))
        with pytest.raises(ValueError, match="rtol"):
            t.testing.assert_close(1.0, 1.0, rtol=1)
        with pytest.raises(AssertionError, match="mine"):
            t.testing.assert_close(1.0, 2.0, msg="mine")


def test_numpy_arrays_are_operands():
    x = nc.arange(3.0)
    for result, expected in (
        (x + np.arange(3), [0, 2, 4]), (x * np.float32([1, 2, 0.5]), [0, 2, 1]),
        (x / np.array([1, 2, 4]), [0, 0.5, 0.5]),
        (x - np.ones((2, 3), np.float32), [[-1, 0, 1]] * 2), (x ** np.array([2.0, 1.0, 0.5]), [0, 1, 2**0.5]),
    ):  # fmt: skip
        np.testing.assert_allclose(result.numpy(), expected)


def test_cuda_answers_as_pytorch_does_without_it(torch):
    for name in set(nc.cuda.__all__) - {"amp"}:
        arguments = (1,) if "manual_seed" in name else ([],) if name == "set_rng_state_all" else ()
        if not torch.cuda.is_available():
            assert getattr(nc.cuda, name)(*arguments) == getattr(torch.cuda, name)(*arguments)
    with pytest.raises(NotImplementedError, match=r"torch\.cuda\.synchronize.*nc\.synchronize"):
        nc.cuda.synchronize()
    for thing in (nc.ones(2), nc.nn.Linear(2, 2)):
        with pytest.raises(NotImplementedError, match=r'cuda: .*\.to\("gpu"\)'):
            thing.cuda()
    assert not hasattr(nc.cuda, "no_such_name")
    with pytest.raises(RuntimeError, match="set_rng_state"):
        nc.cuda.set_rng_state_all([nc.get_rng_state()])
    assert nc.version.cuda is None and nc.version.__version__ == nc.__version__


def test_mixed_precision_for_cuda_is_off_with_a_warning():
    with pytest.warns(UserWarning, match="autocast.*switched off"), nc.cuda.amp.autocast():
        assert (nc.ones(2, 2) @ nc.ones(2, 2)).dtype is nc.float32
    with pytest.warns(UserWarning, match="GradScaler.*switched off"):
        scaler = nc.cuda.amp.GradScaler()
    assert not scaler.is_enabled() and scaler.scale(3.0) == 3.0
    with nc.cuda.amp.autocast(enabled=False):
        assert not nc.cuda.amp.GradScaler(enabled=False).is_enabled()


IMPORTS = """
import {0}.backends.cudnn as cudnn; assert cudnn.benchmark is False
import {0}.backends.mps; import {0}.accelerator; import {0}.return_types
from {0}.cuda.amp import GradScaler, autocast
import {0}.cuda.amp as amp; assert amp.autocast is not None
import {0}.cuda as cuda; assert not cuda.is_available()
from {0}.distributions.categorical import Categorical
from {0}.distributions.normal import Normal; from {0}.distributions.kl import kl_divergence
from {0}.nn.modules.linear import Linear as A; from {0}.nn import Linear as B; assert A is B
import {0}.nn.modules.container as container; from {0}.nn import ModuleList as B; assert container.ModuleList is B
from {0}.nn.modules.batchnorm import _BatchNorm as A; from {0}.nn import BatchNorm1d as B; assert issubclass(B, A)
from {0}.nn.modules.loss import _Loss as A; from {0}.nn import MSELoss as B; assert issubclass(B, A)
from {0}.nn.modules.dropout import _DropoutNd as A; from {0}.nn import Dropout as B; assert issubclass(B, A)
from {0}.nn.modules.module import Module as A; from {0}.nn.modules import Module as B; assert A is B
from {0}.nn.utils.weight_norm import weight_norm
from {0}.optim.adamw import AdamW
from {0}.optim.lr_scheduler import LRScheduler as A, _LRScheduler as B; assert issubclass(B, A)
from {0}.autograd.variable import Variable; from {0}.autograd.grad_mode import no_grad
from {0}.utils.data._utils.collate import default_collate
"""


@pytest.mark.parametrize("line", IMPORTS.split("\n")[1:-1])
def test_pytorchs_import_statements_work(torch, line):
    for name in ("netcl", "torch"):
        exec(line.format(name), {})


def test_trying_a_device_of_pytorchs_raises_what_scripts_catch():
    for name in ("cuda", "cuda:0", "mps", "xpu"):
        with pytest.raises(RuntimeError, match=f"unknown device '{name}'"):
            nc.zeros(2, device=name)


class Length:
    """A class of a user's that knows what to do with tensors."""

    def __radd__(self, other):
        return "added"

    __rsub__ = __rmul__ = __rtruediv__ = __rmatmul__ = __radd__


def test_operators_leave_unknown_objects_to_those(torch):
    for t in (nc, torch):
        x, n = t.ones(2), t.tensor(3)
        assert [x + Length(), x - Length(), x * Length(), x / Length(), x @ Length()] == ["added"] * 5
        assert [0] * n == n * [0] == [0, 0, 0] and "ab" * n == "ababab"
        for other in ("a", None, [object()], object()):
            with pytest.raises(TypeError):
                _ = x * other


def test_slices_and_sums_of_shapes_are_shapes(torch):
    for t in (nc, torch):
        shape = t.ones(2, 3, 4).shape
        for made in (shape[:-1], shape[::-1], shape + (5,), (5,) + shape, shape * 2, 2 * shape, shape[1:] + shape[:1]):
            assert type(made) is t.Size
        assert (shape[:-1].numel(), shape[-1], (1,) + shape[1:]) == (6, 4, (1, 3, 4))
        assert t.zeros(shape[:1] + (2,)).shape == t.ones(4).expand(*shape[:2], 4)[0, :2, :2].shape
        with pytest.raises(TypeError):
            shape + [1]


def test_modules_have_their_longer_names():
    assert nc.nn.modules.linear.Linear is nc.nn.Linear is nc.nn.modules.linear.Linear
    assert nc.nn.modules.container.ModuleList is nc.nn.ModuleList
    assert nc.nn.modules.sparse.Embedding is nc.nn.Embedding
    assert nc.nn.modules.activation.ReLU is nc.nn.ReLU
    assert nc.nn.modules.pixelshuffle.PixelShuffle is nc.nn.PixelShuffle
    assert nc.nn.modules.loss.MSELoss is nc.nn.MSELoss
    assert nc.nn.modules.Module is nc.nn.Module


def test_places_of_a_flattened_tensor_and_parts(torch):
    def program(t):
        x = t.arange(10.0)
        first, second = x.unsafe_chunk(2)
        first.add_(1)
        return [
            *t.unravel_index(t.tensor([[0, 5], [23, 7]]), (2, 3, 4)), *t.unravel_index(t.tensor(4), 6), x, second,
            *x.unsafe_split(4), *t.unsafe_split(x, 5), t.tensor([x.is_pinned(), x.is_shared()]),
        ]  # fmt: skip

    for one, other in zip(program(nc), program(torch), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert str(one.dtype)[6:] == str(other.dtype)[6:]
    with pytest.raises(TypeError, match="integer"):
        nc.unravel_index(nc.ones(2), (2, 3))
