"""A sweep: the cases of a study, each run once, kept in a file of its own, resumed where it was
left.
"""

import contextlib
import hashlib
import json
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import xarray as xr

from continuum.checks import check_count, check_positive
from continuum.doors import checked
from solvers.run.threads import one_thread

from .commands import command_line
from .crew import in_processes
from .environment import code_hash, cores, versions
from .errors import StoreError, SweepInterrupted, SweepStopped
from .files import DAMAGED, check_writable, now, remove_leftovers, write_bytes, write_record
from .parameters import ParameterGrid, Value, label, varying
from .plan import (
    FAILED,
    PLAN,
    case_file,
    failure_file,
    set_aside_damaged,
    sweep_plan,
)
from .progress import ProgressKind, reporter
from .registry import Study, describe
from .store import DONE, CaseHeader, case_image, read_header
from .workers import settled, submit

IN_HAND = 1024
"""Cases that an executor is given at once: their answers wait in this process's memory."""


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
    """What became of a sweep; rows in the order of the cases.

    damaged : how many files could not be read and were moved to the folder damaged/
    """

    study: str
    folder: Path
    rows: tuple[CaseRow, ...]
    damaged: int = 0

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
        bad = f", {failed} failed" if failed else ""
        files = "1 damaged file was" if self.damaged == 1 else f"{self.damaged} damaged files were"
        aside = f" {files} set aside, in {self.folder / DAMAGED}." if self.damaged else ""
        return f"Of {len(self.rows)} cases {done} were run{before}{bad}.{aside}"


@dataclass(frozen=True)
class _Job:
    """All that a worker needs to run one case and write its file."""

    function: Callable[..., xr.Dataset]
    header: CaseHeader
    path: Path


@dataclass(frozen=True)
class _Outcome:
    """What became of a case; `image` is the content of its file as long as that is not written."""

    sentence: str
    seconds: float
    failed: bool
    details: str = ""
    image: bytes = b""


@checked
def run_sweep(
    study: Study,
    grids: Sequence[ParameterGrid] | None = None,
    out: str | os.PathLike[str] = "results",
    *,
    executor: Executor | None = None,
    workers: int = 1,
    progress: ProgressKind = "auto",
    max_seconds: float | None = None,
    command: str | None = None,
) -> SweepResult:
    """Runs every case of a study that has no file yet, in `out`/paper-question/case-HASH.h5.

    The hash is of the study's name, all parameters and the code (`environment.code_hash`), so a
    file is found again only for the same question asked of the same code.  Parameters, hashes and
    versions are in sweep.json before the first case runs.  A case that raises is a row, and a file
    failed/HASH.json; the others go on. So is one whose answer cannot be written, and, with workers
    > 1, one that ends its process: the cases in hand when a process dies run once more, each alone.
    Temporary files of a killed sweep are removed.  A file whose content is not what its checksum
    was taken of, or that leads out of the folder, is moved to the folder damaged/ with the reason
    beside it, and its case runs again.  BLAS and OpenMP are held to one thread, so that an answer
    does not depend on how many workers there are.

    grids : the cases, a union of grids; None for the study's own
    executor : any concurrent.futures.Executor, left running, of processes here or elsewhere: they
        need not see the folder, the files are written by this process
    workers : processes to start if no executor is given; 1 runs here
    max_seconds : a case that runs longer is stopped, whatever code it is in, and has failed; cases
        then run in processes of their own, with workers = 1 too
    progress : "auto" (a bar on a terminal, else lines), "bar", "lines", "none", on standard error
    command : how to run the same sweep again, for the report; None composes it
    raises ValueError for bad parameters or workers, StoreError if the folder cannot be written to,
        both before any case runs; SweepInterrupted on Ctrl-C; SweepStopped if the executor gives
        its cases up
    """
    cases = study.expand(grids)
    check_count("workers", workers)
    if max_seconds is not None:
        check_positive("max_seconds", max_seconds)
        if executor is not None:
            raise ValueError(
                "max_seconds is for processes on this machine, and not for an executor or a cluster"
            )
    if workers > cores():
        raise ValueError(
            f"workers must be at most {cores()}, the cores of this machine, got {workers}"
        )
    folder = check_writable(Path(out) / study.name.replace("/", "-"))
    check_writable(folder / FAILED)
    remove_leftovers(folder, folder / FAILED)
    code, found = code_hash(study.function), versions()
    headers = [
        CaseHeader(study.name, case, case_hash(study, case, code), code, found) for case in cases
    ]
    finished, damaged = set_aside_damaged(folder, headers)
    told = workers if executor is None else type(executor).__name__
    line = command or command_line(study, grids, cases, out, workers, max_seconds)
    write_record(folder / PLAN, sweep_plan(study, headers, line, told))

    jobs = [_Job(study.function, h, folder / case_file(h.case_hash)) for h in headers]
    before = _Outcome("It was finished before.", 0.0, False)
    rows = {
        job.header.case_hash: _row(job, before, "skipped")
        for job in jobs
        if job.header.case_hash in finished
    }
    todo = [job for job in jobs if job.header.case_hash not in rows]
    shown = varying(cases)
    try:
        with (
            reporter(progress, len(jobs)) as report,
            _outcomes(todo, executor, workers, max_seconds) as outcomes,
        ):
            for job, outcome in outcomes:
                row = _row(job, outcome, "failed" if outcome.failed else "done")
                _keep_failure(folder, row, code, outcome.details)
                rows[row.case_hash] = row
                ending = f"failed: {row.sentence}" if outcome.failed else f"{row.seconds:.1f} s"
                with contextlib.suppress(OSError):  # standard error may be a file on the full disk
                    report.report(
                        len(rows), f"{label(row.parameters, shown)} {ending}", outcome.failed
                    )
    except KeyboardInterrupt:
        raise SweepInterrupted(sum(job.path.is_file() for job in jobs), len(jobs)) from None
    except SweepStopped as error:
        count = sum(job.path.is_file() for job in jobs)
        raise SweepStopped(
            f"{error}: {count} of {len(jobs)} cases are finished; the same command resumes"
        ) from None
    finally:
        remove_leftovers(folder, folder / FAILED)
    return SweepResult(study.name, folder, tuple(rows[h.case_hash] for h in headers), damaged)


def case_hash(study: Study, case: Mapping[str, Value], code: str) -> str:
    """SHA-256 of the canonical JSON of study name, all parameters and code hash."""
    key = {"study": study.name, "parameters": dict(case), "code": code}
    return hashlib.sha256(
        json.dumps(key, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()


def is_finished(path: Path, case_hash: str) -> bool:
    """True if `path` is an intact case file with that hash."""
    try:
        return read_header(path).case_hash == case_hash
    except StoreError:
        return False


def _answer(job: _Job) -> _Outcome:
    """Answers one case, here or in a worker; its file is not written."""
    start = time.perf_counter()
    try:
        with one_thread():
            answer = job.function(**job.header.parameters)
        if not isinstance(answer, xr.Dataset):
            raise TypeError(
                f"study {job.header.study!r} must return an xarray.Dataset, got "
                f"{type(answer).__name__}"
            )
        seconds = time.perf_counter() - start
        image = case_image(answer, job.header, seconds)
        return _Outcome(str(answer.attrs.get("status", DONE)), seconds, False, image=image)
    # whatever a study raises is the row of its own case: the others must go on
    except Exception as error:
        return _Outcome(describe(error), time.perf_counter() - start, True, traceback.format_exc())


def _kept(job: _Job, result: _Outcome | Exception) -> _Outcome:
    """The outcome of a case, its file written if it has an answer."""
    outcome = _told(result)
    if outcome.failed:
        return outcome
    try:
        write_bytes(job.path, outcome.image)
    except StoreError as error:
        return _Outcome(describe(error), outcome.seconds, True, traceback.format_exc())
    return replace(outcome, image=b"")


def _run_case(job: _Job) -> _Outcome:
    """Answers one case and writes its file, in this process or in one started for the purpose."""
    return _kept(job, _answer(job))


@contextlib.contextmanager
def _outcomes(
    jobs: Sequence[_Job], executor: Executor | None, workers: int, max_seconds: float | None
) -> Iterator[Iterator[tuple[_Job, _Outcome]]]:
    """The outcomes as they come, from this process, from `executor`, or from processes started for
    the purpose.
    """
    if executor is not None:
        with contextlib.closing(_from_executor(jobs, executor)) as results:
            yield results
    elif workers == 1 and max_seconds is None:
        yield ((job, _run_case(job)) for job in jobs)
    else:
        with contextlib.closing(
            in_processes(_run_case, jobs, workers, _found, max_seconds)
        ) as results:
            yield ((job, _told(result)) for job, result in results)


def _from_executor(
    jobs: Sequence[_Job], executor: Executor
) -> Generator[tuple[_Job, _Outcome], None, None]:
    waiting = deque(jobs)
    futures: dict[Future[_Outcome], _Job] = {}
    try:
        while waiting or futures:
            while waiting and len(futures) < IN_HAND:
                futures[submit(executor, _answer, waiting[0])] = waiting[0]
                waiting.popleft()
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                job, result = futures.pop(future), settled(future)
                if isinstance(result, CancelledError):
                    raise SweepStopped("what ran the cases is gone")
                yield job, _kept(job, result)
    finally:
        for future in futures:
            future.cancel()


def _told(result: _Outcome | Exception) -> _Outcome:
    """The outcome of a case, also of one that could not be run."""
    return _Outcome(describe(result), 0.0, True) if isinstance(result, Exception) else result


def _found(job: _Job) -> _Outcome | None:
    """The outcome of a case whose process wrote the file but did not live to tell."""
    return _Outcome(DONE, 0.0, False) if is_finished(job.path, job.header.case_hash) else None


def _row(job: _Job, outcome: _Outcome, kind: Literal["done", "skipped", "failed"]) -> CaseRow:
    path = None if outcome.failed else job.path
    return CaseRow(
        job.header.parameters, job.header.case_hash, kind, path, outcome.sentence, outcome.seconds
    )


def _keep_failure(folder: Path, row: CaseRow, code: str, details: str) -> None:
    """failed/HASH.json for a case that failed, if the disk takes it; nothing there for one that did
    not.
    """
    path = folder / failure_file(row.case_hash)
    if row.outcome == "failed":
        kept = {
            "case_hash": row.case_hash,
            "code_hash": code,
            "parameters": dict(row.parameters),
            "sentence": row.sentence,
            "details": details,
            "created": now(),
        }
        # the row has the sentence, and the other cases must go on
        with contextlib.suppress(StoreError):
            write_record(path, kept)
    else:
        path.unlink(missing_ok=True)
