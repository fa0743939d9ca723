"""Public doors called with bad arguments: does each say, in the package's own words, which it was?

    python tests/fuzz.py [--calls 24000] [--seed 0] [--door solvers.integrate] [--show 3]

Each call is a good one in which one or two arguments are replaced by what does not belong there.
It returns, ends with a sentence of the package that names the argument, or shows a defect: an
exception of the interpreter or of NumPy, a sentence without the name, a warning, a call that does
not end.  Doors are taken in turn; the same seed gives the same calls.
"""

import argparse
import collections
import contextlib
import dis
import io
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
from fuzz_calls import BAD, call, doors, good_arguments, parameters_of

import continuum
import solvers
import studies

OWN = tuple(os.path.dirname(package.__file__) + os.sep for package in (continuum, solvers, studies))
SECONDS = 3.0
RETURNED, NAMED, FAILED = "returned", "named the argument", "failed as a run"
SLOW, MEMORY = f"not done in {SECONDS:g} s of computing", "out of memory"
GOOD = {RETURNED, NAMED, FAILED}


class TooLong(BaseException):
    """The time of a call is over."""


@dataclass(frozen=True)
class Call:
    """One call and how it ended: an outcome of this file, or the kind of a defect."""

    door: str
    replaced: tuple[tuple[str, str], ...]
    outcome: str
    sentence: str = ""
    where: str = ""

    @property
    def defect(self) -> bool:
        return self.outcome not in GOOD

    def __str__(self) -> str:
        given = ", ".join(f"{name} = {what}" for name, what in self.replaced)
        return f"{self.door}({given}): {self.outcome}: {self.sentence[:200]} [{self.where}]"


def fuzz(calls: int, seed: int = 0, only: str = "", warm: bool = False) -> Iterator[Call]:
    """This many calls, the doors in turn; `only` those whose name contains it.

    warm : the good call of each door comes first, without a limit of time, so that loops are
        compiled before calls are timed; one that does not return is a defect of the table
    """
    rng = np.random.default_rng(seed)
    chosen = {name: door for name, door in doors().items() if only in name}
    good: dict[str, dict[str, Any]] = {}
    names = [name for name in chosen if parameters_of(chosen[name])]
    bad = list(BAD)
    for i in range(calls):
        if i % len(names) == 0:
            order = rng.permutation(len(names))
        name = names[order[i % len(names)]]
        if name not in good:
            good[name] = good_arguments(name, chosen[name])
            if warm:
                outcome, *rest = attempt(chosen[name], good[name], limited=False)
                if outcome != RETURNED:
                    yield Call(name, (), f"good call: {outcome}", *rest)
        parameters = [p.name for p in parameters_of(chosen[name])]
        size = min(len(parameters), 1 + int(rng.random() < 0.3))
        replaced = [
            (parameters[j], bad[int(rng.integers(len(bad)))])
            for j in rng.choice(len(parameters), size, replace=False)
        ]
        arguments = good[name] | {parameter: BAD[what]() for parameter, what in replaced}
        outcome = attempt(chosen[name], arguments)
        yield Call(name, tuple(replaced), *outcome)


def attempt(
    door: Callable[..., Any], arguments: dict[str, Any], limited: bool = True
) -> tuple[str, str, str]:
    """How a call ends: outcome, message, the line it came from."""
    try:
        with _quiet():
            in_time(call, door, arguments) if limited else call(door, arguments)
    except TooLong:
        return SLOW, "", ""
    except MemoryError as error:
        return MEMORY, str(error), ""
    except (Exception, KeyboardInterrupt) as error:
        mappings = [value for value in arguments.values() if isinstance(value, Mapping)]
        names = [p.name for p in parameters_of(door)]
        return _judged(error, [*names, *(str(key) for m in mappings for key in m)])
    return RETURNED, "", ""


def _judged(error: BaseException, names: Sequence[str]) -> tuple[str, str, str]:
    kind, sentence = type(error), str(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename.split(os.sep)[-1]}:{frame.lineno}"
    own = "warn(" in (frame.line or "") if isinstance(error, Warning) else None
    if own is False:
        return f"warning {kind.__name__}", sentence, where
    if not own and not _raised_here(error.__traceback__):
        return f"raw {kind.__name__}", sentence, where
    if any(_says(sentence, name) for name in names):
        return NAMED, sentence, where
    if kind.__module__.split(".")[0] in ("continuum", "solvers", "studies"):
        return FAILED, sentence, where
    return f"unnamed {kind.__name__}", sentence, where


def _says(sentence: str, name: str) -> bool:
    words = re.escape(name).replace("_", "[_ ]")
    return re.search(rf"(?<![a-z]){words}(?![a-z])", sentence, re.IGNORECASE) is not None


def _raised_here(trace: TracebackType | None) -> bool:
    """True if the exception comes from a `raise` of the package."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    code = trace.tb_frame.f_code
    return code.co_filename.startswith(OWN) and (
        code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Warnings are errors; nothing is printed."""
    sink = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        warnings.simplefilter("error")
        yield


def in_time(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call that ends in time; raises TooLong."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, SECONDS),
        (signal.SIGALRM, signal.ITIMER_REAL, 15.0 * SECONDS),  # for what waits
    )
    before = [signal.signal(what, stop) for what, _, _ in timers]
    for _, timer, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        return function(*arguments)
    finally:
        for (what, timer, _), handler in zip(timers, before, strict=True):
            signal.setitimer(timer, 0.0)
            signal.signal(what, handler)


@contextlib.contextmanager
def bounded(gibibytes: float = 6.0) -> Iterator[None]:
    """In an empty folder, with so much memory."""
    here, limits = Path.cwd(), resource.getrlimit(resource.RLIMIT_AS)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (int(gibibytes * 2**30), limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
            os.chdir(here)


def table(results: Sequence[Call], show: int = 0) -> str:
    """Counts by outcome; the doors with defects, worst first, with examples."""
    by_kind = collections.Counter(result.outcome for result in results)
    lines = [f"{len(results)} calls"]
    lines += [f"  {count:6d}  {outcome}" for outcome, count in by_kind.most_common()]
    defects = [result for result in results if result.defect]
    lines += [f"{len(defects)} defects, by door"]
    for door, count in collections.Counter(d.door for d in defects).most_common():
        kinds = collections.Counter(d.outcome for d in defects if d.door == door).most_common()
        lines.append(f"  {count:6d}  {door}: " + ", ".join(f"{n} {kind}" for kind, n in kinds))
        places: set[str] = set()
        for defect in (d for d in defects if d.door == door):
            if len(places) < show and defect.where not in places:
                places.add(defect.where)
                lines.append(f"            {defect}")
    return "\n".join(lines)


def main() -> int:
    """Runs and prints; 1 if there are defects."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=24000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--door", default="")
    parser.add_argument("--show", type=int, default=0)
    options = parser.parse_args()
    with bounded():
        results = list(fuzz(options.calls, options.seed, options.door, warm=True))
    print(table(results, options.show))
    return int(any(result.defect for result in results))


if __name__ == "__main__":
    sys.exit(main())
