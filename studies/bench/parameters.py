"""Parameters of a study: read from a function's signature, checked, parsed, and spread into
cases.
"""

import inspect
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MultipleOf
from pydantic import ConfigDict, TypeAdapter, ValidationError

from continuum.checks import check_name

Value: TypeAlias = bool | int | float | str
"""What a parameter can be."""

ParameterGrid: TypeAlias = Mapping[str, Value | Sequence[Value]]
"""A rectangle of cases: values, or one value, for each parameter named; the others keep their
defaults.
"""

Seed: TypeAlias = Annotated[int, Ge(0), Lt(2**32)]
Count: TypeAlias = Annotated[int, Ge(1), Le(10_000_000)]
"""How many: layers, samples, iterations."""
Several: TypeAlias = Annotated[int, Ge(2), Le(10_000_000)]
Doublings: TypeAlias = Annotated[int, Ge(1), Le(24)]
"""How often a number is doubled."""
Horizon: TypeAlias = Annotated[float, Gt(0), Le(10_000)]
Positive: TypeAlias = Annotated[float, Gt(0), Le(1e6)]
NonNegative: TypeAlias = Annotated[float, Ge(0), Le(1e6)]
Exponent: TypeAlias = Annotated[float, Gt(0), Le(1)]
Fraction: TypeAlias = Annotated[float, Ge(0), Lt(1)]

MOST_CASES = 100_000
_KINDS = {bool: "true or false", int: "an integer", float: "a finite number", str: "a text"}
_RANGE = re.compile(r"([+-]?\d+):([+-]?\d+)(?::([+-]?\d+))?")
_SIGNS = ((Gt, "gt", ">"), (Ge, "ge", ">="), (Lt, "lt", "<"), (Le, "le", "<="))
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True, eq=False)
class Parameters:
    """The parameters of one study, with their types and defaults.

    owner : the study's name, for messages
    hints : name -> bool, int, float, str, a Literal of these, or one of them with bounds:
        Annotated[float, Gt(0), Le(100)], from the package annotated_types
    defaults : name -> value
    """

    owner: str
    hints: Mapping[str, object]
    defaults: Mapping[str, Value]

    @classmethod
    def of(cls, owner: str, function: Callable[..., object]) -> "Parameters":
        """The parameters of `function`.

        raises TypeError for a parameter that cannot be given by keyword, has no type hint or no
            default, or whose type is not one of those accepted; ValueError for a default that its
            own type refuses
        """
        hints = get_type_hints(function, include_extras=True)
        kept: dict[str, object] = {}
        defaults: dict[str, object] = {}
        for name, parameter in inspect.signature(function).parameters.items():
            what = f"parameter {name!r} of study {owner!r}"
            if parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(
                    f"{what} must be a keyword parameter, not *{name} or positional only"
                )
            if name not in hints or parameter.default is parameter.empty:
                raise TypeError(f"{what} must have a type hint and a default")
            if not _choices(hints[name]) and _base(hints[name]) not in _KINDS:
                raise TypeError(
                    f"{what} must be bool, int, float, str or a Literal of these, got "
                    f"{hints[name]!r}"
                )
            for one in _stated(hints[name]):
                if isinstance(one, str | int | float):
                    raise TypeError(
                        f"{what} must have bounds of annotated_types, such as Gt(0), got {one!r}"
                    )
            kept[name], defaults[name] = hints[name], parameter.default
        self = cls(owner, MappingProxyType(kept), MappingProxyType({}))
        checked = {name: self.check(name, value) for name, value in defaults.items()}
        return cls(owner, self.hints, MappingProxyType(checked))

    def check(self, name: str, value: object) -> Value:
        """`value` as the parameter's type wants it (an int becomes a float where a float is
        wanted).

        raises ValueError that names the parameter, what was given and what is accepted
        """
        check_name("parameter", name, list(self.hints))
        if isinstance(value, np.generic):
            value = value.item()
        try:
            return self._adapter(name).validate_python(value)
        except ValidationError as error:
            raise self._refusal(name, value, error.errors()[0]["msg"]) from None

    def bounds(self, name: str) -> list[str]:
        """What the values of a parameter are held to, as its type states it: ["> 0", "<= 100"]."""
        found = []
        for one in (part for item in _stated(self.hints[name]) for part in _parts(item)):
            found += [
                f"{sign} {spell(getattr(one, field))}"
                for kind, field, sign in _SIGNS
                if isinstance(one, kind)
            ]
            if isinstance(one, MultipleOf):
                found.append(f"divisible by {one.multiple_of}")
        return found

    def describe(self) -> str:
        """Every parameter with its default and its bounds: "horizon=5.0 (> 0, <= 100) seed=0"."""
        words = []
        for name, default in self.defaults.items():
            bounds = ", ".join(self.bounds(name))
            words.append(f"{name}={spell(default)}" + (f" ({bounds})" if bounds else ""))
        return " ".join(words)

    def fill(self, values: Mapping[str, object]) -> dict[str, Value]:
        """All parameters of one case, sorted by name: `values`, checked, and defaults for the
        rest.
        """
        given = {name: self.check(name, value) for name, value in values.items()}
        return {name: given.get(name, self.defaults[name]) for name in sorted(self.hints)}

    def expand(self, grids: Sequence[ParameterGrid]) -> list[dict[str, Value]]:
        """The cases of the union of `grids`, in order, without duplicates; no grid is the one
        default case.

        raises ValueError for unknown names, values of the wrong type, an empty list of values, or
            more than 100,000 cases
        """
        cases: dict[tuple[tuple[str, Value], ...], dict[str, Value]] = {}
        for grid in grids or [{}]:
            if not isinstance(grid, Mapping):
                raise TypeError(
                    f"each grid of {self.owner!r} must map parameters to values, got {grid!r}"
                )
            axes: dict[str, list[Value]] = {}
            for name, given in grid.items():
                axes[name] = [self.check(name, value) for value in listed(given)]
                if not axes[name]:
                    raise ValueError(
                        f"parameter {name!r} of study {self.owner!r} was given no values"
                    )
            if math.prod(map(len, axes.values())) > MOST_CASES:
                raise ValueError(
                    f"the grid of {self.owner!r} has more than {MOST_CASES} cases; sweep it in "
                    f"parts"
                )
            for combination in itertools.product(*axes.values()):
                case = self.fill(dict(zip(axes, combination, strict=True)))
                cases.setdefault(tuple(case.items()), case)
        return list(cases.values())

    def parse(self, assignments: Sequence[str]) -> dict[str, list[Value]]:
        """A grid from the command line: ["T=4,16,36,81", "seed=0:5"].

        Values are separated by commas; a:b and a:b:step are integers as in Python's range, b
        excluded.
        raises ValueError naming the parameter, what was given and what is accepted
        """
        grid: dict[str, list[Value]] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals or not name or not text:
                raise ValueError(
                    f"parameters are given as name=value or name=value,value, got {assignment!r}"
                )
            check_name("parameter", name, list(self.hints))
            if name in grid:
                raise ValueError(f"parameter {name!r} is given twice; write {name}=value,value")
            grid[name] = [
                value for piece in text.split(",") for value in self._parse_piece(name, piece)
            ]
        return grid

    def _parse_piece(self, name: str, text: str) -> list[Value]:
        hint = self.hints[name]
        for choice in _choices(hint):
            if text == str(choice):
                return [choice]
        if (match := _RANGE.fullmatch(text)) and _base(hint) in (int, float):
            start, stop, step = (int(piece) if piece else 1 for piece in match.groups())
            values = range(start, stop, step) if step else range(0)
            if not 0 < len(values) <= MOST_CASES:
                raise ValueError(
                    f"{name}={text} is a range of {len(values)} values; accepted: 1 to {MOST_CASES}"
                )
            return [self.check(name, value) for value in values]
        if _base(hint) is int and not re.fullmatch(r"[+-]?\d+", text):
            raise self._refusal(name, text, "Input should be a valid integer")
        try:
            return [self._adapter(name).validate_strings(text, strict=False)]
        except ValidationError as error:
            raise self._refusal(name, text, error.errors()[0]["msg"]) from None

    def _adapter(self, name: str) -> TypeAdapter[Value]:
        return TypeAdapter(self.hints[name], config=_STRICT)  # type: ignore[arg-type]

    def _refusal(self, name: str, value: object, reason: str) -> ValueError:
        hint = self.hints[name]
        accepted = " or ".join(map(repr, _choices(hint))) or _KINDS[_base(hint)]
        bounds = self.bounds(name)
        detail = f" {' and '.join(bounds)}" if bounds else ""
        if not reason.startswith("Input should be"):  # a condition of the study's own
            detail += f" ({reason})"
        return ValueError(
            f"parameter {name!r} of study {self.owner!r} must be {accepted}{detail}, got {value!r}"
        )


def listed(given: Value | Sequence[Value]) -> list[Value]:
    """The values of a grid for one parameter, of which one alone may stand without a list."""
    return [given] if isinstance(given, Value | np.generic) else list(given)


def varying(cases: Sequence[Mapping[str, Value]]) -> list[str]:
    """The names of the parameters that differ between cases."""
    return (
        [name for name in cases[0] if any(case[name] != cases[0][name] for case in cases)]
        if cases
        else []
    )


def label(case: Mapping[str, Value], names: Sequence[str]) -> str:
    """One line for a case, "depth=32 width=16": the parameters named, all of them if none is."""
    return " ".join(f"{name}={spell(case[name])}" for name in names or case)


def spell(value: Value) -> str:
    """A value as the command line takes it: 4.0 as 4.0, True as true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _stated(hint: object) -> tuple[object, ...]:
    """What stands beside the type in Annotated."""
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _parts(item: object) -> Sequence[object]:
    """The single bounds in what stands in an Annotated type, as pydantic reads it."""
    if isinstance(item, GroupedMetadata):
        return list(item)
    return getattr(item, "metadata", None) or [item]


def _base(hint: object) -> type:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint  # type: ignore[return-value]


def _choices(hint: object) -> tuple[Value, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()
