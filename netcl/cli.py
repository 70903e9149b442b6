"""The `netcl` command: train the examples, list the devices, show a function's kernels.

Heavy imports wait until a command needs them.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
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


@main.group(short_help="Train an example on real data.")
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
@click.option("--by-hand", is_flag=True, help="Train by a loop written out, without the Trainer.")
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
    """Run an example's main(). A device, package or folder that is missing is told without a traceback."""
    from netcl.core.device import device

    try:
        device(options["device"])
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    try:
        Path(options["out"]).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"--out: {error}") from error
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


@main.command("inspect")
@click.argument("place", metavar="FILE:FUNCTION")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=32,64", help="A tensor for an argument; =32:int64 too.")
@click.option("--value", "values", multiple=True, metavar="NAME=0.1", help="A Python value for an argument.")
@click.option("--calls", type=_COUNT, default=1, help="Show the last of so many calls.", show_default=True)
@click.option("--svg", default=None, metavar="PATH", help="Where the picture goes.  [default: FUNCTION.svg]")
@click.option("--records", is_flag=True, help="List the recorded operations too.")
@click.option("--device", default=None, help="cpu, gpu, opencl:1 or a part of a name; see `netcl devices`.")
def inspect_(
    place: str, shapes: tuple[str, ...], values: tuple[str, ...], calls: int, svg: str | None, records: bool,
    device: str | None,
) -> None:  # fmt: skip
    """Show the kernels that a function becomes, and draw them.

    FUNCTION is called once; it may be a function, a Module, or a whole training step. For example

    \b
        netcl inspect train.py:step --shape x=32,64 --shape y=32:int64
    """
    from netcl.core.device import device as find_device
    from netcl.graph import tables
    from netcl.graph.picture import drawn
    from netcl.inspection import InspectError, UserError, inspect_function

    try:
        chosen = find_device(device)
    except (ValueError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    try:
        with chosen:
            found = inspect_function(place, _pairs("--shape", shapes), _pairs("--value", values), calls)
    except InspectError as error:
        raise click.ClickException(str(error)) from error
    except UserError as error:
        _print_own_part(error.error)
        sys.exit(1)
    if not found.reports:
        click.echo("it records nothing")
        return
    for report in found.reports:
        parts = [tables.recorded(report) if records else "", tables.table(report), tables.reasons(report)]
        click.echo("\n\n".join([part for part in parts if part] + [tables.memory(report)]) + "\n")
    path = svg or f"{place.rpartition(':')[2]}.svg"
    drawn(found, path, "svg")
    click.echo(f"the picture is in {path}")


def _print_own_part(error: BaseException) -> None:
    """The traceback from where the user's code begins."""
    trace = error.__traceback__
    machinery = (str(Path(__file__).parent), "<frozen ")
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(machinery):
        trace = trace.tb_next
    traceback.print_exception(error.with_traceback(trace))


def _pairs(option: str, texts: tuple[str, ...]) -> dict[str, str]:
    """NAME=TEXT, by name."""
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{option} {text}: expected NAME=..., the name of an argument of the function")
    return dict(text.split("=", 1) for text in texts)


@main.command(short_help="List the OpenCL devices and what they can do.")
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
    from netcl.core import command_buffer
    from netcl.core.errors import readable

    names = f"{device}\n{device.kind}:{device.kind_index}" + ("\ndefault" if is_default else "")
    what = f"{device.name}\n{device.platform_name}\ndriver {device.driver}"
    if device.error is not None:
        return [names, what, f"not working: {device.error}"]
    can = device.capabilities
    groups = f"sub-groups of {can.subgroup_size}" if can.subgroups else "no sub-groups"
    abilities = [
        f"{can.compute_units} compute units, {readable(can.global_memory)}",
        f"{'fp16' if can.fp16 else 'no fp16'}, {'fp64' if can.fp64 else 'no fp64'}, {groups}"
        + (", products of bf16" if can.bf16_dot else ""),
        f"float vectors of {can.float_vector_width}, work-groups up to {can.max_work_group_size}",
    ]
    recorded = command_buffer.compare(device)
    if recorded is not None:
        abilities.append(str(recorded))
    return [names, what, "\n".join(abilities)]


if __name__ == "__main__":
    main()
