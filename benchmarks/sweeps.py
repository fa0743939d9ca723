"""Sweeps of many small cases: what each costs besides its own computation.

"flat": 10,000 cases of 16 KB by one and by two processes.  Seconds are per case, medians over
blocks of 100, of the last tenth of the cases against the first; the bar is 1.2 times it.  The notes
have the processor time of the driver per case, which other programs disturb less, and the memory
that it gained from the first tenth to the end; a row says what a finished case costs when the sweep
is resumed.
"thousand": `open_sweep` and `write_report` on 1,000 cases of a course in time, in all; the bar is
30 s.
"files": one such case written and read, against xarray's plain `to_netcdf` and `open_dataset` with
h5netcdf, the same Dataset on the same disk.  Ours flushes the file to the disk, makes and checks
its checksum, and keeps the case's header.
"""

import _harness  # isort: split

import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import _small_studies  # noqa: F401  (registers them)
import numpy as np
import xarray as xr

from studies import find_study, open_sweep, run_sweep, write_report
from studies.bench import progress
from studies.bench.environment import versions
from studies.bench.store import CaseHeader, read_case, read_header, write_case

MANY, FEW = 10_000, 1_000
BLOCK = 100
"""Cases of two processes end in pairs: their times are counted a hundred at a time."""

LIMIT = 30.0


def resident() -> float:
    """This process's memory, MB; NaN where /proc is missing."""
    file = Path("/proc/self/statm")
    if not file.exists():
        return float("nan")
    return int(file.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def watched() -> Iterator[tuple[list[float], list[float], list[float]]]:
    """Instead of lines, when cases ended: seconds, those of this process alone, and its memory."""
    clock: list[float] = []
    busy: list[float] = []
    memory: list[float] = []

    def note(self: progress.Lines, done: int, text: str, failed: bool) -> None:
        clock.append(time.perf_counter())
        busy.append(time.process_time())
        memory.append(resident())

    shown = progress.Lines.report
    progress.Lines.report = note
    try:
        yield clock, busy, memory
    finally:
        progress.Lines.report = shown


def told(name: str, case: str, seconds: float, note: str = "") -> _harness.Case:
    """A contender that was timed here."""
    made = _harness.Case(name, case, lambda: None, note=note)
    made.seconds, made.status = seconds, "finished"
    return made


def check(found: object, wanted: object) -> None:
    """What was timed did what it should; RuntimeError if not."""
    if found != wanted:
        raise RuntimeError(f"expected {wanted}, found {found}")


def per_case(moments: Sequence[float]) -> tuple[float, float]:
    """Seconds per case in the first and in the last tenth: medians over blocks."""
    blocks, tenth = np.diff(moments[::BLOCK]) / BLOCK, len(moments) // BLOCK // 10
    return statistics.median(blocks[:tenth]), statistics.median(blocks[-tenth:])


def flat(folder: Path, workers: int) -> list[_harness.Row]:
    """10,000 cases, and the same again, which are found finished."""
    case = f"{MANY} cases, workers {workers}"
    grid = [{"index": range(MANY)}]
    sweep = partial(run_sweep, find_study("benchmarks/tiny"), grid, folder / str(workers))
    with _harness.all_cores() as cores:
        if cores < workers:
            return []
        with watched() as (clock, busy, memory):
            check(sweep(workers=workers, progress="lines").count("done"), MANY)
        began = time.perf_counter()
        check(sweep(workers=workers, progress="none").count("skipped"), MANY)
        again = (time.perf_counter() - began) / MANY
    tenth, each, own = MANY // 10, per_case(clock), per_case(busy)
    gained = memory[-1] - memory[tenth]
    note = f"driver alone {1e3 * own[-1]:.2f} ms, +{gained:.1f} of {memory[-1]:.0f} MB"
    last = told("last tenth, a case", case, each[-1], note)
    first = told("first tenth, a case", case, each[0], f"driver alone {1e3 * own[0]:.2f} ms")
    resumed = told("resumed, a finished case", case, again)
    return [_harness.compare(last, first, 1 / 1.2), *map(_harness.own, (first, resumed))]


def thousand(folder: Path) -> list[_harness.Row]:
    """Opening a sweep of 1,000 cases, and its report."""
    rates, starts = [0.01 * i for i in range(FEW // 10)], [float(i) for i in range(1, 11)]
    grid = [{"rate": rates, "start": starts}]
    done = run_sweep(find_study("benchmarks/decay"), grid, folder, progress="none")
    check(done.count("done"), FEW)
    limit = told("the limit", "", LIMIT)
    rows = []
    for name, run in (("open_sweep", open_sweep), ("write_report", write_report)):
        began, busy = time.perf_counter(), time.process_time()
        found = run(done.folder)
        seconds, busy = time.perf_counter() - began, time.process_time() - busy
        ours = told(name, f"{FEW} cases", seconds, f"{busy:.1f} s of the processor")
        if isinstance(found, xr.Dataset):
            check(found["state"].shape, (len(rates), len(starts), 200, 4))
        rows.append(_harness.compare(ours, limit, 1.0))
    return rows


def files(folder: Path) -> list[_harness.Row]:
    """One file, written and read."""
    study = find_study("benchmarks/decay")
    case = study.function()
    header = CaseHeader(study.name, {"rate": 1.0, "start": 1.0}, "1" * 64, "2" * 64, versions())
    ours, plain = folder / "ours.h5", folder / "plain.h5"

    def opened() -> xr.Dataset:
        with xr.open_dataset(plain, engine="h5netcdf") as found:
            return found.load()

    def apart(found: object) -> float:
        return (
            0.0 if isinstance(found, xr.Dataset) and found["state"].equals(case["state"]) else 1.0
        )

    wrote = [
        _harness.Case(
            "write_case", "one file", lambda: partial(write_case, ours, case, header, 0.0)
        ),
        _harness.Case(
            "to_netcdf", "one file", lambda: partial(case.to_netcdf, plain, engine="h5netcdf")
        ),
    ]
    read = [
        _harness.Case("read_case", "one file", lambda: partial(read_case, ours), apart, 0.0),
        _harness.Case("open_dataset(...).load()", "one file", lambda: opened, apart, 0.0),
        _harness.Case("read_header", "one file", lambda: partial(read_header, ours)),
    ]
    _harness.measure(wrote)
    _harness.measure(read)
    rows = [*_harness.compare_all(wrote, {}), *_harness.compare_all(read[:2], {})]
    return [*rows, _harness.own(read[2])]


def main(json_path: Path, cases: Sequence[str]) -> None:
    """Runs the chosen cases; the file gets the rows."""
    rows: list[_harness.Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "flat" in cases:
            rows += [row for workers in (1, 2) for row in flat(folder, workers)]
        if "thousand" in cases:
            rows += thousand(folder)
        if "files" in cases:
            rows += files(folder)
    _harness.write(rows, json_path, "Sweeps of many small cases, and their files")


if __name__ == "__main__":
    _harness.run("sweeps", main, ("flat", "thousand", "files"))
