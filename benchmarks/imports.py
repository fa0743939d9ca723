"""Importing: `import continuum, solvers` against what it cannot do without.

Seconds of the import statement alone, in fresh processes that take turns: ours against numba and
numpy.  The bar is 1.2 times their time.
"""

import _harness  # isort: split

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median

ROUNDS = 11


def seconds(statement: str) -> float:
    """Of one import statement in a fresh process."""
    program = (
        f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
    )
    # byte code may be kept: installed libraries have theirs
    keeps = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=keeps
    )
    return float(run.stdout)


def main(json_path: Path) -> None:
    """Runs both; the file gets the rows."""
    statements = ("import continuum, solvers", "import numba, numpy")
    cases = [
        _harness.Case(statement, "fresh process", partial(partial, seconds, statement))
        for statement in statements
    ]
    for case in cases:
        seconds(case.name)  # writes byte code and fills the disk cache
    times: list[list[float]] = [[] for _ in cases]
    for _ in range(ROUNDS):
        for case, found in zip(cases, times, strict=True):
            found.append(seconds(case.name))
    for case, found in zip(cases, times, strict=True):
        case.seconds, case.status = median(found), "finished"
    rows = _harness.compare_all(cases, {statements[1]: 1 / 1.2})
    _harness.write(rows, json_path, "Importing")


if __name__ == "__main__":
    _harness.run("imports", main)
