"""The `netcl` command: train the examples, list the devices. Heavy imports wait until a command needs them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from netcl.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="netcl", message="%(prog)s %(version)s")
def main() -> None:
    """Deep learning on any OpenCL device."""


@main.group()
def train() -> None:
    """Train an example on real data; writes a checkpoint and learning curves."""


_COUNT = click.IntRange(min=1)
_POSITIVE = click.FloatRange(min=0, min_open=True)


def _options(epochs: int, batch_size: int, lr: float, out: str) -> Callable[[Callable], Callable]:
    """The options that all examples take, with an example's defaults."""

    defaults: Any = {"show_default": True}
    options = [
        click.option("--out", default=out, help="Folder for the checkpoint and the picture.", **defaults),
        click.option("--device", default=None, help="cpu, gpu, opencl:1 or a part of a name; see `netcl devices`."),
        click.option("--seed", type=int, default=0, help="Of initial values, splitting and shuffling.", **defaults),
        click.option("--lr", type=_POSITIVE, default=lr, help="Learning rate.", **defaults),
        click.option("--batch-size", type=_COUNT, default=batch_size, help="Samples a step.", **defaults),
        click.option("--epochs", type=_COUNT, default=epochs, help="Passes over the data.", **defaults),
    ]

    def add(function: Callable) -> Callable:
        for option in options:
            function = option(function)
        return function

    return add


@train.command()
@_options(epochs=20, batch_size=32, lr=4e-3, out="runs/digits")
def digits(**options: Any) -> None:
    """Classify handwritten digits (scikit-learn's 1,797 images)."""
    _run("digits", options)


@train.command()
@_options(epochs=10, batch_size=256, lr=3e-3, out="runs/diamonds")
def diamonds(**options: Any) -> None:
    """Predict the price of 53,940 diamonds."""
    _run("diamonds", options)


@train.command()
@_options(epochs=12, batch_size=64, lr=1.5e-3, out="runs/mnist")
def mnist(**options: Any) -> None:
    """Classify handwritten digits (5,000 images of MNIST)."""
    _run("mnist", options)


@train.command()
@_options(epochs=5, batch_size=256, lr=4e-3, out="runs/letters")
def letters(**options: Any) -> None:
    """Write in the manner of Genesis (King James Version), letter by letter."""
    _run("letters", options)


@train.command()
@_options(epochs=8, batch_size=256, lr=3e-3, out="runs/grades")
def grades(**options: Any) -> None:
    """Learn what each grade of cut, colour and clarity does to a diamond's price."""
    _run("grades", options)


def _run(name: str, options: dict[str, Any]) -> None:
    """Run an example's main(). A device or package that is missing is told without a traceback."""
    from netcl.core.device import device

    try:
        device(options["device"])
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    try:
        example = load_example(name)
        example.main(**options)
    except ModuleNotFoundError as error:
        text = f"{error}. The examples need more packages: pip install 'netcl[examples]'"
        raise click.ClickException(text) from error


def load_example(name: str) -> ModuleType:
    """An example as a module: from the installed package, or from the repository that the package lies in."""
    package = Path(__file__).parent
    places = [package / "examples" / f"{name}.py", package.parent / "examples" / f"{name}.py"]
    for path in places:
        if path.is_file():
            specification = importlib.util.spec_from_file_location(f"netcl_example_{name}", path)
            assert specification is not None
            assert specification.loader is not None
            module = importlib.util.module_from_spec(specification)
            sys.modules[specification.name] = module
            specification.loader.exec_module(module)
            return module
    raise click.ClickException(f"the example {name} is not installed; looked for {' and '.join(map(str, places))}")


@main.command()
def devices() -> None:
    """List every OpenCL device, what it can do by probe, and which is the default."""
    from rich.console import Console
    from rich.table import Table

    from netcl.core.device import default_device, default_reason
    from netcl.core.device import devices as find

    console = Console()
    found = find()
    try:
        default, reason = default_device(), default_reason()
    except (RuntimeError, ValueError) as error:
        default, reason = None, str(error)
    table = Table("name", "device", "what it can do, by probe", show_lines=True)
    for device in found:
        table.add_row(*_described(device, device is default))
    if found:
        console.print(table)
    console.print(f"default: {default} ({reason})" if default else reason, markup=False, highlight=False)
    if default is None:
        sys.exit(1)


def _described(device: Any, is_default: bool) -> list[str]:
    """A device's row in the table; a device that can't be opened says why."""
    from netcl.core.errors import readable

    names = f"{device}\n{device.kind}:{device.kind_index}" + ("\ndefault" if is_default else "")
    what = f"{device.name}\n{device.platform_name}\ndriver {device.driver}"
    if device.error is not None:
        return [names, what, f"not working: {device.error}"]
    can = device.capabilities
    groups = f"sub-groups of {can.subgroup_size}" if can.subgroups else "no sub-groups"
    abilities = [
        f"{can.compute_units} compute units, {readable(can.global_memory)}",
        f"{'fp16' if can.fp16 else 'no fp16'}, {'fp64' if can.fp64 else 'no fp64'}, {groups}",
        f"float vectors of {can.float_vector_width}, work-groups up to {can.max_work_group_size}",
    ]
    return [names, what, "\n".join(abilities)]


if __name__ == "__main__":
    main()
