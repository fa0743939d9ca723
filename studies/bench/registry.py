"""Studies, claims and portraits: questions asked of the solvers, registered under a name so that
they can be run, checked and drawn.

A module registers what is in it when it is imported.  What is only expected of a module (`expect`)
has a name like all others, and its module is imported when it is asked for.
"""

import ast
import importlib
import inspect
import math
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, ClassVar, Literal, ParamSpec, TypeAlias, TypeVar

from continuum.checks import check_name
from continuum.doors import checked

from .. import draw
from .parameters import ParameterGrid, Parameters, Value

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")
Kind: TypeAlias = Literal["study", "claim", "portrait"]


@dataclass(frozen=True, eq=False)
class Picture:
    """One figure of a study: `name` is the file's, `caption` says what is seen, in one or two
    sentences.
    """

    name: str
    caption: str
    figure: "Figure"
    mime: ClassVar[str] = "image/png"

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.png"

    def save(self, path: Path) -> None:
        """Writes it."""
        draw.figures.save_png(self.figure, path)


@dataclass(frozen=True, eq=False)
class Animation(Picture):
    """A picture that moves, as a GIF that repeats: `draw(k)` changes `figure` to its frame k.

    frames : how many
    """

    draw: Callable[[int], None]
    frames: int
    mime: ClassVar[str] = "image/gif"

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}.gif"

    def save(self, path: Path) -> None:
        """Writes it."""
        draw.figures.save_gif(self.figure, self.draw, self.frames, path)


Plot: TypeAlias = "Callable[[Sequence[xr.Dataset]], list[Picture]]"
"""The figures of a study, from its finished cases; `store.case_parameters` gives the parameters of
each.
"""


@dataclass(frozen=True, eq=False)
class Study:
    """A question: a function that answers one case with a Dataset, and the cases it is usually
    asked for.

    name : "paper/question", as on the command line
    title : the first paragraph of the function's docstring
    paper, figure : where the question comes from
    plot : draws the answers; None if there is nothing to draw
    parameters : types and defaults, from the signature
    cases : the default sweep, a union of grids
    """

    name: str
    function: "Callable[..., xr.Dataset]"
    title: str
    paper: str
    figure: str
    plot: "Plot | None"
    parameters: Parameters
    cases: tuple[ParameterGrid, ...]

    def expand(self, grids: Sequence[ParameterGrid] | None = None) -> list[dict[str, Value]]:
        """All parameters of every case of `grids`, or of the default sweep; raises ValueError
        (Parameters.expand).
        """
        return self.parameters.expand(self.cases if grids is None else grids)

    def overlay(self, given: ParameterGrid) -> list[ParameterGrid]:
        """The default sweep with the values `given` in place of its own."""
        return [{**grid, **given} for grid in self.cases or ({},)]


@dataclass(frozen=True, eq=False)
class Claim:
    """A statement of a paper as computation: reference values, and a function that computes them.

    id : as in the theory, "LM-01"
    references : case -> the literal value the theory gives
    tolerances : case -> largest accepted error, relative to |reference| if `relative`
    reason : why the tolerance is what it is
    slow : left out unless asked for
    """

    id: str
    function: Callable[[], Mapping[str, float]]
    statement: str
    paper: str
    references: Mapping[str, float]
    tolerances: Mapping[str, float]
    relative: bool
    reason: str
    slow: bool


@dataclass(frozen=True)
class Entry:
    """What `continuum list` and error messages tell of a study, claim or portrait.

    module : that registers it, by its full name
    paper : of a study or a claim
    title, source, parameters : of a study; its paper and figure; name=value of each, with bounds
    """

    kind: Kind
    name: str
    module: str
    paper: str = ""
    title: str = ""
    source: str = ""
    parameters: str = ""


FAILED: dict[str, str] = {}
"""Modules that could not be imported, by their full names, and the exceptions in one line."""

_studies: dict[str, Study] = {}
_claims: dict[str, Claim] = {}
_portraits: "dict[str, Callable[[], Figure]]" = {}
_expected: dict[tuple[Kind, str], Entry] = {}


@checked
def study(
    name: str,
    *,
    paper: str,
    figure: str = "",
    plot: "Plot | None" = None,
    cases: Sequence[ParameterGrid] = (),
) -> "Callable[[Callable[P, xr.Dataset]], Callable[P, xr.Dataset]]":
    """Registers a function, which stays as it is, as a study.

    It takes keyword parameters with type hints and defaults and returns the Dataset of one case; a
    text attribute "status" of that Dataset becomes the status of the case.

    name : "paper/question"
    cases : the default sweep, the union of these grids; the one default case if there is none
    raises ValueError if the name is taken or ill-formed or the cases do not fit the signature,
        TypeError for a parameter without hint or default or a function without docstring
    """

    def register(function: "Callable[P, xr.Dataset]") -> "Callable[P, xr.Dataset]":
        if name in _studies:
            raise ValueError(
                f"a study named {name!r} is registered already, by "
                f"{_where(_studies[name].function)}"
            )
        known = _expected.get(("study", name))
        if known is not None and known.module != function.__module__:
            raise ValueError(f"a study named {name!r} is registered already, by {known.module}")
        if name.count("/") != 1 or not all(part.isidentifier() for part in name.split("/")):
            raise ValueError(
                f"a study is named paper/question, two words of letters, digits and _, got {name!r}"
            )
        title = " ".join(documentation(function).split("\n\n")[0].split())
        if not title:
            raise TypeError(f"study {name!r} needs a docstring: its first paragraph is the title")
        parameters = Parameters.of(name, function)
        parameters.expand(cases)
        _studies[name] = Study(name, function, title, paper, figure, plot, parameters, tuple(cases))
        return function

    return register


@checked
def claim(
    id: str,
    *,
    statement: str,
    paper: str,
    references: Mapping[str, float],
    tolerance: float | Mapping[str, float] | None = None,
    relative_tolerance: float | Mapping[str, float] | None = None,
    reason: str,
    slow: bool = False,
) -> Callable[[Callable[[], Mapping[str, float]]], Callable[[], Mapping[str, float]]]:
    """Registers a function without arguments that computes, for every key of `references`, a
    number.

    tolerance, relative_tolerance : exactly one of them; a number, or one for each key
    reason : why the tolerance is what it is
    raises ValueError if the id is taken, a reference or tolerance is missing or not finite, or the
    reason empty
    """

    def register(function: Callable[[], Mapping[str, float]]) -> Callable[[], Mapping[str, float]]:
        if id in _claims:
            raise ValueError(
                f"a claim {id!r} is registered already, by {_where(_claims[id].function)}"
            )
        if not reason.strip() or not statement.strip():
            raise ValueError(f"claim {id!r} needs a statement and a reason for its tolerance")
        if not references or not all(math.isfinite(value) for value in references.values()):
            raise ValueError(
                f"references of claim {id!r} must be finite numbers, got {dict(references)!r}"
            )
        given = relative_tolerance if tolerance is None else tolerance
        if given is None or (tolerance is not None and relative_tolerance is not None):
            raise ValueError(f"claim {id!r} needs either tolerance or relative_tolerance")
        tolerances = dict(given) if isinstance(given, Mapping) else dict.fromkeys(references, given)
        if tolerances.keys() != references.keys():
            raise ValueError(
                f"claim {id!r} has references {list(references)} but tolerances {list(tolerances)}"
            )
        if not all(math.isfinite(value) and value >= 0 for value in tolerances.values()):
            raise ValueError(
                f"claim {id!r} needs tolerances that are finite and >= 0, got {tolerances}"
            )
        if tolerance is None and not all(references.values()):
            raise ValueError(
                f"claim {id!r} has a reference 0, to which no error is relative: use tolerance"
            )
        _claims[id] = Claim(
            id,
            function,
            statement,
            paper,
            MappingProxyType(dict(references)),
            MappingProxyType(tolerances),
            tolerance is None,
            reason,
            slow,
        )
        return function

    return register


def portrait(function: "Callable[[], Figure]") -> "Callable[[], Figure]":
    """Registers a function that draws a figure, as the portrait of its name.

    raises ValueError if the name is taken
    """
    name = function.__name__
    if name in _portraits:
        raise ValueError(
            f"a portrait {name!r} is registered already, by {_where(_portraits[name])}"
        )
    _portraits[name] = function
    return function


def describe(error: BaseException) -> str:
    """One line for an exception: its type and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def expect(entries: Iterable[Entry]) -> None:
    """Makes names known whose modules will be imported when they are asked for."""
    _expected.update({(entry.kind, entry.name): entry for entry in entries})


def imported(module: str) -> ModuleType | None:
    """The module of that name; None, with a note in FAILED, if it raises."""
    try:
        return importlib.import_module(module)
    # a study may do anything at its import: one that breaks must not hide the others
    except Exception as error:
        FAILED[module] = describe(error)
        return None


def entries(kind: Kind) -> list[Entry]:
    """All studies, claims or portraits, registered or expected, by name; imports none."""
    if kind == "study":
        known = [_study_entry(one) for one in _studies.values()]
    elif kind == "claim":
        known = [Entry(kind, c.id, c.function.__module__, c.paper) for c in _claims.values()]
    else:
        known = [Entry(kind, name, draws.__module__) for name, draws in _portraits.items()]
    names = {entry.name for entry in known}
    others = [e for e in _expected.values() if e.kind == kind and e.name not in names]
    return sorted([*known, *others], key=lambda entry: entry.name)


@checked
def find_study(name: str) -> Study:
    """The study of that name; raises ValueError, offering the nearest, if there is none."""
    return _found("study", _studies, name)


def registered() -> list[Study]:
    """The studies whose modules are imported, in the order in which they were registered."""
    return list(_studies.values())


def forget(names: Iterable[str]) -> None:
    """Studies of these names, as of a file that broke half-way, are registered no more."""
    for name in names:
        _studies.pop(name, None)


def studies() -> list[Study]:
    """All studies, by name."""
    _import_expected("study", {entry.name for entry in entries("study")})
    return [_studies[name] for name in sorted(_studies)]


def claims(paper: str | None = None, slow: bool = False) -> list[Claim]:
    """The claims of one paper, or of all, by id; slow ones only if `slow`.

    raises ValueError, offering the nearest, for a paper without claims
    """
    known = entries("claim")
    if paper is not None:
        check_name("paper", paper, sorted({entry.paper for entry in known}))
    _import_expected("claim", {entry.name for entry in known if paper in (None, entry.paper)})
    chosen = (c for c in _claims.values() if paper in (None, c.paper) and (slow or not c.slow))
    return sorted(chosen, key=lambda c: c.id)


def find_portrait(name: str) -> "Callable[[], Figure]":
    """What draws the portrait of that name; raises ValueError, offering the nearest, if there is
    none.
    """
    return _found("portrait", _portraits, name)


def portraits() -> "Mapping[str, Callable[[], Figure]]":
    """All portraits, by name."""
    _import_expected("portrait", {entry.name for entry in entries("portrait")})
    return MappingProxyType(_portraits)


def _found(kind: Kind, registered: Mapping[str, T], name: str) -> T:
    listed = "`continuum portrait --list`" if kind == "portrait" else "`continuum list`"
    check_name(kind, name, [entry.name for entry in entries(kind)], listed)
    module = _expected[kind, name].module if name not in registered else ""
    _import_expected(kind, {name})
    if name not in registered:
        raise ValueError(f"{kind} {name!r} could not be loaded: see {module}")
    return registered[name]


def _import_expected(kind: Kind, names: Collection[str]) -> None:
    """Imports the modules of these names, as far as they have not been."""
    for name in sorted(names):
        entry = _expected.pop((kind, name), None)
        if entry is not None:
            imported(entry.module)


def _study_entry(study: Study) -> Entry:
    source = ", ".join(filter(None, (study.paper, study.figure)))
    module, parameters = study.function.__module__, study.parameters.describe()
    return Entry("study", study.name, module, study.paper, study.title, source, parameters)


def documentation(function: Callable[..., object]) -> str:
    """The docstring; read from the source where `python -OO` has left it out, "" if there is none.

    raises TypeError where it was left out and there is no source
    """
    found = inspect.getdoc(function)
    if found is not None or sys.flags.optimize < 2:
        return found or ""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except OSError as error:
        raise TypeError(f"{_where(function)} was read without docstring and source") from error
    (definition,) = tree.body
    return ast.get_docstring(definition) or ""  # type: ignore[arg-type]


def _where(function: Callable[..., object]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
