"""What a sweep is to do, in sweep.json; made again from the case files where that file is lost."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import xarray as xr

from .commands import command_line
from .environment import cores, thread_pools
from .errors import StoreError
from .files import check_inside, now, read_record, set_aside, write_record
from .origins import of_sweep, origin
from .parameters import Value
from .registry import Study, documentation
from .store import CaseHeader, read_case, read_header

SWEEP_FORMAT = "continuum sweep 2"
PLAN = "sweep.json"
FAILED = "failed"
"""The folder of what is known of the cases that failed."""


def case_file(case_hash: str) -> str:
    """The name of the file of a case."""
    return f"case-{case_hash[:12]}.h5"


def failure_file(case_hash: str) -> str:
    """Where in the sweep's folder it is said why a case failed."""
    return f"{FAILED}/{case_hash[:12]}.json"


def sweep_plan(
    study: Study,
    headers: Sequence[CaseHeader],
    command: str,
    workers: int | str,
    created: str | None = None,
) -> dict[str, object]:
    """What sweep.json says: the question, its cases, and with what they are answered."""
    return {
        "format": SWEEP_FORMAT,
        "study": study.name,
        "title": study.title,
        "question": documentation(study.function),
        "paper": study.paper,
        "figure": study.figure,
        "command": command,
        "origin": origin(study),
        "code_hash": headers[0].code_hash,
        "created": created or now(),
        "versions": dict(headers[0].versions),
        "cores": cores(),
        "workers": workers,
        "thread_pools": thread_pools(),
        "cases": [
            {
                "case_hash": header.case_hash,
                "file": case_file(header.case_hash),
                "parameters": dict(header.parameters),
            }
            for header in headers
        ],
    }


def read_plan(folder: Path) -> dict[str, object]:
    """sweep.json of a folder; where it is missing or damaged it is made again from the case files,
    and the damaged one set aside.

    It then lists the cases of the code of the newest file, finished or failed; those that were
    never run are not known any more.
    raises StoreError if there is no sweep in the folder, or one of another version; ValueError if
        it is to be made again and its study, of a file, is not known in this process
    """
    path = folder / PLAN
    try:
        plan = read_record(path)
        if plan.get("format") == SWEEP_FORMAT and isinstance(plan.get("cases"), list):
            return plan
        raise StoreError(f"{path} was not written by a continuum sweep of this version")
    except StoreError as error:
        plan = _rebuilt(folder)
        if plan is None and not os.path.lexists(path):
            raise StoreError(f"there is no sweep in {folder}: no {PLAN}, no case files") from None
        if plan is None:
            raise
        if os.path.lexists(path):
            set_aside(folder, path, str(error))
    write_record(path, plan)
    return plan


def planned_case(folder: Path, entry: Mapping[str, object]) -> tuple[xr.Dataset | None, str]:
    """The answer of a case that sweep.json lists, and its status; None and the reason if there is
    no answer.  Damaged files are set aside.
    """
    case_hash = str(entry["case_hash"])
    path, failure = folder / case_file(case_hash), folder / failure_file(case_hash)
    try:
        if os.path.lexists(path):
            answer = read_case(path)
            if answer.attrs["case_hash"] != case_hash:
                raise StoreError(f"{path} belongs to another case")
            return answer, str(answer.attrs["status"])
        if os.path.lexists(failure):
            path = failure
            return None, f"failed: {read_record(failure)['sentence']}"
    except StoreError as error:
        set_aside(folder, path, str(error))
        return None, f"set aside, run the sweep again: {error}"
    return None, "not run yet"


def set_aside_damaged(folder: Path, headers: Sequence[CaseHeader]) -> tuple[set[str], int]:
    """Looks at all files of a sweep before it goes on.

    returns the hashes of the cases that are finished, and how many files were damaged and are now
        set aside: case files, what is said of failed cases, sweep.json
    """
    check_inside(folder, folder / FAILED)
    finished: set[str] = set()
    damaged = 0
    for path in (folder / PLAN, *sorted((folder / FAILED).glob("*.json"))):
        if os.path.lexists(path):
            try:
                read_record(path)
            except StoreError as error:
                damaged += set_aside(folder, path, str(error))
    for header in headers:
        path = folder / case_file(header.case_hash)
        if os.path.lexists(path):
            try:
                if read_header(path).case_hash != header.case_hash:
                    raise StoreError(f"{path} belongs to another case")
                finished.add(header.case_hash)
            except StoreError as error:
                damaged += set_aside(folder, path, str(error))
    return finished, damaged


def _axes(cases: Sequence[Mapping[str, Value]]) -> dict[str, list[Value]]:
    """Every value of every parameter, in order."""
    return {name: list(dict.fromkeys(case[name] for case in cases)) for name in cases[0]}


def _rebuilt(folder: Path) -> dict[str, object] | None:
    """The plan that the case files and what is said of failed cases tell; None if they are none."""
    found: list[tuple[float, CaseHeader]] = []
    for path in sorted(folder.glob("case-*.h5")):
        try:
            found.append((path.stat().st_mtime, read_header(path)))
        except (StoreError, OSError):  # it is set aside when its turn comes
            continue
    if not found:
        return None
    newest = max(found, key=lambda one: one[0])[1]
    headers = {
        header.case_hash: header
        for _, header in found
        if (header.study, header.code_hash) == (newest.study, newest.code_hash)
    }
    for path in sorted((folder / FAILED).glob("*.json")):
        try:
            kept = read_record(path)
        except StoreError:
            continue
        case_hash, parameters = str(kept["case_hash"]), kept["parameters"]
        if kept.get("code_hash") == newest.code_hash and isinstance(parameters, dict):
            failed = CaseHeader(
                newest.study, parameters, case_hash, newest.code_hash, newest.versions
            )
            headers.setdefault(case_hash, failed)
    listed = sorted(headers.values(), key=lambda one: tuple(one.parameters.values()))
    try:
        study = of_sweep({"study": newest.study})
    except ValueError:
        raise ValueError(
            f"{folder / PLAN} is lost or damaged, and with it where the study {newest.study!r} is: "
            f"continuum report {folder} --study FILE.py makes it again"
        ) from None
    cases = [dict(header.parameters) for header in listed]
    known = [json.dumps(case, sort_keys=True) for case in cases]
    if sorted(known) == sorted(json.dumps(case, sort_keys=True) for case in study.expand()):
        grids = None
    elif math.prod(map(len, _axes(cases).values())) == len(cases):
        grids = [_axes(cases)]
    else:
        grids = list(cases)
    try:
        command = command_line(study, grids, cases, folder.parent)
    except ValueError as error:  # answers of older code are shown all the same
        command = f"# not with the study as it is now: {error}"
    when = f"at a time not known (sweep.json was made again from the case files, {now()})"
    return sweep_plan(study, listed, command, "not known", when)
