"""The benchmark scripts of a source checkout, run as programs of their own."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from continuum.checks import check_name

from .files import read_json, write_text

FOLDER = Path(__file__).resolve().parent.parent.parent / "benchmarks"


def benchmarks(folder: Path = FOLDER) -> dict[str, Path]:
    """The scripts by name.  Raises ValueError outside a source checkout, where there are none."""
    scripts = {
        path.stem: path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("_")
    }
    if not scripts:
        raise ValueError(
            f"benchmarks are run from a source checkout; there are no scripts in {folder}"
        )
    return scripts


def run_benchmarks(
    name: str | None = None, output: Path | None = None, folder: Path = FOLDER
) -> int:
    """Runs one benchmark, or all, with this Python; they print their own tables.

    output : a JSON file for {"machine": ..., "rows": [...]}, the rows of all that were run
    returns the exit code: 0 if all scripts ended well, else 1
    raises ValueError for an unknown name or outside a source checkout
    """
    scripts = benchmarks(folder)
    chosen = [check_name("benchmark", name, list(scripts))] if name is not None else list(scripts)
    code, machine, rows = 0, None, []
    with tempfile.TemporaryDirectory() as scratch:
        for script in chosen:
            result = Path(scratch) / f"{script}.json"
            wanted = ["--json", str(result)] if output is not None else []
            code |= int(
                subprocess.run(
                    [sys.executable, str(scripts[script]), *wanted], check=False
                ).returncode
                != 0
            )
            if result.is_file():
                measured = read_json(result)
                machine = machine or measured.get("machine")
                found = measured.get("rows")
                rows += found if isinstance(found, list) else []
    if output is not None:
        write_text(output, json.dumps({"machine": machine, "rows": rows}, indent=1))
    return code
