"""The table of studies, how many claims each paper has, and the portraits."""

import sys
from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table

from continuum.checks import check_name

from .registry import documentation, entries, portraits


def print_studies(names: Collection[str]) -> None:
    """Prints a row for each study named."""
    table = Table("study", "question", "source", "parameters (bounds)")
    for entry in entries("study"):
        if entry.name in names:
            table.add_row(entry.name, entry.title, entry.source, entry.parameters)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def print_listing(papers: Iterable[str], only: str | None = None) -> None:
    """Prints a row for each study, and a line for each paper: those with claims, and `papers`.

    only : a paper, or a study, "paper/question"; raises ValueError, offering the nearest, if there
        is no such one
    """
    claims, names = entries("claim"), [entry.name for entry in entries("study")]
    shown = sorted({claim.paper for claim in claims} | set(papers))
    if only is not None:
        known = dict.fromkeys([*shown, *(name.partition("/")[0] for name in names), *names])
        check_name("paper or study", only, list(known))
        names = [name for name in names if only in (name, name.partition("/")[0])]
        shown = [paper for paper in shown if paper == only]
    print_studies(names)
    for paper in shown:
        ids = [claim.name for claim in claims if claim.paper == paper]
        print(f"{paper}: {len(ids)} claims {' '.join(ids)}".rstrip())


def print_portraits() -> None:
    """Prints a line for each portrait: its name and what it shows."""
    for name, draws in sorted(portraits().items()):
        title = " ".join(documentation(draws).partition("\n\n")[0].split())
        print(f"{name:<24} {title}")
