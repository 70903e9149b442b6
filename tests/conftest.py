"""What every test can ask for: `device` (each OpenCL device found), `target` (both kinds of code), a clean start.

Without them a test runs on the default device with the code of its kind. `--device NAME` makes another device the
default and the only one (`make everywhere` goes through all of them).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import platformdirs
import pytest

# Kernels compiled by one run are there for the next, apart from the user's own; set before netcl is first used.
os.environ.setdefault("NETCL_CACHE_DIR", platformdirs.user_cache_dir("netcl-tests"))
# PyTorch's threads would spin beside the OpenCL runtime's, and slow both down by an order of magnitude.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Thousands of kernels pass by, each for one test: what is kept of them is 2 MB apiece.
os.environ.setdefault("NETCL_MAX_PLANS", "100")
os.environ.setdefault("NETCL_MAX_PROGRAMS", "100")

if TYPE_CHECKING:
    from netcl.core.device import Device

TARGETS = ("cpu", "gpu")
# Folders whose tests make thousands of kernels: on the first runtime only, and without the driver's optimizer, which
# takes most of a build. `make everywhere` runs them on each runtime, optimized; the table of operations
# (tests/ops/test_table*.py) has rows for every runtime in any run.
BROAD = ("amp", "autograd", "func", "graph", "losses", "nn", "ops")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", help="run on this device only: a name for nc.device(), such as pocl")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--device")
    if name:
        os.environ["NETCL_DEVICE"] = name  # for this process and for those that tests start


def pytest_report_header(config: pytest.Config) -> list[str]:
    from netcl.core.device import default_device, default_reason

    found = usable_devices(config)
    if not found:
        return ["OpenCL: no usable device"]
    lines = [f"OpenCL {device}: {device.name}, {device.platform_name}, {device.driver}" for device in found]
    return [*lines, f"default: {default_device()} ({default_reason()})"]


def usable_devices(config: pytest.Config) -> list[Device]:
    """The devices that tests run on: those that work, each piece of hardware and driver once, simulators left out."""
    from netcl.core.device import default_device, devices

    if config.getoption("--device"):
        return [default_device()]
    found: dict[tuple[str, str, str], Device] = {}
    for device in devices():
        if device.kind != "accelerator" and device.error is None:
            found.setdefault((device.platform_name, device.name, device.driver), device)
    return list(found.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = {name for mark in metafunc.definition.iter_markers("parametrize") for name in str(mark.args[0]).split(",")}
    if "device" in metafunc.fixturenames and "device" not in own:
        found = wanted_devices(metafunc)
        metafunc.parametrize("device", found, ids=[short_name(device) for device in found], indirect=True)

    if "place" in metafunc.fixturenames:
        found = wanted_devices(metafunc)
        cases = [(device, device.target) for device in found]
        cases += [(device, kind) for device in found[:1] for kind in TARGETS if kind != device.target]
        names = [f"{short_name(device)}-{kind}" for device, kind in cases]
        metafunc.parametrize("place", cases, ids=names, indirect=True)


def wanted_devices(metafunc: pytest.Metafunc) -> list[Device]:
    """All that work; the first one in BROAD folders, unless -m long asks for everything."""
    found = usable_devices(metafunc.config)
    file = metafunc.definition.path
    once = (is_broad(file) and not file.name.startswith("test_table")) or file.name == "test_same_script.py"
    return found[:1] if once and not metafunc.config.getoption("-m") else found


def is_broad(file: Path) -> bool:
    return file.parent.name in BROAD


def short_name(device: Device) -> str:
    """A device in a test's id: pocl, intel, or its kind and number."""
    for word, short in (("Portable", "pocl"), ("Intel", "intel"), ("NVIDIA", "nvidia"), ("AMD", "amd")):
        if device.platform_name.startswith(word):
            return short if device.kind == "cpu" else f"{short}-{device.kind}{device.kind_index}"
    return f"{device.kind}{device.kind_index}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out `long` tests unless asked for by -m, and `gpu` ones where there is no GPU."""
    if not config.getoption("-m"):
        kept = [item for item in items if item.get_closest_marker("long") is None]
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long") is not None])
        items[:] = kept
    wanted = any(item.get_closest_marker("gpu") for item in items)
    if wanted and not any(d.kind == "gpu" for d in usable_devices(config)):
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="there is no GPU here"))


@pytest.fixture
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    """Each OpenCL device found; it is the current one during the test."""
    with request.param as chosen:
        yield chosen


@pytest.fixture
def share(request: pytest.FixtureRequest, device: Device) -> tuple[str, int, int]:
    """What is shared out among the devices: this one's name, its number, and how many there are."""
    found = usable_devices(request.config)
    return str(device), found.index(device), len(found)


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both kinds of generated code, whatever the device is."""
    from netcl.core.device import target_override

    with target_override(request.param):
        yield request.param


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each device with the code of its kind, and the first one with the other kind too: device x target, smaller."""
    from netcl.core.device import target_override

    device, kind = request.param
    with device, target_override(kind):
        yield


@pytest.fixture(params=["lazy", "eager"])
def mode(request: pytest.FixtureRequest) -> Iterator[str]:
    """Operations recorded and fused, and each run at once."""
    import netcl as nc

    with nc.eager(request.param == "eager"):
        yield request.param


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch to compare with; the test is skipped where it is not installed."""
    return pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def optimizer(request: pytest.FixtureRequest) -> None:
    """Kernels of BROAD folders are built in a quarter of the time, all others as a user gets them."""
    from netcl.core import program
    from netcl.graph.plan import clear_plans

    asked = request.config.getoption("-m") or request.config.getoption("--device")
    wanted = bool(asked) or not is_broad(request.path)
    if program.optimize is not wanted and "NETCL_OPTIMIZE" not in os.environ:
        program.optimize = wanted
        clear_plans()
        program.forget_kernels()


@pytest.fixture(autouse=True)
def clean_start() -> Iterator[None]:
    """No test sees what another one left pending: operations, modes, or an error that nobody read."""
    forget()
    yield
    forget()


def forget() -> None:
    """Drop this thread's pending operations and raised checks, and leave eager and no_grad."""
    value = sys.modules.get("netcl.graph.value")
    if value is not None:
        value._pending.traces.clear()
        value._pending.expansion = None
        value._pending.eager = False
    tape = sys.modules.get("netcl.autograd.tape")
    if tape is not None:
        tape._state.enabled, tape._state.inference, tape._state.anomaly = True, False, False
        tape._state.packing.clear()
        tape._state.packing_refused, tape._state.check_nan = None, True
        tape._state.tapes.clear()
        tape._state.autocast, tape._state.autocast_cache = None, True
        tape._state.autocast_dtypes.clear()
    custom = sys.modules.get("netcl.ops.custom")
    for name in list(custom._registered) if custom is not None else ():
        custom.unregister_primitive(name)
    budget = sys.modules.get("netcl.graph.budget")
    if budget is not None:
        budget.state.limit = None
    flags = sys.modules.get("netcl.graph.flags")
    for device, raised in list(flags._by_device.items()) if flags is not None else ():
        if raised.pending:
            try:
                flags.raise_if_set(device)
            except IndexError:
                continue  # raised by the test before, which did not read a value


@pytest.fixture
def at_once() -> Callable[[Callable[[int], None], int], None]:
    """at_once(work, count): work(0), work(1), .. in threads that change places in the middle of everything."""

    def run(work: Callable[[int], None], count: int) -> None:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            sys.setswitchinterval(interval)

    return run
