"""The command `continuum`.

What a command needs is loaded when it runs (`continuum.lazy`): `continuum --help` loads none of it.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import studies

from . import bench, draw
from .bench.errors import FigureError, SweepStopped
from .bench.files import (
    DAMAGED,
    check_file,
    check_writable,
    damaged_files,
    write_atomically,
)

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

SweepFolder = Annotated[
    Path, typer.Argument(help="A folder that `continuum run` made, such as results/paper-question.")
]

MovedStudy = Annotated[
    str | None,
    typer.Option(
        "--study", help="Where its study is now, if it has moved: my_study.py.", metavar="WHERE"
    ),
]


class _Interrupted(Exception):
    """Ctrl-C, with what there is to say of it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or the process's own, and returns its exit code.

    0: all went well; 1: a case or a claim failed; 2: bad input, told in one line; 130: Ctrl-C.
    """
    try:
        code = app(
            None if arguments is None else list(arguments),
            standalone_mode=False,
            prog_name="continuum",
        )
    except _Interrupted as interrupt:
        return _refuse(str(interrupt), _INTERRUPTED)
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
    finally:
        for module, reason in _failed().items():
            _say(f"{module} could not be loaded: {reason}")
    if code == _INTERRUPTED:  # newer releases of typer make an exit of Ctrl-C
        return _refuse("interrupted", _INTERRUPTED)
    return code if isinstance(code, int) else 0


@app.command("list")
def list_studies(
    where: Annotated[
        str | None,
        typer.Argument(
            help="Only those of a paper, of a file, my_study.py, or of a module, mine.study."
        ),
    ] = None,
) -> None:
    """The studies, with paper, figure or table, and parameters with their bounds, and how many
    claims each paper has.
    """
    studies.catalogue.load()
    if where is None or bench.origins.is_name(where):
        bench.origins.load_entry_points()
        bench.listing.print_listing(studies.catalogue.PAPERS, where)
    else:
        bench.listing.print_studies(bench.origins.studies_of(where))


@app.command()
def run(
    name: Annotated[
        str,
        typer.Argument(
            help="The study, as `continuum list` names it; or your own: my_study.py, or "
            "my_package.my_study, with :question behind it if there are several."
        ),
    ],
    values: Annotated[
        list[str] | None,
        typer.Argument(
            help="Parameters: T=4,16 or seed=0:5 (0 to 4); they replace those of the default sweep."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the study's folder is made.")] = Path("results"),
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes on this machine, or jobs of --cluster; 1 if left out.",
            parser=_count,
            metavar="N",
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="A case that takes longer is stopped, and failed.", metavar="S"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Run the cases on the Dask cluster at this address.", metavar="ADDRESS"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Run them on workers started through this queue: slurm."),
    ] = None,
) -> None:
    """Run a study: its default sweep, or the parameters given.  Finished cases are not run
    again.
    """
    study = studies.find_study(name)
    given = study.parameters.parse(values or [])
    options = ["--out", str(out)]
    options += [] if workers is None else ["--workers", str(workers)]
    options += [] if max_seconds is None else ["--max-seconds", f"{max_seconds:g}"]
    options += [f"--{k}={v}" for k, v in (("scheduler", scheduler), ("cluster", cluster)) if v]
    count = 1 if workers is None else workers
    command = shlex.join(["continuum", "run", name, *(values or []), *options])
    grids = study.overlay(given) if given else None
    sweep = partial(studies.run_sweep, study, grids, out, max_seconds=max_seconds, command=command)
    try:
        if scheduler is None and cluster is None:
            result = sweep(workers=count)
        else:
            if max_seconds is not None:
                raise typer.BadParameter("--max-seconds is for processes on this machine alone")
            if scheduler is not None and workers is not None:
                raise typer.BadParameter(
                    "--workers is for processes on this machine, or jobs of --cluster; the workers "
                    "of a --scheduler are started beside it"
                )
            study.expand(grids)  # what is wrong with the cases or the folder is told before
            check_writable(out)
            with bench.cluster.cluster_executor(study, scheduler, cluster, count, _say) as executor:
                result = sweep(executor=executor)
    except KeyboardInterrupt as interrupt:  # SweepInterrupted, or before the first case
        raise _Interrupted(str(interrupt) or "interrupted") from None
    except SweepStopped as stop:
        raise typer.Exit(_refuse(str(stop), 1)) from None
    parameters = bench.parameters
    names = parameters.varying([row.parameters for row in result.rows])
    for row in result.rows:
        if row.outcome == "failed":
            case = parameters.label(row.parameters, names)
            _say(f"{case} failed: {row.sentence} (details: {result.folder / 'failed'})")
    typer.echo(result.status)
    typer.echo(f"report: {studies.write_report(result.folder)}")
    raise typer.Exit(result.exit_code)


@app.command()
def report(
    folder: SweepFolder,
    study: MovedStudy = None,
) -> None:
    """Write the HTML page, the figures and the table of a sweep again, from its files alone."""
    studies.catalogue.load()
    if study is not None:
        studies.find_study(study)
    before = damaged_files(folder)
    page = studies.write_report(folder)
    if damaged := len(damaged_files(folder)) - len(before):
        files = "1 damaged file was" if damaged == 1 else f"{damaged} damaged files were"
        _say(f"{files} set aside, in {folder / DAMAGED}: run the sweep again")
    typer.echo(f"report: {page}")


@app.command()
def clean(
    folder: SweepFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them.")] = False,
    study: MovedStudy = None,
) -> None:
    """Say which cases of a sweep come from older code, and, with --yes, remove them."""
    studies.catalogue.load()
    if study is not None:
        studies.find_study(study)
    found = bench.collect.older_cases(folder)
    for path, parameters in found.items():
        typer.echo(f"{path.relative_to(folder)}  {parameters}")
        if yes:
            path.unlink(missing_ok=True)
    files = "1 file" if len(found) == 1 else f"{len(found)} files"
    if not found:
        typer.echo("There are no cases of older code.")
    elif yes:
        typer.echo(f"Removed {files} of older code.")
    else:
        typer.echo(f"{files} of older code; nothing was removed: --yes removes them.")


@app.command()
def portrait(
    name: Annotated[str | None, typer.Argument(help="Which example.")] = None,
    out: Annotated[Path, typer.Option(help="The PNG file.")] = Path("portrait.png"),
    listed: Annotated[bool, typer.Option("--list", help="Name the examples.")] = False,
) -> None:
    """Draw the phase portrait of a planar network."""
    studies.catalogue.load()
    if listed:
        bench.listing.print_portraits()
        return
    if name is None:
        raise typer.BadParameter("which portrait? `continuum portrait --list` names them")
    draws = bench.registry.find_portrait(name)
    check_file(out)
    figure = draws()
    write_atomically(out, lambda path: draw.figures.save_png(figure, path))
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
    studies.catalogue.load()
    chosen = bench.registry.claims(paper, slow)
    if json is not None:
        check_file(json)
    results = bench.verify.verify(chosen, typer.echo)
    if json is not None:
        bench.verify.write_json(results, json)
    raise typer.Exit(int(bool(_failed()) or not all(row.passed for row in results)))


@app.command("compile")
def compile_ahead() -> None:
    """Compile the loops that most studies use, and keep them, so that the first run need not."""
    for kind, seconds in bench.loops.compile_loops():
        typer.echo(f"{kind}: {seconds:.1f} s")


@app.command("bench")
def benchmark(
    name: Annotated[str | None, typer.Argument(help="Which benchmark; all if left out.")] = None,
    json: JsonFile = None,
) -> None:
    """Run the benchmarks of a source checkout."""
    if json is not None:
        check_file(json)
    raise typer.Exit(bench.benches.run_benchmarks(name, json))


@app.command()
def info() -> None:
    """Versions, cores, threads, BLAS, GPU, and where data files are looked for."""
    here = bench.environment
    for package, version in here.versions().items():
        typer.echo(f"{package:<20} {version}")
    typer.echo(f"{'cores':<20} {here.cores()}")
    for pool in here.thread_pools():
        typer.echo(f"{'threads':<20} {pool}")
    typer.echo(f"{'gpu':<20} {here.gpu()}")
    data = studies.datasets
    typer.echo(f"{'data folder':<20} {data.data_folder() or f'{data.FOLDER_VARIABLE} is not set'}")


def _failed() -> dict[str, str]:
    """The modules that could not be imported, if any was to be."""
    return bench.registry.FAILED if "studies.bench.registry" in sys.modules else {}


def _refuse(sentence: str, code: int) -> int:
    """One line on standard error, and the exit code."""
    _say(sentence)
    return code


def _say(sentence: str) -> None:
    """One line on standard error."""
    typer.echo(f"continuum: {' '.join(sentence.split())}", err=True)


if __name__ == "__main__":
    sys.exit(main())
