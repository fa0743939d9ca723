"""The table of a report's cases, laid out so that it fits its page."""

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from .parameters import Value, spell, varying

PAGE = 100
"""How many letters of the table's size stand beside each other on a page, on screen or paper."""

PHONE = 38
"""How many do on a phone."""

_GAP = 2
"""Letters that the space between two columns takes."""


@dataclass(frozen=True, eq=False)
class Case:
    """A planned case: its answer if there is one, else why not; `file` beside the page has either,
    it is empty if none has.
    """

    parameters: Mapping[str, Value]
    answer: xr.Dataset | None
    status: str
    file: str


def case_table(cases: Sequence[Case]) -> str:
    """What all cases share, then a row for each: what differs, its scalar results and, unless
    shared, its status: in a column where there is room for the longest, else in a line below.

    Where the columns have no room beside each other, a case is a card: its cells one after another,
    each under its name.
    """
    parameters = [case.parameters for case in cases]
    shown = varying(parameters)
    lines = []
    shared = [f"{n} = {spell(v)}" for n, v in (*parameters, {})[0].items() if n not in shown]
    if shared:
        lines.append(f"<p>In all cases: {_e(', '.join(shared))}.</p>")
    statuses = [case.status for case in cases]
    alike = len(cases) > 1 and len(set(statuses)) == 1 and cases[0].answer is not None
    if alike:
        lines.append(f"<p>Status of every case: {_e(statuses[0])}</p>")

    columns = [(name, [spell(case.parameters[name]) for case in cases]) for name in shown]
    columns += _scalars(cases)
    columns.append(("seconds", [_seconds(case.answer) for case in cases]))
    columns.append(("file", [Path(case.file).stem.removeprefix("case-")[:8] for case in cases]))
    width = sum(_width(name, cells) for name, cells in columns)
    beside = not alike and width + max(map(len, ("status", *statuses))) + _GAP <= PAGE
    below = not alike and not beside
    kind = "small" if width <= PHONE else "medium" if width <= PAGE else "large"

    head = "".join(f"<th>{_e(name)}</th>" for name, _ in columns)
    head += "<th class=status>status</th>" * beside
    lines.append(f'<div class=wide><table class="cases {kind}"><thead><tr>{head}</tr></thead>')
    for k, case in enumerate(cases):
        row = "".join(_cell(name, cells[k], case.file) for name, cells in columns)
        row += _status(case, 1) if beside else ""
        told = f"</tr><tr>{_status(case, len(columns))}" if below else ""
        lines.append(f"<tbody><tr{' class=told' * below}>{row}{told}</tr></tbody>")
    lines.append("</table></div>")
    return "\n".join(lines)


def _scalars(cases: Sequence[Case]) -> list[tuple[str, list[str]]]:
    """The results without dimensions: title with unit, and what each case has."""
    titles: dict[str, str] = {}
    for case in cases:
        for name, variable in (case.answer.data_vars if case.answer is not None else {}).items():
            if variable.ndim == 0:
                unit = variable.attrs.get("units", "")
                title = variable.attrs.get("long_name", str(name).replace("_", " "))
                titles[str(name)] = f"{title} [{unit}]" if unit not in ("", "1") else str(title)
    return [(t, [_scalar(case.answer, name) for case in cases]) for name, t in titles.items()]


def _scalar(answer: xr.Dataset | None, name: str) -> str:
    """A number; where it is NaN, what that stands for: the variable's attribute `nan_means`, or
    "none".
    """
    if answer is None or name not in answer.data_vars:
        return ""
    value = answer[name].item()
    if isinstance(value, float) and math.isnan(value):
        return str(answer[name].attrs.get("nan_means", "none"))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _seconds(answer: xr.Dataset | None) -> str:
    return "" if answer is None else f"{float(answer.attrs['seconds']):.2f}"


def _width(name: str, cells: Sequence[str]) -> int:
    """How many letters a column takes at least: its longest word, since lines break at spaces."""
    return max(len(word) for text in (name, *cells) for word in text.split() or [""]) + _GAP


def _cell(name: str, text: str, file: str) -> str:
    """A cell, in which that of the file links to it."""
    shown = f'<a href="{_e(file)}">{_e(text)}</a>' if name == "file" and file else _e(text)
    return f'<td data-name="{_e(name)}">{shown}</td>'


def _status(case: Case, columns: int) -> str:
    bad = " bad" if case.answer is None else ""
    return f'<td class="status{bad}" colspan={columns}>{_e(case.status)}</td>'


_e = html.escape

_CARD = """
TABLE, TABLE tbody { display: block; }
TABLE thead { display: none; }
TABLE tbody { border-top: 1px solid var(--line); padding: 0.4rem 0; break-inside: avoid; }
TABLE tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
TABLE td { display: flex; flex-direction: column; justify-content: flex-end; border: 0;
  text-align: left; overflow-wrap: anywhere; }
TABLE td:empty { display: none; }
TABLE td::before { content: attr(data-name); color: var(--quiet);
  font-size: 0.8rem; line-height: 1.2; }
TABLE td.status { grid-column: 1 / -1; }
"""

STYLE = f"""
.cases {{ font-size: 0.85rem; }}
.cases th, .cases td {{ padding: 0.25rem 0.4rem; }}
.cases tbody {{ break-inside: avoid; }}
.cases .told td {{ border-bottom: 0; padding-bottom: 0; }}
{_CARD.replace("TABLE", ".cases.large")}
@media screen and (max-width: 58rem) {{ {_CARD.replace("TABLE", ".cases.medium")} }}
"""
"""The style of the table, after that of its page."""
