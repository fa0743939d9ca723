"""Dataclasses in a line of text and as plain data: `__repr__` and `to_dict` of results, controls
and problems.
"""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import partial
from numbers import Integral, Real
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from .arrays import is_array, to_host

Plain: TypeAlias = "dict[str, Plain] | list[Plain] | str | int | float | bool | None"
"""What JSON has."""

_LONGEST = 500
"""Characters of a line with nested records written out; beyond, they are names."""

_SHORTEST = 60
"""Characters of a text or of a nested object that is no record."""


def short(self: object) -> str:
    """Name(field=value, ...) of a dataclass or named tuple: arrays by their shapes, numbers to six
    digits, statuses by their names.  Fields that are empty, None or NaN are left out, and so are
    those with repr=False.

    Used as `__repr__ = short` in the body of a class.
    """
    text = ""
    for depth in (2, 1, 0):
        text = _record(self, depth)
        if len(text) <= _LONGEST:
            break
    return text


def _record(record: object, depth: int) -> str:
    values = {name: getattr(record, name, None) for name in field_names(record, shown=True)}
    parts = [f"{n}={_told(value, depth)}" for n, value in values.items() if not _is_nothing(value)]
    return f"{type(record).__name__}({', '.join(parts)})"


def field_names(record: object, shown: bool = False) -> tuple[str, ...]:
    """The names of the fields of a dataclass or named tuple; of anything else none.

    Left out are those that begin with _ and, if only those `shown` are wanted, with repr=False.
    """
    if is_dataclass(record):
        found = tuple(f.name for f in fields(record) if f.repr or not shown)
    else:
        found = tuple(getattr(record, "_fields", ()))
    return tuple(name for name in found if not name.startswith("_"))


def _is_nothing(value: object) -> bool:
    if is_array(value):
        return False
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str | tuple | list | dict) and not value)


def _told(value: object, depth: int) -> str:
    """A value in a few words; `depth` records inside each other are written out."""
    if is_array(value):
        return _array(value)
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return f"{float(value):.6g}"
    if isinstance(value, str):
        return _cut(repr(value))
    if type(value).__repr__ is short:
        return _record(value, depth - 1) if depth else type(value).__name__
    if isinstance(value, tuple | list):
        return _sequence(value, depth)
    if isinstance(value, dict | MappingProxyType):
        return _mapping(value, depth)
    if isinstance(value, partial):
        return _told(value.func, depth)
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return _cut(repr(value)) if depth else type(value).__name__


def _array(value: object) -> str:
    """The shape, or the numbers if they are at most three in a row."""
    shape = tuple(value.shape)  # type: ignore[attr-defined]
    if len(shape) <= 1 and math.prod(shape) <= 3:
        return str(np.array2string(to_host(value), precision=6, separator=", "))  # type: ignore[arg-type]
    return f"array{shape}"


def _sequence(value: tuple | list, depth: int) -> str:
    """The entries if they are at most four and short, else how many of which kind."""
    if len(value) <= 4:
        text = ", ".join(_told(entry, depth) for entry in value)
        if len(text) <= 2 * _SHORTEST:
            return f"({text},)" if len(value) == 1 else f"({text})"
    kinds = {type(entry).__name__ for entry in value}
    return f"({len(value)} x {kinds.pop() if len(kinds) == 1 else 'entries'})"


def _mapping(value: Mapping[object, object], depth: int) -> str:
    """Names and values if they are short, else the names, else how many."""
    text = ", ".join(f"{name}: {_told(entry, depth)}" for name, entry in value.items())
    if len(text) > 4 * _SHORTEST:
        text = ", ".join(map(str, value))
    return f"{{{text}}}" if len(text) <= 4 * _SHORTEST else f"({len(value)} entries)"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 2 * _SHORTEST else f"{text[: 2 * _SHORTEST - 4]} ..."


def plain(self: object) -> dict[str, Plain]:
    """The fields of a dataclass as what JSON has: json.dumps(..., allow_nan=False) takes it.

    Arrays become nested lists, records, controls and mappings dictionaries, statuses their names;
    NaN, which stands for what was not computed, becomes None, an infinite number "inf" or "-inf".
    Functions, and fields whose names begin with _, are left out.

    Used as `to_dict = plain` in the body of a class.
    """
    values = {name: getattr(self, name) for name in field_names(self)}
    return {name: _plain(value) for name, value in values.items() if not _is_function(value)}


def _is_function(value: object) -> bool:
    return callable(value) and not is_dataclass(value) and not is_array(value)


def _plain(value: object) -> Plain:
    if is_array(value):
        return _plain(to_host(value).tolist())  # type: ignore[arg-type]
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return _number(float(value))
    if isinstance(value, complex):
        return [_number(value.real), _number(value.imag)]
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if field_names(value):
        return plain(value)
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return repr(value)


def _number(x: float) -> float | str | None:
    if math.isfinite(x):
        return x
    return None if math.isnan(x) else "inf" if x > 0.0 else "-inf"
