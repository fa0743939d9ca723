"""Bad input is met at the boundary: every check names the argument, what was given, what is
accepted.
"""

import difflib
import math
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from typing import TypeVar

import numpy as np

from .arrays import Array, is_array, namespace, to_host

Kind = TypeVar("Kind")

LARGEST = 2**63 - 1
"""The largest integer that arrays hold."""

_FEW, _MANY = 8, 20
"""So many accepted names are listed beside the nearest one, and where none is near."""


class UnknownName(ValueError, KeyError):
    """A name that is not among those accepted; a KeyError too, so that mappings keep their
    promises.
    """

    __str__ = Exception.__str__


def shown(value: object) -> str:
    """What was given, in a line: arrays by shape, classes as classes, everything else cut short."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if is_array(value):
        return f"an array of shape {tuple(value.shape)} and dtype {value.dtype}"  # type: ignore[attr-defined]
    try:
        text = repr(value)
    except Exception:
        return f"an object of the class {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:60]}... ({type(value).__name__})"


def check_name(kind: str, name: str, accepted: Collection[str], listed: str = "") -> str:
    """`name` if it is among the accepted ones, else an UnknownName, a ValueError, that offers the
    nearest, or lists some.  Raises TypeError for what is no string.

    listed : what prints all of them, where they are many
    """
    if not isinstance(name, str):
        raise TypeError(f"{kind} must be a name, got {shown(name)}")
    if name in accepted:
        return name
    near = difflib.get_close_matches(name[:80], list(accepted), n=1, cutoff=0.5)
    names = [repr(one) for one in accepted]
    count, place = len(names), f": {listed} lists them" if listed else ""
    told = f"Accepted: {', '.join(names[:_MANY])}."
    if near:
        rest = told if count <= _FEW else f"There are {count}{place}."
        told = f"Did you mean {near[0]!r}? {rest}"
    elif count > _MANY:
        told = f"{told[:-1]}, and {count - _MANY} more{place}."
    raise UnknownName(f"unknown {kind} {shown(name)}. {told}")


def check_type(name: str, value: object, kind: type[Kind]) -> Kind:
    """`value` if it is of this class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, got {shown(value)}")
    return value


def check_call(name: str, function: Callable[..., Kind], *arguments: object) -> Kind:
    """function(*arguments), of a function that the user gave as `name`; raises TypeError, with what
    went wrong, where it does not take them.
    """
    try:
        return function(*arguments)
    except (AttributeError, TypeError) as error:
        raise TypeError(f"{name} failed on {', '.join(map(shown, arguments))}: {error}") from error


def check_listed(name: str, value: object) -> None:
    """Raises TypeError for what is no list, tuple or other sequence."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{name} must be a sequence, got {shown(value)}")


def check_number(name: str, value: float) -> float:
    """`value` as a float if it is a finite real number."""
    number = check_real(name, value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {shown(value)}")
    return number


def check_real(name: str, value: float) -> float:
    """`value` as a float if it is a real number that a float can hold; infinity and nan are."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be at most 1.8e308 in size, got a larger number") from None


def check_positive(name: str, value: float) -> float:
    """`value` as a float if it is a finite number > 0."""
    number = check_real(name, value)
    if not math.isfinite(number) or number <= 0:
        raise ValueError(f"{name} must be finite and positive, got {shown(value)}")
    return number


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` as an int if it is a whole number >= least."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(value)}")
    if value > LARGEST:
        raise ValueError(f"{name} must be at most 2^63 - 1, got a larger number")
    return int(value)


def check_rng(name: str, rng: np.random.Generator | None) -> np.random.Generator:
    """`rng`, or the Generator of seed 0 if None.  Raises TypeError for a seed or anything else."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{name} must be a numpy random Generator, such as np.random.default_rng(0), "
            f"got {shown(rng)}"
        )
    return rng


def store(instance: object, check: Callable[..., object], *names: str) -> None:
    """Checks these fields of a frozen dataclass and stores what the check returned: a plain int or
    float, whatever kind of number was given.
    """
    for name in names:
        object.__setattr__(instance, name, check(name, getattr(instance, name)))


def as_array(name: str, value: object) -> Array:
    """`value`, an array or what NumPy makes one of, if its entries are real numbers."""
    if not is_array(value):
        try:
            value = np.asarray(value)
        except Exception as error:
            raise ValueError(f"{name} is not an array of numbers: {error}") from None
    dtype = value.dtype  # type: ignore[attr-defined]
    if isinstance(dtype, np.dtype) and dtype.kind not in "fiub":
        if dtype.kind == "O" and value.size:  # type: ignore[attr-defined]
            numbers = [check_real(f"each entry of {name}", x) for x in value.flat]  # type: ignore[attr-defined]
            return np.reshape(numbers, value.shape)  # type: ignore[attr-defined]
        raise TypeError(f"{name} must be real numbers, got dtype {dtype}")
    return value  # type: ignore[return-value]


def check_array(name: str, array: Array, shape: Sequence[int | str]) -> Array:
    """`array`, as float64, if its shape fits and its entries are finite.

    shape : its lengths; a letter stands for any length >= 1, the same letter for the same length.
    raises TypeError for complex or non-numeric entries, ValueError for a wrong shape (saying so if
        the transpose would fit) or for entries that are not finite.
    """
    array = as_array(name, array)
    xp = namespace(array)
    if array.dtype != xp.float64:
        array = xp.astype(array, xp.float64)
    if not _fits(array.shape, shape):
        wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
        hint = ""
        if len(array.shape) >= 2 and _fits(array.shape[:-2] + array.shape[:-3:-1], shape):
            hint = "; its transpose would fit"
        elif len(array.shape) == 1 and _fits((*array.shape, 1), shape):
            hint = f"; for a single sample write {name}[:, None]"
        elif array.shape and _fits((1, *array.shape), shape):
            hint = f"; for a single one write {name}[None]"
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected {wanted}{hint}")
    if not bool(xp.all(xp.isfinite(array))):
        raise ValueError(f"{name} has entries that are NaN or infinite")
    return array


def check_squares(name: str, array: Array) -> None:
    """Raises ValueError for entries beyond 1e150 in size, whose squares overflow."""
    if np.abs(to_host(array)).max() > 1e150:
        raise ValueError(f"{name} must be at most 1e150 in size: squares of more overflow")


def check_indices(name: str, indices: Sequence[int] | Array, count: int) -> Array:
    """NumPy's integers, or booleans, that choose among `count` things.

    raises TypeError for other kinds of numbers, ValueError for a wrong shape or for numbers outside
        -count, ..., count - 1
    """
    chosen = to_host(as_array(name, indices))
    if chosen.size == 0 or chosen.ndim != 1:
        raise ValueError(f"{name} has shape {chosen.shape}, expected (any,), not empty")
    if chosen.dtype.kind not in "iub":
        raise TypeError(f"{name} must be integers, got dtype {chosen.dtype}")
    if chosen.dtype.kind == "b":
        if len(chosen) != count:
            raise ValueError(f"{name} has shape {chosen.shape}, expected ({count},)")
    elif chosen.min() < -count or chosen.max() >= count:
        raise ValueError(f"{name} must be in 0, ..., {count - 1}, got {shown(indices)}")
    return chosen


def _fits(given: Sequence[int], wanted: Sequence[int | str]) -> bool:
    if len(given) != len(wanted):
        return False
    bound: dict[str, int] = {}
    for length, want in zip(given, wanted, strict=True):
        target = bound.setdefault(want, length) if isinstance(want, str) else want
        if length != target or length < 1:
            return False
    return True
