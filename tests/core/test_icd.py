"""The ICD folder: Intel's placeholder repaired, the user's own setting left alone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from netcl.core import icd, pocl
from netcl.core.device import devices


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with a library in it, an empty cache and no setting."""
    monkeypatch.setenv("NETCL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("OCL_ICD_VENDORS", raising=False)
    monkeypatch.setenv("OPENCL_VENDOR_PATH", str(tmp_path / "system"))
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libintelocl.so").write_bytes(b"elf")
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def test_the_placeholder_is_replaced_by_the_real_library(place: Path) -> None:
    shipped = place / "etc" / "OpenCL" / "vendors"
    shipped.mkdir(parents=True)
    (shipped / "intel-cpu.icd").write_text("/opt/anaconda1anaconda2anaconda3/lib/libintelocl.so")
    folder = icd.prepare()
    assert folder == os.environ["OCL_ICD_VENDORS"]
    assert folder.endswith("/")
    assert [file.read_text().strip() for file in Path(folder).iterdir()] == [str(place / "lib" / "libintelocl.so")]


def test_the_systems_entries_come_along(place: Path) -> None:
    system = place / "system"
    system.mkdir()
    (system / "nvidia.icd").write_text("libnvidia-opencl.so.1\n")
    (system / "gone.icd").write_text("/nowhere/libgone.so\n")
    (system / "empty.icd").write_text("")
    folder = Path(str(icd.prepare()))
    assert sorted(file.name for file in folder.iterdir()) == ["netcl-intel-cpu.icd", "nvidia.icd"]


def test_the_users_own_setting_is_respected(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCL_ICD_VENDORS", "/my/own/")
    assert icd.prepare() is None
    assert os.environ["OCL_ICD_VENDORS"] == "/my/own/"


def test_without_intels_runtime_nothing_is_set(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icd, "find_intel_library", lambda: None)
    assert icd.prepare() is None
    assert "OCL_ICD_VENDORS" not in os.environ


def test_another_library_gets_another_folder(place: Path) -> None:
    first = icd.write_folder({"a.icd": "/one.so"})
    assert icd.write_folder({"a.icd": "/one.so"}) == first
    assert icd.write_folder({"a.icd": "/two.so"}) != first


def test_intels_runtime_is_found_where_it_is_installed() -> None:
    library = icd.find_intel_library()
    if library is None:
        pytest.skip("intel-opencl-rt is not installed")
    assert any(d.platform_name.startswith("Intel") and d.kind == "cpu" for d in devices())


def test_the_best_cpu_that_the_flags_cover_is_named() -> None:
    v3 = frozenset({"avx2", "fma", "bmi1", "bmi2"})
    v4 = v3 | {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"}
    assert pocl.x86_name(v4) == b"skylake-avx512"
    assert pocl.x86_name(v3 | {"avx512f"}) == b"haswell"
    assert pocl.x86_name(frozenset({"avx"})) == b"x86-64"


def test_only_a_generic_pocl_device_is_repaired() -> None:
    import ctypes

    keep = [ctypes.create_string_buffer(text) for text in (b"x86_64-unknown-linux-gnu", b"generic", b"znver3")]
    triple, generic, known = (ctypes.addressof(text) for text in keep)
    words = ctypes.c_uint64 * 2000
    name = "Portable Computing Language"

    def repaired(cpu: int, platform: str = name) -> bytes | None:
        device = words(7, 2**63, triple, 5, triple, cpu, generic)
        done = pocl.repair(platform, ctypes.addressof(device))
        found = ctypes.string_at(device[5])
        assert done == (found in (b"skylake-avx512", b"haswell", b"x86-64"))
        assert device[6] == generic
        return found

    assert repaired(generic) == pocl.x86_name(pocl.cpu_flags())
    assert repaired(known) == b"znver3"
    assert repaired(generic, "Intel(R) OpenCL") == b"generic"
    assert pocl.repair(name, 2**48 - 4096) is False  # nothing mapped there
