"""Label domains Y: Interval, Circle, Line, Disc, Triangle, and their products."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import dist, inf, isfinite, pi, prod
from typing import ClassVar

import numpy as np

from .arrays import Array
from .checks import check_number, check_positive, store
from .doors import checked


class _Factor:
    """What is no product itself, but can be multiplied by others.

    dimension : the number of coordinates of its points
    """

    dimension: ClassVar[int] = 1

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*_parts(self), *_parts(other)))  # type: ignore[arg-type]


@checked
@dataclass(frozen=True)
class Interval(_Factor):
    """The interval (left, right), left < right both finite; raises ValueError otherwise."""

    left: float = 0.0
    right: float = 1.0

    def __post_init__(self) -> None:
        if not (isfinite(self.left) and isfinite(self.right) and self.left < self.right):
            raise ValueError(f"Interval needs finite left < right, got ({self.left}, {self.right})")

    @property
    def measure(self) -> float:
        """right - left."""
        return self.right - self.left


@checked
@dataclass(frozen=True)
class Circle(_Factor):
    """The circle [0, length) with its ends identified; length 2 pi by default."""

    length: float = 2 * pi

    def __post_init__(self) -> None:
        store(self, check_positive, "length")

    @property
    def measure(self) -> float:
        """The circumference."""
        return self.length


@checked
@dataclass(frozen=True)
class Line(_Factor):
    """The real line."""

    @property
    def measure(self) -> float:
        """Infinite."""
        return inf


@checked
@dataclass(frozen=True)
class Disc(_Factor):
    """The disc |y - centre| < radius in the plane.

    raises ValueError unless centre is two finite numbers and radius > 0 is finite
    """

    dimension: ClassVar[int] = 2
    centre: tuple[float, float] = (0.0, 0.0)
    radius: float = 1.0

    def __post_init__(self) -> None:
        store(self, _point, "centre")
        store(self, check_positive, "radius")

    @property
    def measure(self) -> float:
        """pi radius^2."""
        return pi * self.radius**2


@checked
@dataclass(frozen=True)
class Triangle(_Factor):
    """The triangle with three corners in the plane, in either order.

    raises ValueError for corners that are not two finite numbers each, or that lie on one line:
        twice the area at most 1e-12 of the square of the longest side
    """

    dimension: ClassVar[int] = 2
    first: tuple[float, float] = (0.0, 0.0)
    second: tuple[float, float] = (1.0, 0.0)
    third: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        store(self, _point, "first", "second", "third")
        corners = (self.first, self.second, self.third)
        longest = max(dist(p, q) for p in corners for q in corners)
        if not 2.0 * self.measure > 1e-12 * longest**2:
            raise ValueError(f"Triangle needs corners that are not on one line, got {corners}")

    @property
    def measure(self) -> float:
        """|(second - first) x (third - first)| / 2."""
        (x, y), (a, b), (c, d) = self.first, self.second, self.third
        return abs((a - x) * (d - y) - (b - y) * (c - x)) / 2


@checked
@dataclass(frozen=True)
class Product:
    """The product of the domains above, written Interval(0, 1) * Circle()."""

    parts: tuple[Interval | Circle | Line | Disc | Triangle, ...]

    @property
    def dimension(self) -> int:
        """The number of coordinates of its points."""
        return sum(part.dimension for part in self.parts)

    @property
    def measure(self) -> float:
        """The product of the measures; infinite if one is."""
        return prod(part.measure for part in self.parts)

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*_parts(self), *_parts(other)))


Domain = Interval | Circle | Line | Disc | Triangle | Product


def factors(domain: Domain) -> tuple[Interval | Circle | Line, ...]:
    """The one-dimensional factors of a domain; their number is its dimension.

    raises ValueError for a domain that is no product of such, one with a Disc or a Triangle
    """
    found = []
    for part in _parts(domain):
        if isinstance(part, Disc | Triangle):
            raise ValueError(
                f"{part} is no product of intervals, circles and lines, which is asked for here; "
                "its rule is cubature(domain, degree)"
            )
        found.append(part)
    return tuple(found)


def outside(domain: Domain, points: Array) -> Array:
    """(N,) bool: which points (N, n) lie outside the closed domain by more than rounding."""
    found, first = np.zeros(len(points), dtype=bool), 0
    for part in _parts(domain):
        y = points[:, first : first + part.dimension]
        first += part.dimension
        if isinstance(part, Interval):  # every number is a point of a circle
            largest = max(abs(part.left), abs(part.right))
            slack = 1e-9 * part.measure + 4.0 * float(np.spacing(largest))
            found |= (y[:, 0] < part.left - slack) | (y[:, 0] > part.right + slack)
        elif isinstance(part, Disc):
            slack = 1e-9 * part.radius + 4.0 * float(np.spacing(np.max(np.abs(part.centre))))
            found |= np.hypot(*(y - part.centre).T) > part.radius + slack
        elif isinstance(part, Triangle):
            a, b, c = (np.array(corner) for corner in (part.first, part.second, part.third))
            within = np.linalg.solve(np.stack([b - a, c - a], axis=1), (y - a).T)
            found |= (np.min(within, axis=0) < -1e-9) | (np.sum(within, axis=0) > 1.0 + 1e-9)
    return found


def _parts(domain: Domain) -> tuple[Interval | Circle | Line | Disc | Triangle, ...]:
    return domain.parts if isinstance(domain, Product) else (domain,)


def _point(name: str, value: Sequence[float]) -> tuple[float, float]:
    """`value` as two finite floats."""
    if not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError(f"{name} must be two numbers, got {value!r}")
    return check_number(name, value[0]), check_number(name, value[1])
