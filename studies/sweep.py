"""A sweep: the cases of a study, each run once, kept in a file of its own, resumed where it was left."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import shlex
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numba
import xarray as xr
from threadpoolctl import threadpool_limits

from continuum.checks import check_count

from .environment import code_hash, cores, thread_pools, versions
from .parameters import ParameterGrid, Value, label, spell, varying
from .progress import ProgressKind, reporter
from .registry import Study, describe
from .store import DONE, CaseHeader, StoreError, check_writable, now, read_header, write_case, write_text

SWEEP_FORMAT = "continuum sweep 1"


@dataclass(frozen=True)
class CaseRow:
    """What became of one case.

    outcome : "done" (run now), "skipped" (its file was there already), "failed"
    path : its HDF5 file; None if it failed
    sentence : the status of the case, or why it failed
    """

    parameters: Mapping[str, Value]
    case_hash: str
    outcome: Literal["done", "skipped", "failed"]
    path: Path | None
    sentence: str
    seconds: float


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep; rows in the order of the cases."""

    study: str
    folder: Path
    rows: tuple[CaseRow, ...]

    @property
    def paths(self) -> list[Path]:
        """The files of the finished cases, run now or before."""
        return [row.path for row in self.rows if row.path is not None]

    def count(self, outcome: Literal["done", "skipped", "failed"]) -> int:
        """How many cases came out so."""
        return sum(row.outcome == outcome for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0 if every case has an answer, else 1."""
        return int(self.count("failed") > 0)

    @property
    def status(self) -> str:
        """One sentence."""
        done, skipped, failed = self.count("done"), self.count("skipped"), self.count("failed")
        before = f", {skipped} were finished before" if skipped else ""
        return f"Of {len(self.rows)} cases {done} were run{before}{f', {failed} failed' if failed else ''}."


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C in mid-sweep; finished cases are intact, and the same sweep resumes.

    finished, total : cases
    """

    def __init__(self, finished: int, total: int) -> None:
        self.finished, self.total = finished, total
        super().__init__(f"{finished} of {total} cases are finished; the same command resumes")


@dataclass(frozen=True)
class _Job:
    """All that a worker needs to run one case and write its file."""

    function: Callable[..., xr.Dataset]
    header: CaseHeader
    path: Path
    threads: int | None


@dataclass(frozen=True)
class _Outcome:
    sentence: str
    seconds: float
    failed: bool
    details: str = ""


def run_sweep(
    study: Study,
    grids: Sequence[ParameterGrid] | None = None,
    out: str | os.PathLike[str] = "results",
    *,
    executor: Executor | None = None,
    workers: int = 1,
    progress: ProgressKind = "auto",
    command: str | None = None,
) -> SweepResult:
    """Runs every case of a study that has no file yet, in `out`/paper-question/case-HASH.h5.

    The hash is of the study's name, all parameters and the code (`environment.code_hash`), so a file is
    found again only for the same question asked of the same code.  Parameters, hashes and versions are in
    sweep.json before the first case runs.  A case that raises is a row, and a file failed/HASH.json; the others go on.

    grids : the cases, a union of grids; None for the study's own
    executor : any concurrent.futures.Executor, left running; how many threads its workers use is its own affair
    workers : processes to start if no executor is given, each with cores // workers threads; 1 runs here
    progress : "auto" (a bar on a terminal, else lines), "bar", "lines", "none", on standard error
    command : how to run the same sweep again, for the report; None composes it
    raises ValueError for bad parameters or workers, StoreError if the folder cannot be written to, both before
        any case runs; SweepInterrupted on Ctrl-C
    """
    cases = study.expand(grids)
    check_count("workers", workers)
    if workers > cores():
        raise ValueError(f"workers must be at most {cores()}, the cores of this machine, got {workers}")
    folder = check_writable(Path(out) / study.name.replace("/", "-"))
    check_writable(folder / "failed")
    code, found = code_hash(study.function), versions()
    headers = [CaseHeader(study.name, case, case_hash(study, case, code), code, found) for case in cases]
    paths = [folder / f"case-{header.case_hash[:12]}.h5" for header in headers]
    plan = {
        "format": SWEEP_FORMAT,
        "study": study.name,
        "title": study.title,
        "question": study.function.__doc__,
        "paper": study.paper,
        "figure": study.figure,
        "command": command or _command(study, grids, cases),
        "code_hash": code,
        "created": now(),
        "versions": found,
        "cores": cores(),
        "workers": workers if executor is None else type(executor).__name__,
        "thread_pools": thread_pools(),
        "cases": [
            {"case_hash": h.case_hash, "file": path.name, "parameters": h.parameters}
            for h, path in zip(headers, paths, strict=True)
        ],
    }
    write_text(folder / "sweep.json", json.dumps(plan, indent=1))

    threads = None if executor is not None or workers == 1 else cores() // workers
    jobs = [_Job(study.function, header, path, threads) for header, path in zip(headers, paths, strict=True)]
    rows: dict[str, CaseRow] = {}
    for job in jobs:
        if is_finished(job.path, job.header.case_hash):
            rows[job.header.case_hash] = _row(job, _Outcome("It was finished before.", 0.0, False), "skipped")
    todo = [job for job in jobs if job.header.case_hash not in rows]
    shown = varying(cases)
    try:
        with reporter(progress, len(jobs)) as report, _outcomes(todo, executor, workers) as outcomes:
            for job, outcome in outcomes:
                row = _row(job, outcome, "failed" if outcome.failed else "done")
                _keep_failure(folder, row, outcome.details)
                rows[row.case_hash] = row
                said = f"failed: {row.sentence}" if outcome.failed else f"{row.seconds:.1f} s"
                report.report(len(rows), f"{label(row.parameters, shown)} {said}", outcome.failed)
    except KeyboardInterrupt:
        finished = sum(is_finished(job.path, job.header.case_hash) for job in jobs)
        raise SweepInterrupted(finished, len(jobs)) from None
    return SweepResult(study.name, folder, tuple(rows[h.case_hash] for h in headers))


def case_hash(study: Study, case: Mapping[str, Value], code: str) -> str:
    """SHA-256 of the canonical JSON of study name, all parameters and code hash."""
    key = {"study": study.name, "parameters": dict(case), "code": code}
    return hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_finished(path: Path, case_hash: str) -> bool:
    """True if `path` is an intact case file with that hash."""
    try:
        return read_header(path).case_hash == case_hash
    except StoreError:
        return False


def _run_case(job: _Job) -> _Outcome:
    """Runs one case and writes its file; called here or in a worker."""
    start = time.perf_counter()
    limits = contextlib.nullcontext() if job.threads is None else threadpool_limits(limits=job.threads)
    try:
        with limits:
            answer = job.function(**job.header.parameters)
        if not isinstance(answer, xr.Dataset):
            raise TypeError(f"study {job.header.study!r} must return an xarray.Dataset, got {type(answer).__name__}")
        seconds = time.perf_counter() - start
        write_case(job.path, answer, job.header, seconds)
        return _Outcome(str(answer.attrs.get("status", DONE)), seconds, False)
    except Exception as error:  # whatever a study raises is the row of its own case: the others must go on
        return _Outcome(describe(error), time.perf_counter() - start, True, traceback.format_exc())


@contextlib.contextmanager
def _outcomes(
    jobs: Sequence[_Job], executor: Executor | None, workers: int
) -> Iterator[Iterator[tuple[_Job, _Outcome]]]:
    """The outcomes as they come, from this process, from `executor`, or from processes started for the purpose."""
    futures: dict[Future[_Outcome], _Job] = {}
    if executor is not None:
        try:
            _submit(jobs, executor, futures)
            yield _collect(futures)
        finally:
            for future in futures:
                future.cancel()
    elif workers == 1 or len(jobs) < 2:
        yield ((job, _run_case(job)) for job in jobs)
    else:
        before = set(multiprocessing.active_children())
        pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(cores() // workers,)
        )
        try:
            _submit(jobs, pool, futures)
            yield _collect(futures)
        except BaseException:  # the cases in hand are given up; cancelling them as well would confuse the pool
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise
        finally:
            pool.shutdown()


def _submit(jobs: Sequence[_Job], executor: Executor, futures: dict[Future[_Outcome], _Job]) -> None:
    with _children_without_interrupts():
        for job in jobs:
            futures[executor.submit(_run_case, job)] = job


def _collect(futures: Mapping[Future[_Outcome], _Job]) -> Iterator[tuple[_Job, _Outcome]]:
    for future in as_completed(futures):
        error = future.exception()
        yield futures[future], future.result() if error is None else _Outcome(describe(error), 0.0, True)


def _start_worker(threads: int) -> None:
    """In a new process: Ctrl-C is the parent's affair, and libraries loaded from now on use `threads` threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


@contextlib.contextmanager
def _children_without_interrupts() -> Iterator[None]:
    """Processes started inside are deaf to Ctrl-C from their first instruction; our own waits until the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _row(job: _Job, outcome: _Outcome, kind: Literal["done", "skipped", "failed"]) -> CaseRow:
    path = None if outcome.failed else job.path
    return CaseRow(job.header.parameters, job.header.case_hash, kind, path, outcome.sentence, outcome.seconds)


def _keep_failure(folder: Path, row: CaseRow, details: str) -> None:
    """failed/HASH.json for a case that failed; nothing there for one that did not."""
    path = folder / "failed" / f"{row.case_hash[:12]}.json"
    if row.outcome == "failed":
        kept = {"case_hash": row.case_hash, "parameters": row.parameters, "sentence": row.sentence, "details": details}
        write_text(path, json.dumps(kept, indent=1))
    else:
        path.unlink(missing_ok=True)


def _command(study: Study, grids: Sequence[ParameterGrid] | None, cases: Sequence[Mapping[str, Value]]) -> str:
    """The `continuum run` line for these cases, or the Python call where no such line gives them."""
    if grids is None:
        return f"continuum run {study.name}"
    if len(grids) == 1:
        axes = {name: dict.fromkeys(case[name] for case in cases) for name in cases[0]}
        given = [shlex.quote(f"{name}={','.join(map(spell, values))}") for name, values in axes.items()]
        return " ".join(["continuum run", study.name, *given])
    return f"run_sweep(find_study({study.name!r}), {[dict(grid) for grid in grids]!r})"
