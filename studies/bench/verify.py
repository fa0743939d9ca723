"""Claims checked and told: a table line by line, and the same as JSON."""

import json
import math
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from continuum.doors import checked
from solvers.run.threads import one_thread

from .files import write_text
from .registry import Claim, describe


@dataclass(frozen=True)
class ClaimResult:
    """One case of a claim, judged: passed means error <= tolerance, so never for NaN.

    seconds : for the whole claim, all its cases together
    note : what went wrong, if the claim could not be computed; else empty
    """

    id: str
    case: str
    statement: str
    reference: float
    computed: float
    error: float
    tolerance: float
    relative: bool
    passed: bool
    seconds: float
    note: str = ""


@checked
def check(claim: Claim) -> list[ClaimResult]:
    """Computes a claim, with libraries held to one thread, and judges every case.

    A claim that raises, or returns other keys than its references, fails with a note in every row.
    """
    start = time.perf_counter()
    computed: Mapping[str, float] = {}
    note = ""
    try:
        with one_thread():
            computed = claim.function()
        if computed.keys() != claim.references.keys():
            note = f"computed {list(computed)} but the references are {list(claim.references)}"
    # a claim may run any solver: one that breaks must not hide the verdict on the others
    except Exception as error:
        note = describe(error)
    seconds = time.perf_counter() - start
    rows = []
    for case, reference in claim.references.items():
        value = float(computed.get(case, math.nan)) if not note else math.nan
        error = abs(value - reference) / (abs(reference) if claim.relative else 1.0)
        tolerance = claim.tolerances[case]
        passed = error <= tolerance
        row = ClaimResult(
            claim.id,
            case,
            claim.statement,
            reference,
            value,
            error,
            tolerance,
            claim.relative,
            passed,
            seconds,
            note,
        )
        rows.append(row)
    return rows


def verify(claims: Sequence[Claim], say: Callable[[str], None]) -> list[ClaimResult]:
    """Checks the claims one after the other; `say` hears each one's lines as soon as it is
    computed.
    """
    results: list[ClaimResult] = []
    for claim in claims:
        rows = check(claim)
        results += rows
        passed = all(row.passed for row in rows)
        verdict = "passed" if passed else "FAILED"
        say(f"{claim.id}  {verdict}  {rows[0].seconds:.1f} s  {claim.paper}")
        say(textwrap.fill(claim.statement, 110, initial_indent="    ", subsequent_indent="    "))
        width = max(len(row.case) for row in rows)
        for row in rows:
            say(_line(row, width))
        if not passed:
            say(f"    the tolerance is what it is because: {claim.reason}")
    failed = sum(not row.passed for row in results)
    say(f"{len(claims)} claims, {len(results)} numbers, {failed} outside tolerance")
    return results


def write_json(results: Sequence[ClaimResult], path: Path) -> None:
    """A list of {id, case, statement, reference, computed, error, tolerance, relative, passed,
    seconds, note}.

    A number that could not be computed is null.  raises StoreError if the file cannot be written
    """
    write_text(
        path,
        json.dumps([{k: _finite(v) for k, v in asdict(row).items()} for row in results], indent=1),
    )


def _line(row: ClaimResult, width: int) -> str:
    if row.note:
        return f"    {row.case:<{width}}  not computed: {row.note}"
    kind = "relative " if row.relative else ""
    sign = "<=" if row.passed else "> "
    return (
        f"    {row.case:<{width}}  reference {row.reference:< 22.15g}  "
        f"computed {row.computed:< 22.15g}  "
        f"{kind}error {row.error:.1e} {sign} {row.tolerance:.1e}"
    )


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
