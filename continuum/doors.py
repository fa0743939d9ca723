"""Functions and classes that users call check the kinds of their arguments by their annotations.

`checked` stands above a function or a class.  What an annotation asks for is read once, at the
first call; a call then costs about a microsecond, and nothing at all inside the door.  Shapes,
ranges and whether arguments belong together are checked inside, with `continuum.checks`.
"""

import functools
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from inspect import Parameter, signature
from numbers import Complex, Integral, Real
from typing import (
    Any,
    Literal,
    NamedTuple,
    TextIO,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np

from .arrays import is_array
from .checks import LARGEST, UnknownName, as_array, check_name, check_real, shown

Door = TypeVar("Door", bound=Callable[..., object])
Take = Callable[[str, Any], object]

_LISTS = (Sequence, list, tuple, Collection, Iterable, set, frozenset)
_DOUBLE = np.dtype(np.float64)
_EXAMPLES = {
    "Activation": "tanh",
    "AdmissibleSet": "Box(bias=(-1, 1))",
    "ControlPath": "network.control(mesh)",
    "Grid": "gauss_legendre(Interval(0, 1), 16)",
    "Kernel": "Dense()",
    "Loss": "SquaredError()",
    "Minimizer": "LBFGS()",
    "Network": "NeuralODE2(2, tanh)",
    "Penalty": "Tikhonov(0.1)",
    "Readout": "State()",
    "RungeKutta": "RK4()",
    "Sampler": "Cube(1.0)",
    "Stepper": "RK4()",
    "Study": "find_study('paper/question')",
    "TimeMesh": "TimeMesh(1.0, 16)",
}
"""Of what is asked for by the name of a base class, one that can be had."""

REMEDIES: dict[tuple[type, str], str] = {
    (np.ndarray, "a Control"): ": space.unflatten(...) makes one of a vector",
    (dict, "a Control"): ": space.sample(**...) makes one of values by name",
}
"""(what is given, what is wanted) -> what else the message says, where the two are often confused.
"""

OPTIONAL: dict[type, set[str]] = {}
"""Members of a protocol that only some of those who take it ask for."""


class _Kind(NamedTuple):
    """What an annotation, or one alternative of it, asks for."""

    words: str
    fits: Callable[[Any], bool]
    take: Take | None = None  # the value to go on with, once it fits; raises, naming the argument


def checked(door: Door) -> Door:
    """The same function, or class, with arguments checked against their annotations.

    Numbers are real, no strings or booleans; integers fit into 64 bits; arrays are real numbers,
    and lists of numbers become arrays; sequences and mappings are checked entry by entry; names are
    among those of their Literal; everything else is an instance of its class, or has what its
    protocol lists.

    raises TypeError for another kind, ValueError for unknown names and numbers too large; the
        message names the argument
    """
    if isinstance(door, type):
        door.__init__ = _guarded(door.__init__)  # type: ignore[misc]
        return door  # type: ignore[return-value]
    return _guarded(door)  # type: ignore[return-value]


class _Arguments(NamedTuple):
    """The checks of a function's arguments: by position, by name, of *rest and of **others; and
    whether there are **others.
    """

    positions: list[tuple[str, Collection[type], Take]]
    names: "dict[str, _Check | None]"
    rest: "tuple[str, _Check | None]"
    others: "_Check | None"
    free: bool

    @classmethod
    def of(cls, function: Callable[..., object]) -> "_Arguments":
        hints, named = _annotations(function), signature(function).parameters.values()
        takes: dict[str, _Check | None] = {}
        for parameter in named:
            hint = hints.get(parameter.name, object)
            kinds = _kinds(hint)
            if kinds and parameter.default is None:
                kinds.append(_PLAIN[type(None)])
            takes[parameter.name] = _take(kinds)
        rest = [(p.name, takes.pop(p.name)) for p in named if p.kind is Parameter.VAR_POSITIONAL]
        others = [takes.pop(p.name) for p in named if p.kind is Parameter.VAR_KEYWORD]
        positions: list[tuple[str, Collection[type], Take]] = []
        for p in named:
            if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
                check = takes[p.name]
                positions.append(
                    (p.name, (), _same) if check is None else (p.name, check.known, check)
                )
        return cls(
            positions,
            takes,
            rest[0] if rest else ("", None),
            others[0] if others else None,
            bool(others),
        )


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    asked: list[_Arguments] = []

    @functools.wraps(function)
    def door(*given: Any, **named: Any) -> Any:
        if not asked:
            asked.append(_Arguments.of(function))
        positions, names, (more, each), others, free = asked[0]
        taken = [
            value if type(value) in known else take(name, value)
            for (name, known, take), value in zip(positions, given, strict=False)
        ]
        for value in given[len(taken) :]:
            taken.append(value if each is None else each(more, value))
        for name, value in named.items():
            if name not in names and not free:
                raise _unknown(function, name, names)
            take = names.get(name, others)
            if take is not None:
                named[name] = take(name, value)
        return function(*taken, **named)

    return door


def _unknown(function: Callable[..., Any], name: str, names: Collection[str]) -> TypeError:
    what = function.__qualname__.removesuffix(".__init__")
    try:
        check_name(f"argument of {what},", name, [one for one in names if one != "self"])
    except UnknownName as error:
        return TypeError(str(error))
    return TypeError(f"{what} is given {name} twice")


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations; without those that name what is imported for type checkers alone."""
    try:
        return get_type_hints(function)
    except (NameError, TypeError):  # also "Plot | None", where Plot is a string
        given = function.__annotations__.items()
        return {name: hint for name, hint in given if not isinstance(hint, str)}


def _take(kinds: list[_Kind]) -> "_Check | None":
    """The check of an annotation with these alternatives, None where it asks for nothing."""
    return _Check(kinds) if kinds else None


class _Check:
    """The check of an argument by alternatives, tried in turn."""

    __slots__ = ("kinds", "known")

    def __init__(self, kinds: list[_Kind]) -> None:
        self.kinds = kinds
        self.known: set[type] = set()  # what fits by its class alone and goes on as it is
        if _PLAIN[float] in kinds:
            self.known.add(float)

    def __call__(self, name: str, value: Any) -> object:
        if type(value) in self.known:
            return value
        entries: TypeError | None = None
        for words, fits, take in self.kinds:
            if not fits(value):
                continue
            if take is None:
                if not isinstance(value, type):
                    self.known.add(type(value))
                return value
            try:
                return take(name, value)
            except UnknownName as error:
                others = [kind.words for kind in self.kinds if kind.words not in (words, "None")]
                also = " or ".join(dict.fromkeys(others))
                raise UnknownName(f"{error} Or {also}." if also else str(error)) from None
            except TypeError as error:  # another alternative may take it
                entries = entries or error
        if entries is not None:
            raise entries
        wanted = list(dict.fromkeys(kind.words for kind in self.kinds))
        listed = ", ".join(wanted[:-1]) + " or " + wanted[-1] if wanted[1:] else wanted[0]
        raise _refusal(name, listed, value)


def _refusal(name: str, words: str, value: object) -> TypeError:
    remedies = [
        text
        for (kind, wanted), text in REMEDIES.items()
        if type(value) is kind and re.search(rf"{wanted}\b", words)
    ]
    return TypeError(f"{name} must be {words}, got {shown(value)}{''.join(remedies)}")


def _kinds(hint: object) -> list[_Kind]:
    """The alternatives of an annotation, none if everything is accepted."""
    if get_origin(hint) in (Union, types.UnionType):
        given = get_args(hint)
        names = [one for other in given if get_origin(other) is Literal for one in get_args(other)]
        each = [
            _kinds(alternative) for alternative in given if get_origin(alternative) is not Literal
        ]
        each += [[_literal(tuple(names))]] if names else []
        if not all(each):
            return []
        found = [kind for kinds in each for kind in kinds]
        return sorted(found, key=lambda kind: {is_array: 0, _arraylike: 2}.get(kind.fits, 1))
    if get_origin(hint) is typing.Annotated:
        return _kinds(get_args(hint)[0])
    if hint is np.ndarray or get_origin(hint) is np.ndarray:
        return [_Kind("an array", is_array, _array), _Kind("an array", _arraylike, as_array)]
    kind = _kind(hint)
    return [] if kind is None else [kind]


def _kind(hint: object) -> _Kind | None:
    origin = get_origin(hint) or hint
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Literal:
        return _literal(get_args(hint))
    if origin is Callable:
        return _called(get_args(hint))
    if origin is type:
        return _class_of(get_args(hint)[0] if get_args(hint) else object)
    if origin in _LISTS:
        return _listed(origin, get_args(hint))
    if not isinstance(origin, type) or origin is object:
        return None
    if issubclass(origin, Mapping) and origin in (Mapping, dict):
        return _mapping(get_args(hint))
    article = "an" if origin.__name__[0] in "AEIOU" else "a"
    example = _EXAMPLES.get(origin.__name__)
    words = f"{article} {origin.__name__}" + (f" such as {example}" if example else "")
    if getattr(origin, "_is_protocol", False):
        return _Kind(words, _has(origin))
    return _Kind(words, lambda value: isinstance(value, origin))


def _called(parts: tuple[Any, ...]) -> _Kind:
    """A function of as many arguments as the annotation lists."""
    if not parts or not isinstance(parts[0], list):
        return _Kind("a function", _function)
    count = len(parts[0])
    words = f"a function of {count} argument" + "s" * (count != 1)

    def take(name: str, value: Any) -> object:
        try:
            signature(value).bind(*range(count))
        except TypeError:
            raise TypeError(f"{name} must be {words}, got {shown(value)}") from None
        except ValueError:  # built in functions do not tell
            pass
        return value

    return _Kind(words, _function, take)


def _function(value: Any) -> bool:
    """True for what can be called; the package's classes are given by mistake."""
    if isinstance(value, type):
        return value.__module__.split(".")[0] not in ("continuum", "solvers", "studies")
    return callable(value)


def _scalar(value: Any) -> bool:
    """True for real numbers, also as arrays without axes."""
    if type(value) is float:
        return True
    if isinstance(value, Real):
        return not isinstance(value, bool)
    return is_array(value) and value.shape == () and _numbers(value)


def _numbers(array: Any) -> bool:
    return not isinstance(array.dtype, np.dtype) or array.dtype.kind in "fiu"


def _real(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    return check_real(name, float(value) if is_array(value) else value)


def _same(_: str, value: Any) -> Any:
    return value


def _whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


def _integer(name: str, value: Any) -> Any:
    if not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} must be less than 2^63 in size, got a larger number")
    return value if type(value) is int else int(value)  # NumPy's are no int to others


def _array(name: str, value: Any) -> object:
    if type(value) is np.ndarray and value.dtype == _DOUBLE:
        return value
    return as_array(name, value)


def _arraylike(value: Any) -> bool:
    if isinstance(value, Sequence):
        return not isinstance(value, str | bytes)
    return _scalar(value) or (hasattr(value, "__array__") and not isinstance(value, type))


def _literal(options: tuple[object, ...]) -> _Kind:
    words = "one of " + ", ".join(map(repr, options))
    accepted = [option for option in options if isinstance(option, str)]
    if len(accepted) == len(options):
        return _Kind(
            words,
            lambda value: isinstance(value, str),
            lambda name, value: check_name(name, value, accepted),
        )

    def take(name: str, value: Any) -> object:
        if value in options:
            return value
        raise ValueError(f"{name} must be {words}, got {shown(value)}")

    return _Kind(words, lambda value: any(type(value) is type(one) for one in options), take)


def _class_of(kind: Any) -> _Kind:
    kind = get_origin(kind) or kind
    if not isinstance(kind, type):
        return _Kind("a class", lambda value: isinstance(value, type))
    return _Kind(
        f"a class of kind {kind.__name__}",
        lambda value: isinstance(value, type) and issubclass(value, kind),
    )


def _has(protocol: Any) -> Callable[[Any], bool]:
    """Whether a value has the members of a protocol; classes are asked once."""
    members = sorted(typing._get_protocol_attrs(protocol) - OPTIONAL.get(protocol, set()))  # type: ignore[attr-defined]
    known: set[type] = set()

    def fits(value: Any) -> bool:
        if type(value) in known:
            return True
        if isinstance(value, type) or not all(hasattr(value, name) for name in members):
            return False
        known.add(type(value))
        return True

    return fits


def _listed(origin: Any, entries: tuple[Any, ...]) -> _Kind:
    """A sequence; its entries are checked.  Arrays of one axis are lists of numbers."""
    fixed = origin is tuple and Ellipsis not in entries and bool(entries)
    takes = [_take(_kinds(entry)) for entry in (entries if fixed else entries[:1])]
    numbers = bool(entries) and all(_of_numbers(e) for e in entries if e is not Ellipsis)
    one = None if fixed or not takes else takes[0]
    strict = origin in (Sequence, list, tuple)

    def fits(value: Any) -> bool:
        if type(value) is list or type(value) is tuple:
            return origin not in (set, frozenset)
        if isinstance(value, str | bytes | type):
            return False
        if is_array(value):
            return numbers and len(value.shape) == 1 and _numbers(value)
        if strict and isinstance(value, Sequence):
            return True
        if numbers and hasattr(value, "__array__"):  # a column of a table
            column = np.asarray(value)
            return column.ndim == 1 and _numbers(column)
        return not strict and isinstance(value, origin)

    def take(name: str, value: Any) -> object:
        if is_array(value):
            value = [value[i].item() for i in range(value.shape[0])]
        elif numbers and hasattr(value, "__array__"):
            value = np.asarray(value).tolist()
        if not isinstance(value, Sequence):
            if one is not None and isinstance(value, Collection):
                for entry in value:
                    one(f"each entry of {name}", entry)
            return value
        if fixed and len(value) != len(takes):
            raise ValueError(f"{name} must have {len(takes)} entries, got {len(value)}")
        if not any(takes) or (one is not None and set(map(type, value)) <= one.known):
            return value
        each = takes if fixed else takes * len(value)
        new = [
            entry if check is None or type(entry) in check.known else check(f"{name}[{i}]", entry)
            for i, (check, entry) in enumerate(zip(each, value, strict=True))
        ]
        if all(a is b for a, b in zip(new, value, strict=True)):
            return value
        return tuple(new) if origin is tuple or isinstance(value, tuple) else new

    what = " of numbers" if numbers else " of names" if str in entries else _of(entries)
    return _Kind(f"a sequence{what}", fits, take)


def _of(entries: tuple[Any, ...]) -> str:
    """ " of Monitors", for a sequence of entries of one class."""
    kind = get_origin(entries[0]) or entries[0] if entries else object
    named = isinstance(kind, type) and kind not in (object, *_LISTS) and len(set(entries)) == 1
    return f" of {'arrays' if kind is np.ndarray else kind.__name__ + 's'}" if named else ""


def _of_numbers(entry: object) -> bool:
    """Whether an annotation is of numbers, or of them among others."""
    union = get_origin(entry) in (Union, types.UnionType)
    return any(one in (float, int) for one in (get_args(entry) if union else (entry,)))


def _mapping(entries: tuple[Any, ...]) -> _Kind:
    keys, values = (_take(_kinds(entry)) for entry in entries or (object, object))

    def take(name: str, value: Any) -> object:
        new = {}
        for key, entry in value.items():
            if keys is not None:
                keys(f"each name in {name}", key)
            new[key] = entry if values is None else values(f"{name}[{key!r}]", entry)
        return value if all(new[key] is value[key] for key in new) else new

    return _Kind(
        "a mapping", lambda value: isinstance(value, Mapping), take if keys or values else None
    )


_PLAIN: dict[object, _Kind] = {
    TextIO: _Kind("a text stream", lambda v: hasattr(v, "write") and not isinstance(v, type)),
    float: _Kind("a real number", _scalar, _real),
    int: _Kind("an integer", _whole, _integer),
    complex: _Kind("a number", lambda v: isinstance(v, Complex) and not isinstance(v, bool)),
    bool: _Kind("True or False", lambda v: isinstance(v, bool | np.bool_)),
    str: _Kind("a string", lambda v: isinstance(v, str)),
    type(None): _Kind("None", lambda v: v is None),
    np.random.Generator: _Kind(
        "a numpy random Generator, such as np.random.default_rng(0)",
        lambda v: isinstance(v, np.random.Generator),
    ),
}
