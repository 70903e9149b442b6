"""Names that PyTorch has and netcl lacks, and the page that lists them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import netcl as nc
from netcl.core.absent import AbsentError

ROOT = Path(__file__).resolve().parents[1]
TABLE = dict(line.split(": ") for line in (ROOT / "netcl/core/pytorch_names.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def make_coverage(torch):
    """The script that writes the page; skipped with another PyTorch than the page was made with."""
    specification = importlib.util.spec_from_file_location("make_coverage", ROOT / "docs" / "make_coverage.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    if f"PyTorch {torch.__version__.partition('+')[0]} " not in script.PAGE.read_text():
        pytest.skip("the page was made with another PyTorch")
    return script


def test_the_coverage_page_is_what_its_script_writes(make_coverage):
    assert make_coverage.NAMES.read_text() == make_coverage.names_table(), "run `make coverage`"
    assert make_coverage.PAGE.read_text() == make_coverage.page(), "run `make coverage`"


def test_the_script_finds_what_differs(make_coverage):
    def ours(input, dim): ...

    def theirs(input, dim=0, *, keepdim=False, names=None): ...

    assert make_coverage.missing_arguments("torch", ours, theirs, "some") == ["keepdim"]
    assert make_coverage.missing_arguments("torch", theirs, theirs, "some") == []
    same, differs, absent = make_coverage.compared("torch")
    assert "matmul" in same and "from_numpy" in differs and "fft" in absent


def absent_names(place: str, holder) -> list[str]:
    return [name for name in TABLE[place].split() if not hasattr(holder, name)]


@pytest.mark.parametrize(
    ("module", "holder"),
    [
        ("torch", nc), ("torch.nn", nc.nn), ("torch.nn.functional", nc.nn.functional), ("torch.optim", nc.optim),
        ("torch.Tensor", nc.zeros(1, 1)),
    ],
)  # fmt: skip
def test_an_absent_name_raises_and_says_what_to_do(module: str, holder):
    for name in absent_names(module, holder):
        with pytest.raises(AbsentError, match="is in PyTorch and not in netcl; ") as caught:
            getattr(holder, name)
        assert isinstance(caught.value, AttributeError)
        assert isinstance(caught.value, NotImplementedError)
        assert str(caught.value).startswith(f"{module}.{name} ")
    for name in ("no_such_name", "_private", "__dunder__"):
        with pytest.raises(AttributeError, match=f"has no attribute '{name}'") as caught:
            getattr(holder, name)
        assert not isinstance(caught.value, AbsentError)
    assert getattr(holder, "fftshift", None) is None


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("from netcl.nn import TransformerEncoder", "scaled_dot_product_attention"),
        ("from netcl.nn import Conv2d, Linear", "unfold and a matrix product"),
        ("from netcl.nn.modules.conv import Conv2d", "unfold and a matrix product"),
        ("from netcl.nn.modules.rnn import LSTM", "each step"),
        ("from netcl.nn.functional import max_pool2d", "unfold and a reduction"),
        ("from netcl import distributed", "one device"),
        ("import netcl.distributed as dist", "one device"),
        ("from netcl.nn.parallel import DistributedDataParallel", "one device"),
        ("import netcl.multiprocessing as mp", "Python's multiprocessing"),
        ("from netcl.utils.tensorboard import SummaryWriter", r"nc\.trainer\.TensorBoard"),
        ("from netcl.linalg import eig", r"netcl\.linalg\.eigh"),
        ("import netcl; netcl.jit.script", "leave it out"),
    ],
)
def test_importing_what_is_absent_says_what_to_do(statement: str, advice: str):
    with pytest.raises(NotImplementedError, match=f"is in PyTorch and not in netcl; .*{advice}") as caught:
        exec(statement, {})
    assert isinstance(caught.value, ImportError if "jit" not in statement else AttributeError)


def test_modules_that_are_absent_say_so_as_attributes():
    for place, name in (
        (nc, "onnx"), (nc, "serialization"), (nc.nn, "parallel"), (nc.utils, "tensorboard"), (nc.nn.utils, "prune"),
        (nc.autograd, "profiler"), (nc.distributions, "MultivariateNormal"),
    ):  # fmt: skip
        assert not hasattr(place, name)
        with pytest.raises(NotImplementedError, match=rf"torch\..*{name} is in PyTorch and not in netcl"):
            getattr(place, name)
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'") as caught:
        _ = nc.utils.no_such_name
    assert not isinstance(caught.value, NotImplementedError)


def test_importing_what_nobody_has_is_an_ordinary_error():
    for place in ("netcl", "netcl.nn", "netcl.nn.functional", "netcl.nn.modules.conv"):
        with pytest.raises(ImportError, match="nonsense") as caught:
            exec(f"from {place} import nonsense", {})
        assert not isinstance(caught.value, NotImplementedError)
    with pytest.raises(ModuleNotFoundError, match=r"netcl\.nonsense"):
        exec("import netcl.nonsense", {})


def test_the_nearest_thing_is_named():
    with pytest.raises(NotImplementedError, match=r"nc\.load"):
        _ = nc.hub
    with pytest.raises(NotImplementedError, match=r"nc\.nn\.Module"):
        _ = nc.nn.SyncBatchNorm
    with pytest.raises(NotImplementedError, match=r"\.numpy\(\)"):
        nc.zeros(1).data_ptr()
    with pytest.raises(NotImplementedError, match=r"a similar name is netcl\.from_dlpack"):
        nc.to_dlpack(nc.zeros(1))
    with pytest.raises(NotImplementedError, match=r"the nearest is netcl\.nn\.functional\.layer_norm"):
        nc.layer_norm(nc.zeros(2), (2,))
