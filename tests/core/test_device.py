"""Devices: found, named, chosen, probed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from netcl.core import probe, runtime
from netcl.core.device import (
    Device,
    choose_default,
    current_device,
    default_device,
    default_reason,
    device,
    devices,
    find,
    order,
    target_override,
)


def fake(platform: str, name: str, bits: int, unified: bool = False) -> SimpleNamespace:
    place = SimpleNamespace(name=platform, version="OpenCL 1.2")
    return SimpleNamespace(
        name=name, platform=place, type=bits, driver_version="1", version="1", host_unified_memory=unified
    )


def working(found: list[SimpleNamespace], broken: str = "none") -> list[Device]:
    """Devices of fakes, probed already; those named `broken` have failed."""
    result = order(found)
    for d in result:
        d.__dict__["_probed"] = "it does not compile" if d.name == broken else object()
    return result


GPU = fake("NVIDIA CUDA", "RTX", 4)
IGPU = fake("Intel(R) OpenCL Graphics", "Iris", 4, unified=True)
INTEL = fake("Intel(R) OpenCL", "Xeon", 2)
POCL = fake("Portable Computing Language", "pthread-Xeon", 2)
FPGA = fake("Intel(R) FPGA Emulation Platform for OpenCL(TM)", "Emulator", 8)
GRIND = fake("Oclgrind", "Oclgrind Simulator", 15)


def test_a_gpu_is_the_default_ahead_of_every_cpu() -> None:
    assert choose_default(working([POCL, INTEL, IGPU, GPU]))[0].name == "RTX"


def test_intels_cpu_runtime_is_the_default_ahead_of_pocl() -> None:
    assert choose_default(working([POCL, INTEL]))[0].name == "Xeon"


def test_a_broken_device_is_not_the_default_and_the_reason_says_so() -> None:
    chosen, reason = choose_default(working([POCL, INTEL], broken="Xeon"))
    assert chosen.name == "pthread-Xeon"
    assert "Xeon on Intel" in reason


def test_simulators_and_accelerators_are_never_the_default() -> None:
    assert choose_default(working([GRIND, FPGA, POCL]))[0].name == "pthread-Xeon"
    with pytest.raises(RuntimeError, match="Oclgrind"):
        choose_default(working([GRIND, FPGA]))


def test_a_simulator_is_neither_cpu_nor_gpu_but_can_be_named() -> None:
    found = working([GRIND, POCL])
    assert find("cpu", found).name == "pthread-Xeon"
    assert find("oclgrind", found).name == "Oclgrind Simulator"
    with pytest.raises(RuntimeError, match="no gpu device"):
        find("gpu", found)


def test_no_device_at_all_says_what_to_install() -> None:
    with pytest.raises(RuntimeError, match="pip install"):
        choose_default([])
    with pytest.raises(RuntimeError, match="pip install"):
        find("cpu", [])


def test_all_devices_broken_gives_their_errors() -> None:
    with pytest.raises(RuntimeError, match="it does not compile"):
        choose_default(working([POCL], broken="pthread-Xeon"))


@pytest.mark.parametrize("spec", ["cuda", "nonsense", "cuda:0", "cpu:x", "cpu:", ""])
def test_an_unknown_name_lists_what_there_is(spec: str) -> None:
    with pytest.raises(ValueError, match="opencl:0") as caught:
        find(spec, working([POCL, INTEL]))
    assert "pthread-Xeon" in str(caught.value)


def test_a_number_too_high_lists_what_there_is() -> None:
    with pytest.raises(RuntimeError, match="pthread-Xeon"):
        find("cpu:2", working([POCL, INTEL]))
    with pytest.raises(RuntimeError, match="opencl:1"):
        device(99)


def test_names_numbers_and_devices_mean_the_same_device() -> None:
    found = devices()
    for i, d in enumerate(found):
        assert device(i) is device(f"opencl:{i}") is device(str(d)) is device(d) is d
        assert device(f"{d.kind}:{d.kind_index}") is d
        assert repr(d) == f"device(type='{d.kind}', index={d.kind_index})"
    with pytest.raises(TypeError):
        device(1.5)  # type: ignore[arg-type]


def test_no_device_is_listed_twice() -> None:
    names = [(d.platform_name, d.platform_version, d.name) for d in devices()]
    assert len(names) == len(set(names))


def test_a_platform_that_the_loader_finds_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def platform(name: str, *names: str) -> SimpleNamespace:
        inside = [SimpleNamespace(name=n) for n in names]
        return SimpleNamespace(name=name, version="1", get_devices=lambda: inside)

    found = [platform("PoCL", "cpu"), platform("Other", "cpu"), platform("PoCL", "cpu"), platform("PoCL", "gpu")]
    monkeypatch.setattr(runtime, "_module", SimpleNamespace(get_platforms=lambda: found, Error=OSError))
    assert runtime.platforms() == [found[0], found[1], found[3]]


def test_entering_a_device_nests_and_is_left_again() -> None:
    first, last = devices()[0], devices()[-1]
    before = current_device()
    with last as entered:
        assert entered is last
        assert current_device() is device(None) is last
        with first:
            assert current_device() is first
        assert current_device() is last
    assert current_device() is before


def test_entering_a_device_is_seen_by_its_thread_only() -> None:
    seen = []
    with devices()[-1]:
        thread = threading.Thread(target=lambda: seen.append(current_device()))
        thread.start()
        thread.join()
    assert seen == [default_device()]


def test_the_target_follows_the_kind_and_can_be_overridden_per_thread() -> None:
    d = next(d for d in devices() if d.kind == "cpu")
    seen = []
    with target_override("gpu"):
        assert str(d.target) == "gpu"
        thread = threading.Thread(target=lambda: seen.append(d.target))
        thread.start()
        thread.join()
        with target_override("cpu"):
            assert str(d.target) == "cpu"
        assert str(d.target) == "gpu"
    assert str(d.target) == "cpu"
    assert seen == ["cpu"]
    with pytest.raises(ValueError, match="'cpu' or 'gpu'"), target_override("tpu"):  # type: ignore[arg-type]
        pass


def test_every_device_here_runs_a_kernel_and_knows_its_sizes(dev: Device) -> None:
    # PoCL among them, also on CPUs that its compiler does not know.
    found = dev.capabilities
    assert found.compute_units >= 1
    assert found.global_memory >= found.max_allocation > 0
    assert found.float_vector_width >= 1
    assert found.subgroups == (found.subgroup_size > 0)


def test_a_probe_that_fails_is_an_error_of_the_device_and_no_crash(
    dev: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETCL_CACHE", "0")
    monkeypatch.setattr(probe, "_BASE", "kernel void probe(global float *x) { syntax error }")
    again = Device(dev.index, dev.kind_index, dev.kind, dev.cl_device)
    assert "cannot build" in (again.error or "")
    with pytest.raises(RuntimeError, match="cannot build"):
        _ = again.capabilities


def test_wrong_results_of_a_probe_are_an_error(dev: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETCL_CACHE", "0")
    monkeypatch.setattr(probe, "_BASE", probe._BASE.replace("1.0f", "1.5f"))
    assert "wrong results" in (Device(dev.index, dev.kind_index, dev.kind, dev.cl_device).error or "")


@pytest.mark.parametrize(
    ("ability", "source", "extension"), [("fp16", "_FP16", "cl_khr_fp16"), ("fp64", "_FP64", "cl_khr_fp64")]
)
def test_what_a_device_can_do_is_claimed_and_then_shown(
    dev: Device, monkeypatch: pytest.MonkeyPatch, ability: str, source: str, extension: str
) -> None:
    assert getattr(probe.measure(dev), ability) is (extension in dev.cl_device.extensions.split())
    monkeypatch.setattr(probe, source, getattr(probe, source).replace("2.0f", "2.5f"))
    assert not getattr(probe.measure(dev), ability)


def test_the_default_has_a_reason() -> None:
    assert default_device().error is None
    assert default_reason()


CHOICE = "from netcl.core.device import default_device, default_reason; print(default_device(), default_reason())"


def test_the_environment_names_the_default(python) -> None:  # type: ignore[no-untyped-def]
    last = devices()[-1]
    assert python(CHOICE, NETCL_DEVICE=str(last)).stdout.split() == [str(last), f"NETCL_DEVICE={last}"]
    failed = python(CHOICE, NETCL_DEVICE="quantum")
    assert "NETCL_DEVICE: unknown device 'quantum'" in failed.stderr
    assert "opencl:0" in failed.stderr


def test_the_environment_names_the_target(python) -> None:  # type: ignore[no-untyped-def]
    code = "from netcl.core.device import devices; print({d.target for d in devices()})"
    assert python(code, NETCL_TARGET="gpu").stdout.strip() == "{'gpu'}"
    assert "NETCL_TARGET must be" in python(code, NETCL_TARGET="tpu").stderr


def test_importing_the_core_loads_no_opencl(python) -> None:  # type: ignore[no-untyped-def]
    code = "import sys, netcl.core.device, netcl.core.launch; print('pyopencl' in sys.modules)"
    assert python(code).stdout.strip() == "False"


def test_profiling_makes_a_queue_with_times_and_back(dev: Device) -> None:
    plain = dev.queue
    dev.profiling = True
    try:
        assert dev.queue is not plain
        assert dev.profiling
    finally:
        dev.profiling = False
    assert not dev.profiling


FORK = """
import os, sys
from netcl.core.device import default_device, devices
{before}
child = os.fork()
if child == 0:
    try:
        default_device().pool.allocate(300)
        default_device().queue.finish()
        os._exit(0)
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_after_first_use_raises_instead_of_hanging(python) -> None:  # type: ignore[no-untyped-def]
    out = python(FORK.format(before="default_device().queue.finish()")).stdout
    assert "forked" in out
    assert out.split()[-1] == "3"


def test_a_fork_before_first_use_works(python) -> None:  # type: ignore[no-untyped-def]
    done = python(FORK.format(before=""))
    assert done.stdout.split()[-1] == "0", done.stderr


def test_float64_on_a_device_without_it_is_refused_where_it_is_asked_for(monkeypatch):
    import dataclasses

    import netcl as nc

    chosen = nc.current_device()
    without = dataclasses.replace(chosen.capabilities, fp64=False)
    monkeypatch.setattr(type(chosen), "capabilities", property(lambda self: without))
    x = nc.tensor([1.0])
    for make in (x.double, lambda: nc.tensor([1.0], dtype=nc.float64), lambda: nc.zeros(3, dtype=nc.float64)):
        with pytest.raises(RuntimeError, match="has no float64"):
            make()


def test_opencl_without_a_number_is_any_device_also_as_the_default() -> None:
    code = "import netcl as nc; print(nc.default_device() in nc.devices(), nc.device('opencl') is nc.default_device())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NETCL_DEVICE": "opencl"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["True", "True"]
