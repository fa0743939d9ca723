"""The table of studies, how many claims each paper has, and the portraits."""

import sys
from collections.abc import Collection, Iterable

from rich.console import Console
from rich.table import Table

from .registry import documentation, entries, portraits


def print_studies(names: Collection[str] | None = None) -> None:
    """Prints a row for each study, or for each of those named."""
    table = Table("study", "question", "source", "parameters (bounds)")
    for entry in entries("study"):
        if names is None or entry.name in names:
            table.add_row(entry.name, entry.title, entry.source, entry.parameters)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)


def print_listing(papers: Iterable[str]) -> None:
    """Prints a row for each study, and a line for each paper: those with claims, and `papers`."""
    print_studies()
    claims = entries("claim")
    for paper in sorted({claim.paper for claim in claims} | set(papers)):
        ids = [claim.name for claim in claims if claim.paper == paper]
        print(f"{paper}: {len(ids)} claims {' '.join(ids)}".rstrip())


def print_portraits() -> None:
    """Prints a line for each portrait: its name and what it shows."""
    for name, draws in sorted(portraits().items()):
        title = " ".join(documentation(draws).partition("\n\n")[0].split())
        print(f"{name:<24} {title}")
