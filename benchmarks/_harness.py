"""What the benchmarks share: one pinned thread, interleaved rounds, tables.

Importing this file, before NumPy and every peer, limits all of them to one thread and the process
to one core.  `measure` then times contenders in turns, so that a disturbance by other programs
falls on all of them, each with its own data in the caches, and takes medians over rounds; `table`
makes the rows

    {name, case, seconds, against, against_seconds, ratio, bar, met, error, status, note}

ratio = against_seconds / seconds, so that more is better; met is "met", "at the bar" (a ratio
within 15% of the bar), "missed", or None without a bar.  A contender has a row of its own, with its
error and status, and one that is too inaccurate, fails or is not installed never counts as beaten.
A bar of `compare_best` is against the fastest of all peers that finished, whichever that is.
"""

import os

for _variable in ("OMP_NUM", "OPENBLAS_NUM", "MKL_NUM", "BLIS_NUM", "NUMBA_NUM", "VECLIB_MAXIMUM"):
    os.environ[f"{_variable}_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import platform  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator, Sequence  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from importlib import metadata  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import scipy  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
ROUNDS, LEAST_SECONDS = 9, 0.02
SHORT_SECONDS = 1.0
"""What takes less is called once more, untimed, at the start of its turn: nobody pays for what the
one before left in the caches, as nobody does in a training."""
PACKAGES = (
    "continuum-networks",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "torchdiffeq",
    "jax",
    "optax",
    "diffrax",
    "cupy",
    "casadi",
    "hj_reachability",
)
Row = dict[str, str | float | None]


@dataclass
class Case:
    """One contender on one problem.

    make : imports what it needs and returns the function to be timed, or that and a note;
        ImportError means "not installed", NotRun "not run"
    error : accuracy of what that function returned; None if there is nothing to compare (a bare
        product)
    tolerance : a larger error gives the status "inaccurate"
    before : called before every call, outside the timing
    note : a few words for the table
    """

    name: str
    case: str
    make: Callable[[], object]
    error: Callable[[object], float] | None = None
    tolerance: float = np.inf
    before: Callable[[], object] | None = None
    note: str = ""
    seconds: float | None = field(default=None, init=False)
    accuracy: float | None = field(default=None, init=False)
    status: str = field(default="not run", init=False)


class NotRun(Exception):
    """Raised by a contender that cannot run on this machine; the note says why."""


def measure(cases: Sequence[Case], rounds: int = ROUNDS) -> None:
    """Fills in seconds (median of rounds), accuracy, status and note of cases that compete with
    each other.
    """
    running: list[tuple[Case, Callable[[], object], int]] = []
    for case in cases:
        try:
            made = case.make()
            run, case.note = made if isinstance(made, tuple) else (made, case.note)
            result = run()
        except ImportError:
            case.status = "not installed"
            continue
        except NotRun as reason:
            case.note = str(reason)
            continue
        except Exception as error:  # a peer's failure is a result
            case.status = f"failed: {type(error).__name__}"
            continue
        case.status = "finished"
        if case.error is not None:
            case.accuracy = case.error(result)
            if not case.accuracy <= case.tolerance:
                case.status = "inaccurate"
        del result
        running.append((case, run, _repetitions(case, run)))
    times: list[list[float]] = [[] for _ in running]
    gc.collect()
    gc.disable()
    for first in range(rounds):
        for i in range(len(running)):
            at = (first + i) % len(running)  # nobody always runs after the same neighbour's start
            case, run, repetitions = running[at]
            if case.before is None and (not times[at] or times[at][-1] < SHORT_SECONDS):
                run()
            times[at].append(_timed(case, run, repetitions) / repetitions)
    gc.enable()
    for (case, _, _), found in zip(running, times, strict=True):
        case.seconds = statistics.median(found)


def _timed(case: Case, run: Callable[[], object], repetitions: int) -> float:
    """Seconds of that many calls."""
    if case.before is None:
        began = time.perf_counter()
        for _ in range(repetitions):
            run()
        return time.perf_counter() - began
    total = 0.0
    for _ in range(repetitions):
        case.before()
        began = time.perf_counter()
        run()
        total += time.perf_counter() - began
    return total


def _repetitions(case: Case, run: Callable[[], object]) -> int:
    """How often to call it for one measurement of at least LEAST_SECONDS; calling also warms it
    up.
    """
    repetitions = 1
    while (seconds := _timed(case, run, repetitions)) < LEAST_SECONDS:
        repetitions = max(
            2 * repetitions, int(1.2 * repetitions * LEAST_SECONDS / max(seconds, 1e-9))
        )
    return repetitions


@contextmanager
def all_cores() -> Iterator[int]:
    """Lifts the pin to one core; gives the number of cores.  Threads that were started before keep
    theirs.
    """
    cores = os.cpu_count() or 1
    if not hasattr(os, "sched_setaffinity"):
        yield cores
        return
    pinned = os.sched_getaffinity(0)
    os.sched_setaffinity(0, range(cores))
    try:
        yield len(os.sched_getaffinity(0))
    finally:
        os.sched_setaffinity(0, pinned)


def own(case: Case) -> Row:
    """The row of a contender by itself."""
    return {
        "name": case.name,
        "case": case.case,
        "seconds": case.seconds,
        "against": None,
        "against_seconds": None,
        "ratio": None,
        "bar": None,
        "met": None,
        "error": case.accuracy,
        "status": case.status,
        "note": case.note or None,
    }


def compare(ours: Case, against: Case, bar: float | None = None) -> Row:
    """The row that compares two contenders, with our error; the status is the first one that is not
    "finished".
    """
    status = against.status if ours.status == "finished" else ours.status
    ratio = against.seconds / ours.seconds if against.seconds and ours.seconds else None
    met = None
    if bar is not None and against.status == "finished":
        met = "missed"
        if ratio is not None and ours.status == "finished" and ratio >= 0.85 * bar:
            met = "met" if ratio >= bar else "at the bar"
    return own(ours) | {
        "against": against.name,
        "against_seconds": against.seconds,
        "ratio": ratio,
        "bar": bar,
        "met": met,
        "status": status,
    }


def compare_all(cases: Sequence[Case], bars: dict[str, float]) -> list[Row]:
    """The first contender against every other, with a bar where its name has one, then everyone
    else's own row.
    """
    ours, others = cases[0], cases[1:]
    return [*(compare(ours, x, bars.get(x.name)) for x in others), *(own(x) for x in others)]


def compare_best(cases: Sequence[Case], bar: float | None) -> Row:
    """The first contender against the fastest of the others that finished with a small enough
    error; the bar is for this row.
    """
    ours, peers = cases[0], [x for x in cases[1:] if x.status == "finished" and x.seconds]
    if not peers:
        status = "not run" if ours.status == "finished" else ours.status
        return own(ours) | {"against": "best peer", "bar": bar, "status": status}
    best = min(peers, key=lambda x: x.seconds or np.inf)
    note = f"best of {len(peers)} peers" + (f": {best.note}" if best.note else "")
    row = compare(ours, best, bar)
    return row | {
        "against": f"best peer: {best.name}",
        "note": "; ".join(filter(None, (ours.note, note))),
    }


def compare_peers(cases: Sequence[Case], bar: float | None) -> list[Row]:
    """The first contender against the best of the others, then against each, then their own
    rows.
    """
    return [compare_best(cases, bar), *compare_all(cases, {})]


def machine() -> dict[str, object]:
    """What the numbers depend on: processor, versions, BLAS, threads."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "threads": 1,
        "pinned": hasattr(os, "sched_setaffinity"),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "blas": {"numpy": _blas(np), "scipy, numba": _blas(scipy)},
    }


def _processor() -> str:
    """The model's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _blas(library: object) -> str:
    """Name and version of the BLAS that NumPy or SciPy was built with."""
    found = library.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    columns = (
        "name",
        "case",
        "seconds",
        "against",
        "against_seconds",
        "ratio",
        "bar",
        "met",
        "error",
        "status",
        "note",
    )
    columns = tuple(x for x in columns if x != "note" or any(row.get(x) for row in rows))
    cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
    heads = [name.replace("_", " ") for name in columns]
    widths = [max(len(line[i]) for line in [heads, *cells]) for i in range(len(columns))]
    ruler = ["-" * width for width in widths]
    lines = [
        [cell.ljust(width) for cell, width in zip(x, widths, strict=True)]
        for x in [heads, ruler, *cells]
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(column: str, value: str | float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if column in ("ratio", "bar") else f"{value:.3g}"


def write(rows: Sequence[Row], json_path: Path, title: str) -> None:
    """Prints the table; writes it beside the JSON file, with the machine."""
    about = machine()
    text = table(rows)
    print(f"{title}\n\n{text}")
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(
        json.dumps({"machine": about, "rows": list(rows)}, indent=1) + "\n", encoding="utf-8"
    )
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    blas = ", ".join(f"{name}: {found}" for name, found in about["blas"].items())
    threads = "one thread unless a case says otherwise"
    notes = f"{about['cpu']}, {threads}, Python {about['python']}; {versions}; BLAS of {blas}."
    json_path.with_suffix(".md").write_text(f"{title}\n\n{text}\n\n{notes}\n", encoding="utf-8")


def run(name: str, main: Callable[..., None], cases: Sequence[str] = ()) -> None:
    """The command line of a benchmark: --json FILE, and --cases NAME ... where it has some.

    main : called with the file, and with the chosen cases, all unless said otherwise, if it has any
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, default=RESULTS / f"{name}.json", metavar="FILE")
    if cases:
        parser.add_argument("--cases", nargs="+", choices=cases, default=list(cases))
    given = parser.parse_args()
    main(given.json, *([given.cases] if cases else []))
