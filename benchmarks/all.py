"""Every benchmark, one after the other, with the options given: `python benchmarks/all.py --write`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NAMES = ("startup", "losses", "operations", "matmul", "steps", "amp", "memory")


def main() -> None:
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"warning: the load average is {load:.2f}; something else is running", file=sys.stderr)
    failed = []
    for name in NAMES:
        print(f"== {name}", file=sys.stderr)
        done = subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py")), *sys.argv[1:]], check=False)
        failed += [name] if done.returncode else []
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
