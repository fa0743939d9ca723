"""The command `continuum`."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from continuum.checks import check_name

from . import catalogue
from .bench.benches import run_benchmarks
from .bench.environment import cores, gpu, thread_pools, versions
from .bench.registry import claims, find_study, portraits, studies
from .bench.report import FigureError, write_report
from .bench.store import check_writable, write_atomically
from .bench.sweep import SweepInterrupted, run_sweep
from .bench.verify import verify as verify_claims
from .bench.verify import write_json
from .datasets import FOLDER_VARIABLE, data_folder
from .draw.figures import save_png

_UsageError = (
    typer.BadParameter.__base__
)  # the base class of all that can be wrong with a command line
_INTERRUPTED = 130


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"it must be an integer, got {text!r}") from None


app = typer.Typer(
    help="A numerical laboratory for neural networks seen as continua.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Write the results to this file too.", metavar="FILE")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or the process's own, and returns its exit code.

    0: all went well; 1: a case or a claim failed; 2: bad input, told in one line; 130: Ctrl-C.
    """
    for module, reason in catalogue.FAILED.items():
        _say(f"{module} could not be loaded: {reason}")
    try:
        code = app(
            None if arguments is None else list(arguments),
            standalone_mode=False,
            prog_name="continuum",
        )
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", _INTERRUPTED)
    except FigureError as error:
        return _refuse(f"{error}; the page without them is {error.page}", 1)
    except _UsageError as error:  # type: ignore[misc]
        return _refuse(error.format_message(), 2)  # type: ignore[attr-defined]
    except (
        ValueError,
        TypeError,
        OSError,
    ) as error:  # bad input; cases and claims keep what they raise as rows
        if os.environ.get("CONTINUUM_TRACEBACK"):
            raise
        return _refuse(str(error), 2)
    return code if isinstance(code, int) else 0


@app.command("list")
def list_studies() -> None:
    """The studies, with paper, figure or table and parameters, and how many claims each paper
    has.
    """
    table = Table("study", "question", "source", "parameters")
    for study in studies():
        defaults = " ".join(f"{name}={value}" for name, value in study.parameters.defaults.items())
        table.add_row(
            study.name, study.title, ", ".join(filter(None, (study.paper, study.figure))), defaults
        )
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(table)
    for paper in sorted({claim.paper for claim in claims(slow=True)} | set(catalogue.PAPERS)):
        ids = [claim.id for claim in claims(slow=True) if claim.paper == paper]
        typer.echo(f"{paper}: {len(ids)} claims {' '.join(ids)}".rstrip())


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="The study, as `continuum list` names it.")],
    values: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parameters: T=4,16 or seed=0:5 (0 to 4); they replace those of the default sweep."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the study's folder is made.")] = Path("results"),
    workers: Annotated[
        int,
        typer.Option(
            help="Processes; each gets cores/workers threads.", parser=_count, metavar="N"
        ),
    ] = 1,
) -> None:
    """Run a study: its default sweep, or the parameters given.  Finished cases are not run
    again.
    """
    study = find_study(name)
    given = study.parameters.parse(values or [])
    command = shlex.join(
        ["continuum", "run", name, *(values or []), "--out", str(out), "--workers", str(workers)]
    )
    grids = study.overlay(given) if given else None
    try:
        result = run_sweep(study, grids, out, workers=workers, command=command)
    except SweepInterrupted as interrupt:
        raise typer.Exit(_refuse(str(interrupt), _INTERRUPTED)) from None
    for row in result.rows:
        if row.outcome == "failed":
            typer.echo(
                f"continuum: a case failed: {row.sentence} (details: {result.folder / 'failed'})",
                err=True,
            )
    typer.echo(result.status)
    typer.echo(f"report: {write_report(result.folder)}")
    raise typer.Exit(result.exit_code)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A folder that `continuum run` made.")],
) -> None:
    """Write the HTML page and the figures of a sweep again, from its files alone."""
    typer.echo(f"report: {write_report(folder)}")


@app.command()
def portrait(
    name: Annotated[str, typer.Argument(help="Which example.")],
    out: Annotated[Path, typer.Option(help="The PNG file.")] = Path("portrait.png"),
) -> None:
    """Draw the phase portrait of a planar network."""
    draw = portraits()[check_name("portrait", name, list(portraits()))]
    check_writable(out.parent)
    figure = draw()
    write_atomically(out, lambda path: save_png(figure, path))
    typer.echo(f"portrait: {out}")


@app.command()
def verify(
    paper: Annotated[str | None, typer.Option(help="Only this paper's claims.")] = None,
    slow: Annotated[bool, typer.Option("--slow", help="The slow ones too.")] = False,
    json: JsonFile = None,
) -> None:
    """Check the papers' claims: reference against computed.

    Exit code 1 if one fails, or if some module of claims or studies could not be loaded.
    """
    chosen = claims(paper, slow)
    if json is not None:
        check_writable(json.parent)
    results = verify_claims(chosen, typer.echo)
    if json is not None:
        write_json(results, json)
    raise typer.Exit(int(bool(catalogue.FAILED) or not all(row.passed for row in results)))


@app.command()
def bench(
    name: Annotated[str | None, typer.Argument(help="Which benchmark; all if left out.")] = None,
    json: JsonFile = None,
) -> None:
    """Run the benchmarks of a source checkout."""
    if json is not None:
        check_writable(json.parent)
    raise typer.Exit(run_benchmarks(name, json))


@app.command()
def info() -> None:
    """Versions, cores, threads, BLAS, GPU, and where data files are looked for."""
    for package, version in versions().items():
        typer.echo(f"{package:<20} {version}")
    typer.echo(f"{'cores':<20} {cores()}")
    for pool in thread_pools():
        typer.echo(f"{'threads':<20} {pool}")
    typer.echo(f"{'gpu':<20} {gpu()}")
    typer.echo(f"{'data folder':<20} {data_folder() or f'{FOLDER_VARIABLE} is not set'}")


def _refuse(sentence: str, code: int) -> int:
    """One line on standard error, and the exit code."""
    _say(sentence)
    return code


def _say(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(f"continuum: {' '.join(sentence.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
