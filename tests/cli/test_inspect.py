"""netcl inspect FILE:FUNCTION: the kernels of a user's function, and errors that tell what to give."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

import netcl as nc
from netcl import cli
from netcl.inspection import InspectError, inspect_function

TEXT = """
import sys

import netcl as nc
from netcl import nn, optim
import netcl.nn.functional as F

assert sys.argv == ["random.py"]
nc.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = optim.Adam(model.parameters())
left_over = model[0].weight * 3


def step(x, y, scale=1.0):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y) * scale
    loss.backward()
    optimizer.step()
    return loss


@nc.jit.jit_compile
def compiled(x):
    return (x.exp() + 1).sum()


def gradient_only(x):
    x.requires_grad_()
    (x.exp() + 1).sum().backward()


def reads(x):
    return x + x.sum().item()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x).relu()

    def twice(self, x):
        return self.layer(x) * 2


def nothing():
    pass


def fails():
    return {}["mine"]


number = 3
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the file's folder is put first, for the process's life
    (tmp_path / "random.py").write_text(TEXT)  # the name of a module of Python's own
    return "random.py"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "debugging.md"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, ["inspect", *arguments])


def test_a_training_step_is_shown_and_drawn(script: str, tmp_path: Path):
    result = run(f"{script}:step", "--shape", "x=16,6", "--shape", "y=16:int64")
    assert result.exit_code == 0, result.output
    assert "matmul_16x6x8" in result.output
    assert "matmul is a matrix product, which reads its operands in memory" in result.output
    assert "memory: results " in result.output
    assert "the picture is in step.svg" in result.output
    shown = [e.text for e in ElementTree.parse(tmp_path / "step.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert "model.0.weight" in shown
    assert "adam" in shown
    assert "mul" in shown  # by the scale
    assert not any("left_over" in text for text in shown if text)


def test_records_and_place_of_the_picture(script: str, tmp_path: Path):
    result = run(f"{script}:Net", "--shape", "x=2,6", "--records", "--svg", "net.svg", "--calls", "2")
    assert result.exit_code == 0, result.output
    assert "linear(x, layer.weight, layer.bias)" in result.output
    assert result.output.count("1 kernel in 1 launch on ") == 1
    assert (tmp_path / "net.svg").is_file()


def test_methods_values_and_what_is_only_left_pending(script: str):
    found = inspect_function(f"{script}:Net.twice", {"x": "4,6"})
    assert [kernel.operations for kernel in found.kernels] == [("matmul", "add", "mul")]
    for calls in (1, 3):
        found = inspect_function(f"{script}:compiled", {"x": "4"}, calls=calls)
        assert {"exp", "add", "sum"} <= {operation.name for operation in found.reports[0].operations}
    found = inspect_function(f"{script}:gradient_only", {"x": "4"})
    assert found.launches == 1
    found = inspect_function(f"{script}:step", {"x": "4,6", "y": "4:int64"}, {"scale": "0.5"})
    read = [name for report in found.reports for operation in report.operations for name in operation.read]
    assert "0.5" in read


def test_a_value_that_is_read_ends_one_report_and_begins_another(script: str):
    found = inspect_function(f"{script}:reads", {"x": "5"})
    assert [kernel.operations for kernel in found.kernels] == [("sum",), ("add",)]


def test_what_records_nothing_says_so(script: str, tmp_path: Path):
    assert "it records nothing" in run(f"{script}:nothing").output
    assert not list(tmp_path.glob("*.svg"))


@pytest.mark.parametrize(
    ("where", "shapes", "text"),
    [
        ("random.py", {}, "expected FILE:FUNCTION"),
        ("missing.py:step", {}, "there is no file missing.py"),
        ("random.py:stp", {}, "random.py has no stp; there are step"),
        ("random.py:number", {}, "number of random.py is of type int, not a function"),
        ("random.py:step", {"x": "4"}, "step needs y: give sizes"),
        ("random.py:step", {"z": "4"}, "step does not take z; it takes x, y, scale"),
        ("random.py:step", {"x": "4,b"}, "--shape x=4,b: expected sizes"),
        ("random.py:step", {"x": "4:float7"}, "--shape x=4:float7: expected sizes"),
    ],
)
def test_what_cannot_be_called_is_told(script: str, where: str, shapes: dict[str, str], text: str):
    with pytest.raises(InspectError, match=text.replace("(", r"\(")):
        inspect_function(where, shapes)


def test_the_command_tells_errors_without_its_own_traceback(script: str):
    result = run(f"{script}:step")
    assert result.exit_code == 1
    assert result.output.startswith("Error: step needs x, y")
    result = run(f"{script}:nothing", "--device", "no such device")
    assert result.exit_code == 1
    assert result.output.startswith("Error: unknown device")
    assert run(f"{script}:step", "--shape", "x").exit_code == 2
    result = run(f"{script}:fails")
    assert result.exit_code == 1
    assert "KeyError: 'mine'" in result.output
    assert 'random.py"' in result.output
    assert "inspection.py" not in result.output


def test_the_page_about_it_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Launches and kernels; what is inside of them may change (`python docs/debugging_figures.py` writes it anew)."""
    if nc.device().target != "cpu":
        pytest.skip("the page shows kernels for CPUs")
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text()
    *_, step = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "step.py").write_text(step)
    console = re.compile(r"^```console\n\$ netcl inspect ([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    ((command, shown),) = console.findall(text)
    output = run(*command.split()).output
    assert kernels_in(output) == kernels_in(shown)
    assert output.splitlines()[-1] == shown.splitlines()[-1]


def kernels_in(output: str) -> list[str]:
    """How many there are, and the name of each."""
    lines = output.partition("why they are not fewer")[0].splitlines()
    return [lines[0].partition(" on ")[0], *(line.split()[2] for line in lines[2:] if line)]
