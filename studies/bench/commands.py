"""How a sweep is run again: the line that a report prints."""

import os
import shlex
from collections.abc import Mapping, Sequence

from .origins import origin, typed
from .parameters import ParameterGrid, Value, listed, spell
from .registry import Study


def command_line(
    study: Study,
    grids: Sequence[ParameterGrid] | None,
    cases: Sequence[Mapping[str, Value]],
    out: str | os.PathLike[str] = "results",
    workers: int = 1,
    max_seconds: float | None = None,
) -> str:
    """The `continuum run` line for these cases, from the current folder, or the lines of Python
    where no such line gives them.

    grids : what was asked for, None for the study's own; cases : all of them
    """
    values = _assignments(study, cases)
    there = os.fspath(out)
    if values is None:
        check = study.parameters.check
        given = [
            {name: [check(name, one) for one in listed(some)] for name, some in grid.items()}
            for grid in grids or ()
        ]
        arguments = [f"find_study({origin(study)!r})", repr(given)]
        arguments += [] if there == "results" else [repr(there)]
        return f"from studies import find_study, run_sweep\n\nrun_sweep({', '.join(arguments)})"
    options = [] if there == "results" else ["--out", there]
    options += ["--workers", str(workers)] if workers > 1 else []
    options += [] if max_seconds is None else ["--max-seconds", f"{max_seconds:g}"]
    return shlex.join(["continuum", "run", typed(study), *values, *options])


def _assignments(study: Study, cases: Sequence[Mapping[str, Value]]) -> list[str] | None:
    """The words name=value,value that give these cases; none for the default sweep; None if there
    are none.
    """
    wanted = {tuple(case.items()) for case in cases}
    if wanted == {tuple(case.items()) for case in study.expand()}:
        return []
    axes = {name: dict.fromkeys(case[name] for case in cases) for name in cases[0]}
    words = [f"{name}={','.join(map(spell, values))}" for name, values in axes.items()]
    try:
        found = study.expand([study.parameters.parse(words)])
    except ValueError:
        return None
    return words if {tuple(case.items()) for case in found} == wanted else None
