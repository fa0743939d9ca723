"""Sweeps survive killed workers, a killed driver and a full disk; the 10,000th case costs what the
first did.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from studies_toys import empty_registry, register

from studies.bench import files, progress, sweep
from studies.bench.environment import cores
from studies.bench.files import remove_leftovers, write_atomically
from studies.bench.registry import find_study, study
from studies.bench.store import read_case
from studies.bench.sweep import SweepResult, run_sweep

needs_two_cores = pytest.mark.skipif(cores() < 2, reason="two workers need two cores")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL and /proc")


def mortal(*, index: int = 0, deadly: int = 2, notes: str = "") -> xr.Dataset:
    """One case kills its process, until a file "cured" is there; "starts" tells which cases were
    begun.
    """
    folder = Path(notes)
    with (folder / "starts").open("a") as file:
        file.write(f"{index}\n")
    time.sleep(0.1)
    if index == deadly and not (folder / "cured").exists():
        if (folder / "once").exists():
            (folder / "cured").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return xr.Dataset({"square": index**2})


def tiny(*, index: int = 0) -> xr.Dataset:
    """A small answer, 16 KB."""
    return xr.Dataset({"values": ("i", np.full(2000, float(index)))})


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    monkeypatch.setattr(
        sweep, "code_hash", lambda function: "0" * 64
    )  # a resumed sweep finds its files
    register()
    study("toys/mortal", paper="Toys")(mortal)
    study("toys/tiny", paper="Toys")(tiny)


def sweep_mortal(folder: Path, cases: int = 8) -> SweepResult:
    grid = {"index": range(cases), "notes": [str(folder)]}
    return run_sweep(find_study("toys/mortal"), [grid], folder / "out", workers=2, progress="none")


def starts(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "starts").read_text().split()]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.glob("case-*.h5"))}


@pytest.mark.slow
@needs_two_cores
def test_a_worker_killed_once_costs_no_case(tmp_path: Path):
    (tmp_path / "once").touch()
    result = sweep_mortal(tmp_path)
    assert [row.outcome for row in result.rows] == ["done"] * 8
    assert [int(read_case(path)["square"]) for path in result.paths] == [
        index**2 for index in range(8)
    ]
    begun = starts(tmp_path)
    assert begun.count(2) == 2
    assert set(begun) == set(range(8))
    assert len(begun) <= 10  # the two cases in hand, at most, ran again


@pytest.mark.slow
@needs_two_cores
def test_a_case_that_always_kills_its_worker_is_a_row(tmp_path: Path):
    result = sweep_mortal(tmp_path)
    assert [row.outcome for row in result.rows] == [
        "done",
        "done",
        "failed",
        "done",
        "done",
        "done",
        "done",
        "done",
    ]
    assert result.rows[2].sentence.startswith(
        "WorkerError: its process ended abruptly, and again when it ran alone"
    )
    assert starts(tmp_path).count(2) == 2
    assert len(list((result.folder / "failed").iterdir())) == 1
    assert list(result.folder.glob(".*.tmp")) == []
    before = contents(result.folder)
    assert len(before) == 7

    again = sweep_mortal(tmp_path)  # one case is left, and it does not run in this process either
    assert [row.outcome for row in again.rows] == ["skipped"] * 2 + ["failed"] + ["skipped"] * 5
    (tmp_path / "cured").touch()
    resumed = sweep_mortal(tmp_path)
    assert [row.outcome for row in resumed.rows] == ["skipped"] * 2 + ["done"] + ["skipped"] * 5
    assert list((result.folder / "failed").iterdir()) == []
    after = contents(result.folder)
    assert len(after) == 8
    assert before.items() <= after.items()


@pytest.mark.slow
@needs_two_cores
def test_every_case_kills_its_worker(tmp_path: Path):
    grid = {"index": range(3), "deadly": range(3), "notes": [str(tmp_path)]}
    result = run_sweep(
        find_study("toys/mortal"), [grid], tmp_path / "out", workers=2, progress="none"
    )
    for row in result.rows:
        assert row.outcome == (
            "failed" if row.parameters["index"] == row.parameters["deadly"] else "done"
        )
    assert result.count("failed") == 3


def test_a_broken_executor_of_the_caller_gives_rows(tmp_path: Path):
    grid = {"index": range(20), "deadly": [0], "notes": [str(tmp_path)]}
    with ProcessPoolExecutor(1, get_context("spawn")) as executor:
        result = run_sweep(
            find_study("toys/mortal"), [grid], tmp_path / "out", executor=executor, progress="none"
        )
        again = run_sweep(
            find_study("toys/mortal"), [grid], tmp_path / "out", executor=executor, progress="none"
        )
    for rows in (result.rows, again.rows):
        assert [row.outcome for row in rows] == ["failed"] * 20
        assert all(row.sentence.startswith("BrokenProcessPool: ") for row in rows)


@pytest.mark.slow
@needs_two_cores
def test_workers_that_cannot_start_are_told(tmp_path: Path):
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import sys, studies_toys\n"
        "from studies.bench.registry import find_study\n"
        "from studies.bench.sweep import run_sweep\n"
        "studies_toys.register()\n"
        "found = find_study('toys/faulty')\n"
        "found = run_sweep(found, [{'index': range(40)}], sys.argv[1], workers=2, "
        "progress='none')\n"
        "print(found.count('failed'), len({row.sentence for row in found.rows}), "
        "found.rows[39].sentence)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        env=with_toys(),
        check=False,
    )
    assert done.stdout.startswith("40 1 WorkerError: no process could be started"), done.stderr


SCRIPT = """
import sys
import studies_toys
from studies.bench import sweep
from studies.cli import main

studies_toys.register()
sweep.code_hash = lambda function: "0" * 64
if __name__ == "__main__":
    sys.exit(main())
"""


def with_toys() -> dict[str, str]:
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths}


def state(process: int) -> tuple[int, str]:
    """Parent and state of a process; (0, "X") if there is none."""
    try:
        parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, "X"
    return int(parts[1]), parts[0]


def children(parent: int) -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if state(int(path.name))[0] == parent
    ]


@needs_two_cores
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_driver_is_killed(tmp_path: Path):
    script = tmp_path / "command.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        str(script),
        "run",
        "toys/slow",
        "--out",
        str(tmp_path),
        "--workers",
        "2",
    ]
    folder = tmp_path / "toys-slow"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=with_toys()
    ) as driver:
        assert driver.stderr is not None
        for line in driver.stderr:
            if line.startswith("[2/6]"):
                break
        workers = children(driver.pid)
        assert len(workers) >= 2
        driver.kill()
        driver.wait(timeout=30)
    limit = time.monotonic() + 20
    while any(state(worker)[1] not in "ZX" for worker in workers):
        assert time.monotonic() < limit, "the workers outlive the driver"
        time.sleep(0.05)
    found = contents(folder)
    assert 2 <= len(found) < 6
    for path in found:
        assert int(read_case(path)["square"]) >= 0
    leftover = folder / f".case-0123456789ab.h5.{files._host()}.{driver.pid}.tmp"
    leftover.write_bytes(b"half")
    (folder / "failed" / f".0123456789ab.json.{files._host()}.{driver.pid}.tmp").write_bytes(b"{")

    again = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=with_toys()
    )
    assert again.returncode == 0, again.stderr
    assert (
        f"Of 6 cases {6 - len(found)} were run, {len(found)} were finished before." in again.stdout
    )
    assert list(folder.rglob(".*.tmp")) == []
    after = contents(folder)
    assert len(after) == 6
    assert found.items() <= after.items()


def test_only_the_leftovers_of_the_dead_are_removed(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    here = files._host()
    dead, living = (
        tmp_path / f".case-a.h5.{here}.{process.pid}.tmp",
        tmp_path / f".case-a.h5.{here}.{os.getpid()}.tmp",
    )
    elsewhere = tmp_path / f".case-a.h5.other-{here}.{process.pid}.tmp"
    old, other = tmp_path / f".case-b.h5.{here}.{os.getpid()}.tmp", tmp_path / ".notes.tmp"
    for path in (dead, living, old, other, elsewhere):
        path.write_text("")
    os.utime(old, (time.time() - 4000.0,) * 2)
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([living, other, elsewhere])
    seen = []

    def write(path: Path) -> None:
        seen.append(path.name)
        path.write_text("")

    write_atomically(tmp_path / "x", write)
    assert files._TEMPORARY.fullmatch(seen[0])  # the name it gives is one that is recognized


@pytest.mark.parametrize("also_texts", [False, True])
def test_the_disk_is_full_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also_texts: bool
):
    full, cases, write_whole = [False], [0], files._write

    def write(path: Path, content: bytes) -> None:
        if path.name.startswith(".case-"):
            full[0] = cases[0] in (1, 2)
            cases[0] += 1
        if full[0] and (also_texts or path.name.startswith(".case-")):
            path.write_bytes(content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write_whole(path, content)

    def report(self: progress.Lines, done: int, text: str, failed: bool) -> None:
        if full[0] and also_texts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write", write)
        patch.setattr(progress.Lines, "report", report)
        result = run_sweep(
            find_study("toys/tiny"), [{"index": range(5)}], tmp_path, progress="lines"
        )
    assert [row.outcome for row in result.rows] == ["done", "failed", "failed", "done", "done"]
    for row in result.rows[1:3]:
        assert row.sentence.startswith("StoreError: ")
        assert row.sentence.endswith("could not be written: No space left on device")
    before = contents(result.folder)
    assert len(before) == 3
    assert list(result.folder.rglob(".*.tmp")) == []
    assert len(list((result.folder / "failed").iterdir())) == (0 if also_texts else 2)

    resumed = run_sweep(find_study("toys/tiny"), [{"index": range(5)}], tmp_path, progress="none")
    assert [row.outcome for row in resumed.rows] == [
        "skipped",
        "done",
        "done",
        "skipped",
        "skipped",
    ]
    assert [float(read_case(path)["values"][7]) for path in resumed.paths] == [
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
    ]
    assert before.items() <= contents(result.folder).items()
    assert list((result.folder / "failed").iterdir()) == []


LIMITED = """
import resource, sys
import numpy as np, xarray as xr
from studies.bench.registry import find_study, study
from studies.bench.sweep import run_sweep

def sized(*, numbers: int = 10) -> xr.Dataset:
    "Answers of some size."
    return xr.Dataset({"values": ("i", np.arange(float(numbers)))})

study("toys/sized", paper="Toys")(sized)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
for _ in range(2):
    cases = [{"numbers": [10, 100_000, 20, 30]}]
    result = run_sweep(find_study("toys/sized"), cases, sys.argv[1], progress="none")
    failures = result.rows[1].sentence.count("could not be written: ")
    print(*(row.outcome for row in result.rows), failures)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


def test_the_system_refuses_in_the_middle_of_a_write(tmp_path: Path):
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "done failed done done 1",
        "skipped done skipped skipped 0",
    ], done.stderr
    folder = tmp_path / "toys-sized"
    assert list(folder.rglob(".*.tmp")) == []
    assert sorted(read_case(path)["values"].size for path in contents(folder)) == [
        10,
        20,
        30,
        100_000,
    ]


def resident() -> float:
    """This process's memory, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_two_cores)])
def test_ten_thousand_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int):
    def run() -> SweepResult:
        grid = [{"index": range(10_000)}]
        found = find_study("toys/tiny")
        return run_sweep(found, grid, tmp_path, workers=workers, progress="lines")

    clock, memory = [], []

    def report(self: progress.Lines, done: int, text: str, failed: bool) -> None:
        clock.append(time.perf_counter())
        memory.append(resident())

    monkeypatch.setattr(progress.Lines, "report", report)
    assert run().count("done") == 10_000
    each = np.diff(clock)
    first, last = np.median(each[100:1000]), np.median(each[-1000:])
    assert last < 1.5 * first, (first, last)  # by itself it is flat; the machine is not
    assert memory[-1] - memory[499] < 12.0, (memory[499], memory[-1])  # kept answers would be 150
    start = time.perf_counter()
    assert run().count("skipped") == 10_000
    assert time.perf_counter() - start < 0.5 * (clock[-1] - clock[0])
