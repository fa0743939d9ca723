"""Sweeps under kills, full disks, flipped bits and each other: nothing is lost, nothing misread.

What happens is drawn from seeds; each loop ends after a bounded number of rounds.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from studies_toys import empty_registry, register

from studies.bench import files
from studies.bench.environment import cores
from studies.bench.registry import find_study, study
from studies.bench.store import read_case, read_header
from studies.bench.sweep import SweepResult, run_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL and /proc"),
]
needs_two_cores = pytest.mark.skipif(cores() < 2, reason="two workers need two cores")
one_and_two = pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_two_cores)])

REFUSALS = (errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT)


def unlucky(*, index: int = 0, seed: int = 0, notes: str = "") -> xr.Dataset:
    """The disk refuses to take some answers, at some of the attempts."""
    attempts = Path(notes) / f"{index}"
    with attempts.open("a") as file:
        file.write("x")
    rng = np.random.default_rng([seed, index, attempts.stat().st_size])
    if rng.random() < 0.5:
        refuse_once(int(rng.choice(REFUSALS)), int(rng.integers(3)))
    return answer(index)


def answer(index: int) -> xr.Dataset:
    values = np.random.default_rng(index).standard_normal(500)
    return xr.Dataset({"values": ("i", values), "index": index})


def quick(*, index: int = 0) -> xr.Dataset:
    """A case of a few milliseconds, most of them spent in writing."""
    time.sleep(0.01)
    return answer(index)


def refuse_once(number: int, step: int) -> None:
    """The next write of a case file fails: half-way, when it is flushed, or when it is moved."""
    module, name = ((files, "_write"), (files, "_flush"), (os, "replace"))[step]
    whole = getattr(module, name)

    def refuse(path: Path, other: object) -> None:
        setattr(module, name, whole)
        if name == "_write":
            path.write_bytes(b"\x89HDF half")
        raise OSError(number, os.strerror(number), str(path))

    setattr(module, name, refuse)


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()
    study("toys/unlucky", paper="Toys")(unlucky)
    study("toys/quick", paper="Toys", cases=[{"index": range(40)}])(quick)


def check(folder: Path) -> int:
    """How many case files there are; all are whole, and each is the answer to its question."""
    found = sorted(folder.glob("case-*.h5"))
    for path in found:
        assert path.name == f"case-{read_header(path).case_hash[:12]}.h5"
        case = read_case(path)
        assert case["values"].equals(answer(int(case["index"]))["values"])
    return len(found)


@one_and_two
def test_a_disk_that_refuses_at_times(tmp_path: Path, workers: int):
    (tmp_path / "notes").mkdir()
    grid = {"index": range(12), "seed": [workers], "notes": [str(tmp_path / "notes")]}
    finished, rounds = 0, 0
    while finished < 12:
        result = run_sweep(
            find_study("toys/unlucky"), [grid], tmp_path, workers=workers, progress="none"
        )
        assert result.count("skipped") == finished
        finished = check(result.folder)
        assert finished == 12 - result.count("failed")
        assert list(result.folder.rglob(".*.tmp")) == []
        assert result.damaged == 0
        for row in result.rows:
            if row.outcome == "failed":
                assert "could not be written: " in row.sentence
        rounds += 1
        assert rounds < 15
    assert rounds > 2
    assert list((result.folder / "failed").iterdir()) == []


@one_and_two
def test_flipped_bits_are_found_and_mended(tmp_path: Path, rng: np.random.Generator, workers: int):
    def run() -> SweepResult:
        grid = [{"index": range(6)}]
        return run_sweep(find_study("toys/quick"), grid, tmp_path, workers=workers, progress="none")

    folder = run().folder
    mended = 0
    for _ in range(40 if workers == 1 else 8):
        places = [*sorted(folder.glob("case-*.h5")), folder / "sweep.json"]
        path = places[rng.integers(len(places))]
        bits = bytearray(path.read_bytes())
        place = int(rng.integers(8 * len(bits)))
        bits[place // 8] ^= 1 << place % 8
        path.write_bytes(bits)
        result = run()
        assert result.count("failed") == 0
        assert check(folder) == 6
        mended += result.damaged
    assert mended == len(list((folder / "damaged").glob("*.txt"))) > 0


SCRIPT = """
import sys
import studies_toys
import test_studies_faults as toys
from studies.bench.registry import study
from studies.cli import main

studies_toys.register()
study("toys/quick", paper="Toys", cases=[{"index": range(40)}])(toys.quick)
if __name__ == "__main__":
    sys.exit(main())
"""


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    """`continuum run toys/quick`, its words on standard error."""
    script = folder / "command.py"
    script.write_text(SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    options = ["--out", str(folder), "--workers", str(workers)]
    return subprocess.Popen(
        [sys.executable, str(script), "run", "toys/quick", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def children(parent: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(state[1]) == parent and b"spawn_main" in (path / "cmdline").read_bytes():
            found.append(int(path.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@one_and_two
def test_kills(tmp_path: Path, rng: np.random.Generator, workers: int):
    """Driver or workers are killed, at any moment after the first case, in each of five runs."""
    folder = tmp_path / "toys-quick"
    before: dict[Path, bytes] = {}
    for _ in range(5):
        with start(tmp_path, workers) as driver:
            assert driver.stderr is not None
            driver.stderr.readline()
            time.sleep(float(rng.uniform(0.0, 0.1)))
            victims = children(driver.pid)
            if victims and rng.random() < 0.5:
                os.kill(victims[int(rng.integers(len(victims)))], signal.SIGKILL)
                time.sleep(float(rng.uniform(0.0, 0.3)))
            driver.kill()
        time.sleep(0.3)  # workers see that it is gone
        check(folder)
        after = {path: path.read_bytes() for path in folder.glob("case-*.h5")}
        assert before.items() <= after.items()
        before = after
    with start(tmp_path, workers) as driver:
        said, errors = driver.communicate(timeout=60)
    assert driver.returncode == 0, errors
    assert f"Of 40 cases {40 - len(before)} were run" in said
    assert check(folder) == 40
    assert list(folder.rglob(".*.tmp")) == []
    assert not (folder / "damaged").exists()


@one_and_two
def test_two_sweeps_in_one_folder(tmp_path: Path, workers: int):
    with start(tmp_path, workers) as one, start(tmp_path, workers) as two:
        told = [process.communicate(timeout=100) for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], told
    folder = tmp_path / "toys-quick"
    assert check(folder) == 40
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".h5") == [
        "failed",
        "report.html",
        "summary.csv",
        "sweep.json",
    ]
    assert list((folder / "failed").iterdir()) == []
    again = run_sweep(find_study("toys/quick"), out=tmp_path, progress="none")
    assert (again.count("skipped"), again.damaged) == (40, 0)
