"""Workers end: with the pass, with the iterator, on Ctrl-C, at exit; nothing is left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import worker_datasets as wd

from netcl import data

HERE = Path(__file__).parent
SCRIPT = """
import sys
sys.path.insert(0, {here!r})
import worker_datasets as wd
from netcl import data

def main():
    loader = data.DataLoader(wd.{dataset}, 2, num_workers=2, persistent_workers={persistent})
    {body}

if __name__ == "__main__":
    main()
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def opened() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def run_script(tmp_path: Path, dataset: str, body: str, persistent: bool = False) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(here=str(HERE), dataset=dataset, body=body, persistent=persistent))
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def session_of(leader: int) -> list[int]:
    """The processes of a session that are still alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and alive(int(entry.name)):
            try:
                if os.getsid(int(entry.name)) == leader:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def assert_session_ends(leader: int, seconds: float = 5) -> None:
    limit = time.monotonic() + seconds
    while session_of(leader) and time.monotonic() < limit:
        time.sleep(0.05)
    assert session_of(leader) == []


def test_finished_abandoned_and_failed_passes_leave_no_process_thread_or_file() -> None:
    list(data.DataLoader(wd.Rows(2), num_workers=1))  # starts multiprocessing's resource tracker, which stays
    files, threads = opened(), threading.active_count()
    loader = data.DataLoader(wd.Rows(), num_workers=2)
    list(loader)
    abandoned = iter(loader)
    next(abandoned)
    pids = abandoned._pool.pids
    assert all(alive(pid) for pid in pids)
    del abandoned
    for _ in loader:
        break
    with pytest.raises(ValueError, match="bad"):
        list(data.DataLoader(wd.Failing(ValueError("bad")), num_workers=2))
    with pytest.raises(RuntimeError, match="exited"):
        list(data.DataLoader(wd.Dying(), num_workers=2))
    assert not any(alive(pid) for pid in pids)
    assert (opened(), threading.active_count()) == (files, threads)


def test_persistent_workers_end_with_the_loader() -> None:
    loader = data.DataLoader(wd.Rows(), num_workers=2, persistent_workers=True)
    list(loader)
    pids = loader._pool.pids
    assert all(alive(pid) for pid in pids)
    del loader
    gc.collect()
    assert not any(alive(pid) for pid in pids)


def test_a_worker_in_the_middle_of_a_sample_does_not_hold_up_the_end() -> None:
    batches = iter(data.DataLoader(wd.Sleeping(), num_workers=2))
    pids = batches._pool.pids
    start = time.monotonic()
    del batches
    assert time.monotonic() - start < 4
    assert not any(alive(pid) for pid in pids)


@pytest.mark.parametrize("dataset", ["Sleeping()", "Rows(10**6)"])
def test_ctrl_c_ends_the_script_and_its_workers_with_one_traceback(tmp_path: Path, dataset: str) -> None:
    body = "\n    ".join(
        ["batches = iter(loader)", "print('started', flush=True)", "for batch in batches:", "    pass"]
    )
    process = run_script(tmp_path, dataset, body)
    assert process.stdout is not None and process.stdout.readline() == "started\n"
    time.sleep(0.3 if dataset.startswith("Sleeping") else 1)  # while they import, and while they work
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode in (-signal.SIGINT, 130)
    assert errors.count("KeyboardInterrupt") == 1 and errors.count("Traceback") == 1, errors
    assert_session_ends(process.pid)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_script_that_ends_with_an_iterator_at_hand_ends_at_once(tmp_path: Path, persistent: bool) -> None:
    body = "globals()['batches'] = iter(loader); next(batches); globals()['loader'] = loader; print('end')"
    process = run_script(tmp_path, "Rows(1000)", body, persistent)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "end\n", "")
    assert_session_ends(process.pid)


def test_workers_of_a_killed_parent_end_by_themselves(tmp_path: Path) -> None:
    process = run_script(tmp_path, "Rows(10**6)", "it = iter(loader); next(it); print('on', flush=True); input()")
    assert process.stdout is not None and process.stdout.readline() == "on\n"
    process.kill()
    process.communicate(timeout=20)
    assert_session_ends(process.pid)


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from netcl import data\nprint(list(data.DataLoader(range(3), num_workers=1)))\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert "RuntimeError: DataLoader worker" in done.stderr and "__main__" in done.stderr.splitlines()[-1]
