"""Bad command lines: exit code 2 and one line of text, never a traceback.

    python tests/fuzz_commands.py [--lines 600] [--seed 0] [--show 3]

Commands and their options are read from the application, so new ones are tried too.  In every line
something is wrong: an unknown name, option or parameter, a value of another kind, a file that is
missing or no such file, an argument too many.
"""

import argparse
import collections
import contextlib
import io
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fuzz import SLOW, TooLong, bounded, in_time
from typer.main import get_command

import studies
from studies import cli

REFUSED, RAN = "exit code 2, one line", "exit code 0"
STUDY, PARAMETER = "liu_markowich/resnet_limit", "seed"
"""A study that is there, and a parameter that most have."""
WORDS = (
    "spam",
    "",
    " ",
    "-1",
    "0",
    "nan",
    "inf",
    "1e400",
    "1" * 400,
    "None",
    "a,b",
    "../x",
    "é",
    "\\n",
)
NAMES = (
    "nothing",
    "liu_markowich/nothing",
    "/",
    "a/b/c",
    "resnet_limit",
    "nothing.py",
    "no.such:thing",
)
FILES = (
    "missing",
    "empty",
    "file.txt",
    "file.txt/below",
    "/proc/nowhere/x",
    "empty.h5",
    "text.h5",
    "",
)
VALUES = (
    "spam=1",
    "seed",
    "seed=",
    "=1",
    "seed=a",
    "seed=1.5",
    "seed=0:",
    "seed=5:0",
    "seed=0:99999999999",
    "seed=1e400",
    "seed=" + "9" * 400,
    "seed=True",
    "seed=nan",
    "seed=1,,2",
    "==",
    "seed=0:1:2:3",
)


@dataclass(frozen=True)
class Line:
    """A command line and how it ended."""

    words: tuple[str, ...]
    outcome: str
    text: str = ""

    @property
    def defect(self) -> bool:
        return self.outcome != REFUSED

    def __str__(self) -> str:
        line = shlex.join(word[:40] for word in self.words)
        return f"continuum {line}: {self.outcome}: {self.text[-300:]}"


def lines(count: int, seed: int = 0) -> Iterator[list[str]]:
    """This many bad lines."""
    rng = np.random.default_rng(seed)
    commands: dict[str, Any] = get_command(cli.app).commands  # type: ignore[attr-defined]

    def any_of(words: Sequence[str]) -> str:
        return words[int(rng.integers(len(words)))]

    for _ in range(count):
        name = any_of([*commands, "run", "run", "report"])
        options = [
            p for p in commands[name].params if p.param_type_name == "option" and not p.is_flag
        ]
        kind = int(rng.integers(6))
        if kind == 0:
            line = [any_of(["runn", "", "-", "--", "--spam", "Run", "spam", name + "s", "0"])]
            yield [*line, any_of(WORDS)]
            continue
        line = [name]
        if kind == 1:  # an option that is not there, or has no value
            line += [*_arguments(name), "--spam", any_of(WORDS)]
        elif kind == 2:
            line += [*_arguments(name), *([any_of(WORDS) or "spam"] * 3)]
            line += [] if name == "run" else ["spam"]
            line += ["--spam"] if name not in ("run",) else [any_of(VALUES)]
        elif name == "run":
            line += [STUDY, any_of(VALUES)] if rng.random() < 0.6 else [any_of(NAMES)]
        elif name in ("report", "clean", "portrait", "bench", "summary"):
            line += [any_of(FILES if name in ("report", "clean", "summary") else NAMES)]
        elif name == "verify":
            line += ["--paper", any_of(["spam", "", "LM"])]
        else:
            line += ["spam"]
        if options and kind > 2:
            option = options[int(rng.integers(len(options)))]
            line += [max(option.opts, key=len)]
            line += [any_of([*WORDS, *FILES])]
        yield line


def _arguments(name: str) -> list[str]:
    return [STUDY] if name == "run" else ["empty"] if name in ("report", "portrait") else []


def attempt(words: Sequence[str]) -> Line:
    """Runs `continuum` with these words, in this process."""
    out, told = io.StringIO(), io.StringIO()
    code: object = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
            code = in_time(cli.main, list(words))
    except TooLong:
        return Line(tuple(words), SLOW)
    except BaseException as error:
        trace = "".join(traceback.format_exception(error))
        return Line(tuple(words), f"traceback {type(error).__name__}", trace)
    text = told.getvalue().strip()
    if code != 2:
        return Line(tuple(words), f"exit code {code}", text)
    if len(text.splitlines()) != 1 or "Traceback" in text or not text.startswith("continuum: "):
        return Line(tuple(words), "not one line", text)
    return Line(tuple(words), REFUSED, text)


def fuzz(count: int, seed: int = 0) -> Iterator[Line]:
    """The lines, run in a folder with some files that are none of the package's."""
    studies.catalogue.load()
    Path("empty").mkdir(exist_ok=True)
    for name in ("file.txt", "empty.h5", "text.h5"):
        Path(name).write_text("" if name == "empty.h5" else "spam\n")
    for words in lines(count, seed):
        yield attempt(words)


def table(results: Sequence[Line], show: int = 0) -> str:
    """Counts by outcome, and examples of defects."""
    counts = collections.Counter(result.outcome for result in results)
    text = [f"{len(results)} command lines"]
    text += [f"  {count:6d}  {outcome}" for outcome, count in counts.most_common()]
    for outcome in counts:
        found = [result for result in results if result.outcome == outcome and result.defect]
        text += [f"    {result}" for result in found[:show]]
    return "\n".join(text)


def main() -> int:
    """Runs and prints; 1 if there are defects."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3)
    options = parser.parse_args()
    with bounded():
        results = list(fuzz(options.lines, options.seed))
    print(table(results, options.show))
    return int(any(result.defect for result in results))


if __name__ == "__main__":
    sys.exit(main())
