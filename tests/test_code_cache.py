"""Compiled loops run where nothing can be kept on disk, and where what is kept is damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LOOP = """
from continuum.compiled import compiled

@compiled
def twice(x):
    return 2.0 * x

@compiled
def thrice(x):
    return 3.0 * x

print(twice(1.5), thrice(1.5), len(twice._cache_hits), sum(twice._cache_hits.values()))
"""


def run(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that imports from `folder` first, with a home that is no folder."""
    variables = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "HOME": os.devnull,
        "XDG_CACHE_HOME": os.devnull,
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    if "NUMBA_CACHE_DIR" not in environment:
        variables.pop("NUMBA_CACHE_DIR", None)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def unwritable(folder: Path) -> None:
    """No folder __pycache__ can be made, not even by an administrator: a file bears that name."""
    for inner in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
        (inner / "__pycache__").write_text("")


def test_the_packages_import_where_nothing_can_be_written(tmp_path: Path):
    for name in ("continuum", "solvers"):
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    unwritable(tmp_path)
    done = run(tmp_path, "import solvers; solvers.integrate; print(solvers.__file__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "solvers" / "__init__.py")
    (line,) = done.stderr.splitlines()
    assert "RuntimeWarning: compiled loops are compiled again" in line
    assert "NUMBA_CACHE_DIR" in line


def test_loops_run_where_nothing_can_be_written(tmp_path: Path):
    (tmp_path / "loop.py").write_text(LOOP)
    unwritable(tmp_path)
    done = run(tmp_path, "import loop", NUMBA_CACHE_DIR=os.devnull + "/x")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3.0 4.5")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("damage", ["nbi", "nbc", "noise"])
def test_a_damaged_file_is_written_again(tmp_path: Path, damage: str):
    """Cut in half, or overwritten; the next process reads what this one has mended."""
    (tmp_path / "loop.py").write_text(LOOP)
    kept = tmp_path / "kept"
    kept.mkdir()
    first = run(tmp_path, "import loop", NUMBA_CACHE_DIR=str(kept))
    assert first.stdout == "3.0 4.5 0 0\n", first.stderr
    assert first.stderr == ""
    for file in kept.rglob("*.nbi" if damage == "noise" else f"*.{damage}"):
        content = file.read_bytes()
        file.write_bytes(b"\x80noise" if damage == "noise" else content[: len(content) // 2])
    second = run(tmp_path, "import loop", NUMBA_CACHE_DIR=str(kept))
    assert second.returncode == 0, second.stderr
    assert second.stdout == "3.0 4.5 0 0\n"
    (line,) = second.stderr.splitlines()
    assert "is damaged" in line
    third = run(tmp_path, "import loop", NUMBA_CACHE_DIR=str(kept))
    assert third.stdout == "3.0 4.5 1 1\n", third.stderr
    assert third.stderr == ""
