"""Runs each fuzz target for a while, one after the other: `make fuzz`. Needs atheris.

    python tests/fuzz/all_targets.py FOLDER SECONDS

What was found goes below FOLDER: inputs that reach more of the code into a folder for each target,
and those that break a promise, as `crash-TARGET-...`, beside them. Exits with 1 if there are any.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def targets() -> list[tuple[Path, str]]:
    """Each target, after the script that has it."""
    scripts = sorted(HERE.glob("fuzz_*.py"))
    return [(path, name) for path in scripts for name in runpy.run_path(str(path))["TARGETS"]]


def run(script: Path, target: str, folder: Path, seconds: int) -> bool:
    """Fuzz one target; return whether it kept its promises."""
    found = folder / target
    found.mkdir(parents=True, exist_ok=True)
    folders = [str(found), str(HERE / "corpus" / target)]
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/crash-{target}-"]
    command = [sys.executable, str(script), f"--{target}", *folders, *options]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.stdout.write(f"{target}: FAILED\n{done.stderr}\n")
        return False
    (last,) = [line for line in done.stderr.splitlines() if line.startswith("Done ")]
    sys.stdout.write(f"{target}: {last[5:]}\n")
    sys.stdout.flush()
    return True


def main(folder: str, seconds: str) -> int:
    if not os.environ.get("PYTHONPATH"):
        raise SystemExit("put the project, and atheris, on PYTHONPATH; make fuzz does")
    kept = [run(*one, Path(folder).resolve(), int(seconds)) for one in targets()]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    sys.exit(main(*sys.argv[1:]))
