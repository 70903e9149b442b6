"""Fixtures of the core tests: every device found, and a way to run code in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netcl.core.device import Device, devices

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(
    params=range(len(devices())), ids=lambda i: f"{devices()[i].kind}-{devices()[i].platform_name.split('(')[0]}"
)
def dev(request: pytest.FixtureRequest) -> Device:
    device: Device = devices()[request.param]
    if device.error is not None:
        pytest.fail(device.error)
    return device


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a new interpreter with extra environment variables; its output, whatever its exit status."""

    def run(code: str, **env: str) -> subprocess.CompletedProcess[str]:
        full = {**os.environ, "PYTHONPATH": str(ROOT), **env}
        if "OCL_ICD_VENDORS" not in env:  # set by netcl in this very process
            full.pop("OCL_ICD_VENDORS", None)
        return subprocess.run(
            [sys.executable, "-c", code], env=full, capture_output=True, text=True, timeout=120, check=False
        )

    return run
