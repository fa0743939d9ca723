"""Bad input is met at the boundary: every check names the argument, what was given, what is
accepted.
"""

import difflib
import math
from collections.abc import Callable, Collection, Sequence
from numbers import Integral, Real
from typing import TypeVar

import numpy as np

from .arrays import Array, is_array, namespace

Kind = TypeVar("Kind")


class UnknownName(ValueError, KeyError):
    """A name that is not among those accepted; a KeyError too, so that mappings keep their
    promises.
    """

    __str__ = Exception.__str__


def check_name(kind: str, name: str, accepted: Collection[str]) -> str:
    """`name` if it is among the accepted ones, else an UnknownName, a ValueError, that offers the
    nearest.
    """
    if name in accepted:
        return name
    near = difflib.get_close_matches(str(name), list(accepted), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UnknownName(f"unknown {kind} {name!r}.{hint} Accepted: {', '.join(map(repr, accepted))}.")


def check_type(name: str, value: object, kind: type[Kind]) -> Kind:
    """`value` if it is of this class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, got {value!r}")
    return value


def check_listed(name: str, value: object) -> None:
    """Raises TypeError for what is no list, tuple or other sequence."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{name} must be a sequence, got {value!r}")


def check_number(name: str, value: float) -> float:
    """`value` as a float if it is a finite real number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def check_positive(name: str, value: float) -> float:
    """`value` as a float if it is a finite number > 0."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be finite and positive, got {value!r}")
    return float(value)


def check_count(name: str, value: int, least: int = 1) -> int:
    """`value` as an int if it is a whole number >= least."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def check_rng(name: str, rng: np.random.Generator | None) -> np.random.Generator:
    """`rng`, or the Generator of seed 0 if None.  Raises TypeError for a seed or anything else."""
    if rng is None:
        return np.random.default_rng(0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{name} must be a numpy random Generator, such as np.random.default_rng(0), "
            f"got {rng!r}"
        )
    return rng


def store(instance: object, check: Callable[..., object], *names: str) -> None:
    """Checks these fields of a frozen dataclass and stores what the check returned: a plain int or
    float, whatever kind of number was given.
    """
    for name in names:
        object.__setattr__(instance, name, check(name, getattr(instance, name)))


def check_array(name: str, array: Array, shape: Sequence[int | str]) -> Array:
    """`array`, as float64, if its shape fits and its entries are finite.

    shape : its lengths; a letter stands for any length >= 1, the same letter for the same length.
    raises TypeError for complex or non-numeric entries, ValueError for a wrong shape (saying so if
        the transpose would fit) or for entries that are not finite.
    """
    if not is_array(array):
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise ValueError(f"{name} is not an array of numbers: {error}") from None
    xp = namespace(array)
    if isinstance(array.dtype, np.dtype) and not np.can_cast(array.dtype, np.float64, "same_kind"):
        raise TypeError(f"{name} must be real numbers, got dtype {array.dtype}")
    if array.dtype != xp.float64:
        array = xp.astype(array, xp.float64)
    if not _fits(array.shape, shape):
        wanted = "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
        hint = ""
        if len(array.shape) >= 2 and _fits(array.shape[:-2] + array.shape[:-3:-1], shape):
            hint = "; its transpose would fit"
        elif array.shape and _fits((*array.shape, 1), shape):
            hint = f"; for a single sample write {name}[:, None]"
        raise ValueError(f"{name} has shape {tuple(array.shape)}, expected {wanted}{hint}")
    if not bool(xp.all(xp.isfinite(array))):
        raise ValueError(f"{name} has entries that are NaN or infinite")
    return array


def _fits(given: Sequence[int], wanted: Sequence[int | str]) -> bool:
    if len(given) != len(wanted):
        return False
    bound: dict[str, int] = {}
    for length, want in zip(given, wanted, strict=True):
        target = bound.setdefault(want, length) if isinstance(want, str) else want
        if length != target or length < 1:
            return False
    return True
