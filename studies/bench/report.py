"""One self-contained HTML page per sweep, from its files alone: question, cases, figures, how to
get it again.
"""

import base64
import html
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from .errors import FigureError
from .files import write_atomically, write_text
from .origins import of_sweep
from .parameters import Value, spell, varying
from .plan import planned_case, read_plan
from .registry import Picture, describe
from .summary import summary, write_summary


@dataclass(frozen=True, eq=False)
class _Case:
    """A planned case: its answer if there is one, else why not."""

    parameters: Mapping[str, Value]
    answer: xr.Dataset | None
    status: str


def write_report(folder: str | Path) -> Path:
    """Draws the figures of a sweep as PNG files, GIF where they move, and writes report.html and
    summary.csv (`summary.summary`) beside its case files.

    The study must be registered, or be found where it was, for its figures; everything else comes
    from the files.
    returns the path of the page, which refers to nothing outside itself
    Damaged files are moved to `folder`/damaged; a sweep.json that is lost is made again.
    raises StoreError if `folder` holds no sweep or cannot be written to, ValueError if the study is
        unknown, FigureError, after writing the page without figures, if they cannot be drawn
    """
    folder = Path(folder)
    plan = read_plan(folder)
    study = of_sweep(plan)
    cases = _cases(folder, plan)
    answers = [case.answer for case in cases if case.answer is not None]
    pictures: list[Picture] = []
    refusal: Exception | None = None
    if study.plot is not None and answers:
        try:
            pictures = study.plot(answers)
        # the answers may have taken hours: the page must be written whatever a plot does
        except Exception as error:
            refusal = error
    for picture in pictures:
        write_atomically(folder / picture.file, picture.save)
    files = [str(entry["file"]) for entry in plan["cases"]]  # type: ignore[attr-defined]
    rows = [(c.parameters, c.answer, c.status, f) for c, f in zip(cases, files, strict=True)]
    write_summary(folder, summary(rows))
    page = folder / "report.html"
    note = describe(refusal) if refusal else ""
    write_text(page, _page(plan, cases, [(p, folder / p.file) for p in pictures], note))
    if refusal is not None:
        raise FigureError(page, note) from refusal
    return page


def _cases(folder: Path, plan: Mapping[str, Any]) -> list[_Case]:
    found = [(entry, *planned_case(folder, entry)) for entry in plan["cases"]]
    return [_Case(entry["parameters"], answer, status) for entry, answer, status in found]


def _page(
    plan: Mapping[str, object],
    cases: Sequence[_Case],
    figures: Sequence[tuple[Picture, Path]],
    note: str,
) -> str:
    title = str(plan["title"])  # the first paragraph
    text = inspect.cleandoc(str(plan["question"])).partition("\n\n")[2].strip()
    source = ", ".join(str(plan[key]) for key in ("paper", "figure") if plan[key])
    finished = sum(case.answer is not None for case in cases)
    parts = [
        f"<header><p "
        f"class=quiet>{_e(plan['study'])}{_e(' · ' + source) if source else ''}</p>"
        f"<h1>{_e(title)}</h1>",
        f"<p>{finished} of {len(cases)} cases are finished; the sweep was started "
        f"{_e(plan['created'])}.</p></header>",
        f"<section><h2>Question</h2>{_paragraphs(text)}</section>" if text else "",
    ]
    if note:
        parts.append(f"<p class=bad>The figures could not be drawn: {_e(note)}</p>")
    for picture, path in figures:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
        parts.append(
            f'<figure><img alt="{_e(picture.caption)}" src="data:{picture.mime};base64,{data}">'
            f"<figcaption>{_e(picture.caption)}</figcaption></figure>"
        )
    parts.append(f"<section><h2>Cases</h2>{_case_table(cases)}</section>")
    parts.append(f"<section><h2>How to get it again</h2><pre>{_e(plan['command'])}</pre></section>")
    parts.append(f"<section><h2>Environment</h2>{_environment(plan)}</section>")
    return _PAGE.format(title=_e(title), style=_STYLE, body="\n".join(parts))


def _case_table(cases: Sequence[_Case]) -> str:
    """What all cases share, then a row for each: what differs, its scalar results and, unless
    shared, its status.
    """
    parameters = [case.parameters for case in cases]
    shown = varying(parameters)
    shared = (
        {name: value for name, value in parameters[0].items() if name not in shown}
        if parameters
        else {}
    )
    scalars: dict[str, str] = {}
    for case in cases:
        for name, variable in (case.answer.data_vars if case.answer is not None else {}).items():
            if variable.ndim == 0:
                unit = variable.attrs.get("units", "")
                title = variable.attrs.get("long_name", str(name).replace("_", " "))
                scalars[str(name)] = f"{title} [{unit}]" if unit not in ("", "1") else str(title)
    alike = (
        len(cases) > 1 and len({case.status for case in cases}) == 1 and cases[0].answer is not None
    )
    head = [*shown, *scalars.values(), "seconds", *([] if alike else ["status"])]
    rows = []
    for case in cases:
        cells = [spell(case.parameters[name]) for name in shown]
        cells += [_scalar(case.answer, name) for name in scalars]
        cells.append(
            f"{float(case.answer.attrs['seconds']):.2f}" if case.answer is not None else ""
        )
        rows.append((cells, case.status, case.answer is None))
    lines = (
        [f"<p>In all cases: {_e(', '.join(f'{n} = {spell(v)}' for n, v in shared.items()))}.</p>"]
        if shared
        else []
    )
    if alike:
        lines.append(f"<p>Status of every case: {_e(cases[0].status)}</p>")
    lines.append(
        "<div class=wide><table><thead><tr>"
        + "".join(f"<th>{_e(h)}</th>" for h in head)
        + "</tr></thead><tbody>"
    )
    for cells, status, bad in rows:
        lines.append(
            "<tr>"
            + "".join(f"<td>{_e(cell)}</td>" for cell in cells)
            + ("" if alike else f'<td class="status{" bad" if bad else ""}">{_e(status)}</td>')
            + "</tr>"
        )
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _scalar(answer: xr.Dataset | None, name: str) -> str:
    if answer is None or name not in answer.data_vars:
        return ""
    value = answer[name].item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _environment(plan: Mapping[str, object]) -> str:
    versions, pools = plan["versions"], plan["thread_pools"]
    rows = list(versions.items()) if isinstance(versions, dict) else []
    rows += [("cores", plan["cores"]), ("workers", plan["workers"])]
    rows += [("threads", pool) for pool in pools] if isinstance(pools, list) else []
    rows.append(("code hash", plan["code_hash"]))
    cells = "".join(f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in rows)
    return f"<div class=wide><table class=plain>{cells}</table></div>"


def _paragraphs(text: str) -> str:
    """A docstring as HTML: blank lines part paragraphs; indented ones keep their line breaks."""
    blocks: Iterable[str] = (block for block in text.split("\n\n") if block.strip())
    return "".join(
        f"<pre>{_e(block)}</pre>"
        if any(line.startswith("    ") for line in block.splitlines())
        else f"<p>{_e(block)}</p>"
        for block in blocks
    )


def _e(value: object) -> str:
    return html.escape(value if isinstance(value, str) else json.dumps(value))


_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --quiet: #5c5c5c;
  --back: #ffffff; --line: #d4d4d4; --soft: #f4f4f4;
  --bad: #a63a00; }
@media (prefers-color-scheme: dark) { :root {
  --text: #ececec; --quiet: #a9a9a9; --back: #17181a; --line: #43464a;
  --soft: #232528; --bad: #ff9d66; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 56rem;
  color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.2rem 0 0.6rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
.quiet { color: var(--quiet); margin: 0; }
.bad { color: var(--bad); }
figure { margin: 1.6rem 0; break-inside: avoid; }
img { display: block; max-width: 100%; height: auto;
  background: #ffffff; border: 1px solid var(--line);
  padding: 0.4rem; }
figcaption { margin-top: 0.4rem; color: var(--quiet); }
pre { background: var(--soft); padding: 0.6rem 0.8rem; white-space: pre-wrap; font-size: 0.9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.55rem; text-align: right;
  border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { border-bottom: 2px solid var(--line); }
.status, .plain th, .plain td { text-align: left; }
td { white-space: nowrap; }
.plain td, td.status { white-space: normal; }
td.status { min-width: 34em; }
.status { min-width: 12rem; }
.plain td { overflow-wrap: anywhere; }
@media print { :root {
  --text: #000; --quiet: #444; --back: #fff; --line: #bbb; --soft: #f4f4f4; --bad: #a63a00; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; } h2 { break-after: avoid; } tr { break-inside: avoid; } }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
