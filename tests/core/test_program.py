"""Programs: built once, kept on disk, whatever happens to the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from netcl.core import cache, launch, program
from netcl.core.device import Device, devices

SOURCE = "kernel void add(global float *x, int n) { x[get_global_id(0)] += n; } // %s"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETCL_CACHE_DIR", str(tmp_path))
    return tmp_path / "programs"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources built from here on (not those loaded from disk)."""
    seen: list[str] = []
    real = program.build

    def counted(device: Device, source: str) -> object:
        seen.append(source)
        return real(device, source)

    monkeypatch.setattr(program, "build", counted)
    return seen


def forget(device: Device, source: str) -> None:
    program._kernels.pop((device, source, "add"), None)
    program._programs.pop((device, source), None)


def check_runs(device: Device, source: str) -> None:
    run = launch.Launch(program.get_kernel(device, source, "add"), (16,), (16,), "add")
    x = device.pool.allocate(64)
    launch.write(device, x, np.arange(16, dtype=np.float32))
    launch.enqueue(device, run, (x, np.int32(5).tobytes()))
    assert (launch.read(device, x, 0, 64).view(np.float32) == np.arange(16) + 5).all()


def test_a_kernel_is_built_once_and_then_held(dev: Device, folder: Path, builds: list[str]) -> None:
    source = SOURCE % folder
    before = program.compile_count
    kernel = program.get_kernel(dev, source, "add")
    assert program.get_kernel(dev, source, "add") is kernel
    assert program.compile_count == before + 1
    assert builds == [source]
    check_runs(dev, source)


def test_a_kernel_comes_from_disk_the_next_time(dev: Device, folder: Path, builds: list[str]) -> None:
    source = SOURCE % folder
    check_runs(dev, source)
    assert len(list(folder.glob("*.bin"))) == 1
    forget(dev, source)
    check_runs(dev, source)
    assert len(builds) == 1


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "text"])
def test_a_damaged_file_is_built_anew(dev: Device, folder: Path, builds: list[str], damage: str) -> None:
    source = SOURCE % folder
    program.get_kernel(dev, source, "add")
    (file,) = folder.glob("*.bin")
    data = file.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 255
    file.write_bytes({"empty": b"", "short": data[:-9], "flipped": bytes(flipped), "text": b"hello"}[damage])
    forget(dev, source)
    check_runs(dev, source)
    assert len(builds) == 2
    assert file.read_bytes()[:10] == data[:10]  # and stored again


def test_a_binary_that_the_driver_refuses_is_built_anew(dev: Device, folder: Path, builds: list[str]) -> None:
    import hashlib

    source = SOURCE % folder
    program.get_kernel(dev, source, "add")
    (file,) = folder.glob("*.bin")
    wrong = b"not a program of any driver" * 10
    file.write_bytes(program._MAGIC + hashlib.sha256(wrong).digest() + wrong)
    forget(dev, source)
    check_runs(dev, source)
    assert len(builds) == 2


def test_the_disk_is_not_touched_with_the_cache_off(dev: Device, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETCL_CACHE", "0")
    check_runs(dev, SOURCE % folder)
    assert not folder.exists()


def test_a_build_error_shows_the_log_and_the_numbered_source(dev: Device, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="undeclared_thing") as caught:
        program.get_kernel(dev, "kernel void add(global float *x) {\n  x[0] = undeclared_thing;\n}", "add")
    assert "   2 |   x[0] = undeclared_thing;" in str(caught.value)
    assert str(dev) in str(caught.value)
    assert not list(folder.glob("*.bin"))


def test_a_kernel_that_the_program_lacks_is_named(dev: Device, folder: Path) -> None:
    with pytest.raises(RuntimeError, match="no kernel 'subtract'"):
        program.get_kernel(dev, SOURCE % folder, "subtract")


def test_threads_asking_for_one_kernel_build_it_once(dev: Device, folder: Path, builds: list[str]) -> None:
    source = SOURCE % folder
    got = []
    threads = [threading.Thread(target=lambda: got.append(program.get_kernel(dev, source, "add"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 6
    assert all(kernel is got[0] for kernel in got)
    assert builds == [source]


WORK = """
import numpy as np, sys
from netcl.core import launch, program
from netcl.core.device import device
d = device(sys.argv[1])
for i in range(3):
    source = "kernel void add(global float *x, int n) { x[get_global_id(0)] += n; } // both %d" % i
    run = launch.Launch(program.get_kernel(d, source, "add"), (16,), (16,), "add")
    x = d.pool.allocate(64)
    launch.write(d, x, np.arange(16, dtype=np.float32))
    launch.enqueue(d, run, (x, np.int32(5).tobytes()))
    assert (launch.read(d, x, 0, 64).view(np.float32) == np.arange(16) + 5).all()
print("fine")
"""


def start(target: str, **env: str) -> subprocess.Popen[str]:
    full = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **env}
    full.pop("OCL_ICD_VENDORS", None)
    return subprocess.Popen(
        [sys.executable, "-c", WORK, target], env=full, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_building_the_same_programs_at_once_all_work(dev: Device, tmp_path: Path) -> None:
    running = [start(str(dev), NETCL_CACHE_DIR=str(tmp_path)) for _ in range(3)]
    for process in running:
        out, err = process.communicate(timeout=120)
        assert (out, err, process.returncode) == ("fine\n", "", 0)
    left = sorted(file.suffix for file in (tmp_path / "programs").iterdir())
    assert left == [".bin"] * 3  # and no temporary files


def test_an_unwritable_cache_folder_is_said_once_and_tolerated(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    process = start(str(devices()[0]), NETCL_CACHE_DIR=str(blocked / "cache"), TMPDIR=str(tmp_path))
    out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ("fine\n", 0), err
    assert err.count("cannot write to its cache folder") == 1


def test_an_unwritable_home_is_tolerated(tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.write_text("not a folder")
    process = start(str(devices()[0]), HOME=str(blocked), XDG_CACHE_HOME=str(blocked / "cache"), TMPDIR=str(tmp_path))
    out, err = process.communicate(timeout=120)
    assert (out, process.returncode) == ("fine\n", 0), err


def test_a_temporary_folder_that_others_can_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    planted = tmp_path / f"netcl-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert cache._temporary_dir() != planted


def test_the_least_recently_used_files_are_removed_first(tmp_path: Path) -> None:
    for i in range(5):
        file = tmp_path / f"{i}.bin"
        file.write_bytes(b"x" * 100)
        os.utime(file, (i, i))
    program.evict(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["3.bin", "4.bin"]
