"""Label domains Y: Interval, Circle, Line, and their products."""

from dataclasses import dataclass
from math import inf, isfinite, pi, prod

from .checks import check_positive, store


@dataclass(frozen=True)
class Interval:
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

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*factors(self), *factors(other)))


@dataclass(frozen=True)
class Circle:
    """The circle [0, length) with its ends identified; length 2 pi by default."""

    length: float = 2 * pi

    def __post_init__(self) -> None:
        store(self, check_positive, "length")

    @property
    def measure(self) -> float:
        """The circumference."""
        return self.length

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*factors(self), *factors(other)))


@dataclass(frozen=True)
class Line:
    """The real line."""

    @property
    def measure(self) -> float:
        """Infinite."""
        return inf

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*factors(self), *factors(other)))


@dataclass(frozen=True)
class Product:
    """The product of one-dimensional domains, written Interval(0, 1) * Circle()."""

    parts: tuple[Interval | Circle | Line, ...]

    @property
    def measure(self) -> float:
        """The product of the measures."""
        return prod(part.measure for part in self.parts)

    def __mul__(self, other: "Domain") -> "Product":
        return Product((*factors(self), *factors(other)))


Domain = Interval | Circle | Line | Product


def factors(domain: Domain) -> tuple[Interval | Circle | Line, ...]:
    """The one-dimensional factors of a domain; their number is its dimension."""
    return domain.parts if isinstance(domain, Product) else (domain,)
