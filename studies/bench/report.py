"""One self-contained HTML page per sweep, from its files alone: question, cases, figures, how to
get it again.
"""

import base64
import html
import inspect
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from continuum.doors import checked

from .case_table import STYLE, Case, case_table
from .errors import FigureError
from .files import write_atomically, write_text
from .formulas import with_formulas
from .origins import of_sweep
from .parameters import label, varying
from .plan import case_file, failure_file, planned_case, read_plan
from .registry import Picture, describe
from .summary import summary, write_summary


@checked
def write_report(folder: str | Path) -> Path:
    """Draws the figures of a sweep as PNG files, GIF where they move, and writes report.html and
    summary.csv (`summary.summary`) beside its case files.

    The study must be registered, or be found where it was, for its figures; everything else comes
    from the files.
    returns the path of the page, which shows nothing from outside itself, and links to the files
        beside it
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


def _cases(folder: Path, plan: Mapping[str, Any]) -> list[Case]:
    cases = []
    for entry in plan["cases"]:
        answer, status = planned_case(folder, entry)
        beside = (case_file(entry["case_hash"]), failure_file(entry["case_hash"]))
        file = next((name for name in beside if (folder / name).is_file()), "")
        cases.append(Case(entry["parameters"], answer, status, file))
    return cases


def _page(
    plan: Mapping[str, object],
    cases: Sequence[Case],
    figures: Sequence[tuple[Picture, Path]],
    note: str,
) -> str:
    title = str(plan["title"])  # the first paragraph
    text = inspect.cleandoc(str(plan["question"])).partition("\n\n")[2].strip()
    source = ", ".join(str(plan[key]) for key in ("paper", "figure") if plan[key])
    finished = sum(case.answer is not None for case in cases)
    names = {name for case in cases for name in case.parameters}
    sections: list[tuple[str, str]] = []
    if text:
        sections.append(("Question", _paragraphs(text, names)))
    if note:
        sections.append(("Figures", f"<p class=bad>The figures could not be drawn: {_e(note)}</p>"))
    if figures:
        shown = "".join(_figure(picture, path, names) for picture, path in figures)
        sections.append(("Figures", shown))
    sections.append(("Cases", case_table(cases)))
    variables = _variable_table(cases)
    if variables:
        sections.append(("Variables", variables))
    sections.append(("How to get it again", f"<pre>{_e(plan['command'])}</pre>"))
    sections.append(("Environment", _environment(plan)))
    contents = "".join(f'<li><a href="#{_anchor(head)}">{head}</a></li>' for head, _ in sections)
    parts = [
        f"<header><p "
        f"class=quiet>{_e(plan['study'])}{_e(' · ' + source) if source else ''}</p>"
        f"<h1>{with_formulas(title, names)}</h1>",
        f"<p>{finished} of {len(cases)} cases are finished; the sweep was started "
        f"{_e(plan['created'])}.</p>{_without_answer(cases)}</header>",
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav>',
        *(
            f"<section id={_anchor(head)}><h2>{head}</h2>{body}</section>"
            for head, body in sections
        ),
    ]
    return _PAGE.format(title=_e(title), style=_STYLE + STYLE, body="\n".join(parts))


def _without_answer(cases: Sequence[Case]) -> str:
    """Which cases have none, the first ten of them, with links to what is known of them."""
    bad = [case for case in cases if case.answer is None]
    if not bad:
        return ""
    names = varying([case.parameters for case in cases])
    shown = [
        f'<a href="{_e(c.file)}">{_e(label(c.parameters, names))}</a>'
        if c.file
        else _e(label(c.parameters, names))
        for c in bad[:_SHOWN]
    ]
    more = f", and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"<p class=bad>Without an answer, {len(bad)}: {'; '.join(shown)}{more}.</p>"


def _anchor(head: str) -> str:
    return head.lower().replace(" ", "-")


def _figure(picture: Picture, path: Path, names: Collection[str]) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return (
        f'<figure id="figure-{_e(picture.name)}"><img alt="{_e(picture.caption)}" '
        f'src="data:{picture.mime};base64,{data}"><figcaption>'
        f"{with_formulas(picture.caption, names)} "
        f'<a href="{_e(picture.file)}">{_e(picture.file)}</a></figcaption></figure>'
    )


def _variable_table(cases: Sequence[Case]) -> str:
    """What the files hold: name, meaning, unit and dimensions of every variable and coordinate."""
    found: dict[str, xr.Variable] = {}
    for case in cases:
        for name, variable in (case.answer.variables if case.answer is not None else {}).items():
            found.setdefault(str(name), variable)
    if not found:
        return ""
    rows = []
    for name, variable in found.items():
        meaning = str(variable.attrs.get("long_name", name.replace("_", " ")))
        unit = str(variable.attrs.get("units", "1"))
        sizes = ", ".join(f"{d} {n}" for d, n in zip(variable.dims, variable.shape, strict=True))
        cells = (_e(name), with_formulas(meaning), _e(unit), _e(sizes or "one number"))
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{h}</th>" for h in ("variable", "meaning", "unit", "dimensions"))
    return (
        "<p>Units are 1 for pure numbers; dimensions are those of the first case.</p>"
        f"<div class=wide><table class=plain><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _environment(plan: Mapping[str, object]) -> str:
    versions, pools = plan["versions"], plan["thread_pools"]
    rows = list(versions.items()) if isinstance(versions, dict) else []
    rows += [("cores", plan["cores"]), ("workers", plan["workers"])]
    rows += [("threads", pool) for pool in pools] if isinstance(pools, list) else []
    rows.append(("code hash", plan["code_hash"]))
    cells = "".join(f"<tr><th>{_e(name)}</th><td>{_e(value)}</td></tr>" for name, value in rows)
    return f"<div class=wide><table class=plain>{cells}</table></div>"


def _paragraphs(text: str, names: Collection[str]) -> str:
    """A docstring as HTML: blank lines part paragraphs; in indented ones, formulas, lines stay
    lines, and where lines begin with "name : ", each such line is a paragraph of its own.
    """
    found = []
    for block in (block for block in text.split("\n\n") if block.strip()):
        if _ENTRY.match(block):
            entries = re.split(rf"\n(?={_ENTRY.pattern})", block)
            found += [f"<p class=entry>{with_formulas(entry, names)}</p>" for entry in entries]
        elif any(line.startswith("    ") for line in block.splitlines()):
            found.append(f"<p class=formula>{with_formulas(inspect.cleandoc(block), names)}</p>")
        else:
            found.append(f"<p>{with_formulas(block, names)}</p>")
    return "".join(found)


def _e(value: object) -> str:
    return html.escape(value if isinstance(value, str) else json.dumps(value))


_SHOWN = 10
"""How many cases without an answer are listed above the table."""

_ENTRY = re.compile(r"\w[\w ,]* : ")
"""How a line begins that says what a variable is."""

_STYLE = """
:root { color-scheme: light dark; --text: #1b1b1b; --quiet: #5c5c5c;
  --back: #ffffff; --line: #d4d4d4; --soft: #f4f4f4;
  --bad: #a63a00; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root {
  --text: #ececec; --quiet: #a9a9a9; --back: #17181a; --line: #43464a;
  --soft: #232528; --bad: #ff9d66; --link: #8ab8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem 1rem 3rem; max-width: 56rem;
  color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.2rem 0 0.6rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
.quiet { color: var(--quiet); margin: 0; }
.bad { color: var(--bad); }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0.5rem 0; margin: 0.8rem 0;
  list-style: none; border-top: 1px solid var(--line); border-bottom: 1px solid var(--line); }
a { color: var(--link); }
.formula { white-space: pre-line; padding-left: 1.6rem; font-size: 1.05rem; }
.entry { margin: 0.25rem 0; padding-left: 1.6rem; text-indent: -1.6rem; }
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
.plain td { overflow-wrap: anywhere; }
@media print { :root {
  --text: #000; --quiet: #444; --back: #fff; --line: #bbb; --soft: #f4f4f4; --bad: #a63a00;
  --link: #000; }
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
