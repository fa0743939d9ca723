"""Admissible sets for controls: boxes, finite sets, and balls of several norms."""

from collections.abc import Collection, Mapping, Sequence
from numbers import Real

import numpy as np

from .admissible import AdmissibleSet, Blocks
from .arrays import Array, is_array, like, namespace, to_host
from .blocks import Block, joint_norm, scaled
from .checks import check_positive, check_type, shown
from .controls import Control, ControlSpace
from .doors import checked
from .pair_sets import PairSet, last_measure, nearest_value


class Box(AdmissibleSet):
    """lower <= x <= upper for every entry of the blocks named: Box(bias=(-1, 1), kernel=(-1, 1)).

    A mapping takes names with dots: Box({"w.weight1": (0, inf)}, bias=(-1, 1)).  The blocks must be
    piecewise constant or static, where the nearest point is found entry by entry.
    raises ValueError unless lower <= upper for each (else the set is empty), or for names that are
    given twice or are not trained blocks
    """

    by_entries = True

    def __init__(
        self,
        bounds: Mapping[str, tuple[float, float]] | None = None,
        /,
        **named: tuple[float, float],
    ) -> None:
        given = {} if bounds is None else check_type("bounds", bounds, Mapping)
        twice = sorted(set(given) & set(named))
        if twice:
            raise ValueError(f"bounds of {', '.join(twice)} are given twice")
        pairs = {**given, **named}
        for name, pair in pairs.items():
            pair = pair.tolist() if is_array(pair) else pair
            numbers = (
                isinstance(pair, tuple | list)
                and len(pair) == 2
                and all(isinstance(p, Real) for p in pair)
            )
            if not numbers or not pair[0] <= pair[1] or pair[0] == np.inf or pair[1] == -np.inf:
                raise ValueError(
                    f"bounds of {name} must be a pair (lower, upper) with lower <= upper, got "
                    f"{pair!r}"
                )
        self.bounds: Mapping[str, tuple[float, float]] = {
            name: (float(low), float(high)) for name, (low, high) in pairs.items()
        }

    def __repr__(self) -> str:
        """As it is written in code, with `inf` for numpy.inf."""
        pairs = {n: f"({_short(low)}, {_short(high)})" for n, (low, high) in self.bounds.items()}
        mapped = ", ".join(f"{n!r}: {pair}" for n, pair in pairs.items() if not n.isidentifier())
        given = [f"{{{mapped}}}"] if mapped else []
        given += [f"{n}={pair}" for n, pair in pairs.items() if n.isidentifier()]
        return f"Box({', '.join(given)})"

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return tuple(self.bounds)

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: namespace(x[n]).clip(x[n], *self.bounds[n]) for n in self.bounds}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {n: _extreme(gradient[n], *self.bounds[n], tie[n]) for n in self.bounds}

    def only(self, names: Collection[str], space: ControlSpace) -> AdmissibleSet | None:
        """See AdmissibleSet."""
        return _only(self, self.bounds, names)

    @property
    def bounded(self) -> bool:
        return all(np.isfinite(pair).all() for pair in self.bounds.values())

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        return max(
            (
                max(low - _lowest(x[n]), _highest(x[n]) - high)
                for n, (low, high) in self.bounds.items()
            ),
            default=0.0,
        )

    def interval(self, name: str, space: ControlSpace) -> tuple[float, float] | None:
        """See AdmissibleSet."""
        return self.bounds.get(name, super().interval(name, space))

    def free_entries(self, control: Control, margin: float) -> dict[str, Array]:
        """Those further than margin (high - low) from both bounds, margin where one is infinite."""
        self._space(control)
        masks = {}
        for name, x in control.items():
            low, high = self.bounds.get(name, (-np.inf, np.inf))
            near = margin * (high - low if np.isfinite(high - low) else 1.0)
            masks[name] = to_host((x > low + near) & (x < high - near))
        return masks


class FiniteSet(AdmissibleSet):
    """Every entry of the blocks named is one of a few values: FiniteSet(kernel=(-1, 0, 1)), ternary
    weights.

    Not convex: the nearest point is the nearest value entry by entry, the smaller of two that are
    equally near. Values are chosen for each block on its own: pairs (a, b) that only go together
    are no FiniteSet but Pairs.
    raises ValueError for no values (the set would be empty), values that are not finite, or unknown
    names
    """

    convex = False
    by_entries = True

    def __init__(self, **values: Sequence[float]) -> None:
        self.values: dict[str, Array] = {}
        for name, given in values.items():
            flat = not (isinstance(given, np.ndarray) and given.ndim != 1)
            listed = isinstance(given, Collection) and not isinstance(given, bytes | Mapping)
            numbers = (flat and listed) and all(
                isinstance(v, Real) and not isinstance(v, bool) and abs(v) < np.inf for v in given
            )
            if not numbers or len(given) == 0:
                raise ValueError(
                    f"values of {name} must be a few finite numbers, got {shown(given)}"
                )
            self.values[name] = np.unique(np.asarray(list(given), dtype=np.float64))

    def __repr__(self) -> str:
        inner = (
            f"{name}=({', '.join(f'{v:g}' for v in values)})"
            for name, values in self.values.items()
        )
        return f"FiniteSet({', '.join(inner)})"

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return tuple(self.values)

    def only(self, names: Collection[str], space: ControlSpace) -> AdmissibleSet | None:
        """See AdmissibleSet."""
        return _only(self, self.values, names)

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {name: nearest_value(x[name], values) for name, values in self.values.items()}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {
            n: _extreme(gradient[n], float(v[0]), float(v[-1]), tie[n])
            for n, v in self.values.items()
        }

    def switching(self, gradient: Blocks, space: ControlSpace) -> dict[str, Array]:
        """See AdmissibleSet."""
        return {name: gradient[name] for name in self.values}

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        near = self.nearest(x, space)
        return max((_highest(namespace(y).abs(y - x[n])) for n, y in near.items()), default=0.0)


@checked
class Ball(PairSet):
    """a(y)^2 + b(y, z)^2 <= radius^2 for all y, z: the disc for the pair (bias, kernel), point by
    point.

    One bias goes with a whole row of the kernel.  radius > 0; bias, kernel: the names of the two
    blocks, of shapes (N,) and (N, P).  raises ValueError for a radius that is not positive or
    blocks of other shapes Source: Liu and Markowich section 4.2, the example of the disc.
    """

    def __init__(self, radius: float = 1.0, bias: str = "bias", kernel: str = "kernel") -> None:
        super().__init__(bias, kernel)
        self.radius = check_positive("radius", radius)

    def __repr__(self) -> str:
        return f"Ball({self.radius:g}, {self.bias!r}, {self.kernel!r})"

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        """With a given, the row is clipped to +-(r^2 - a^2)^(1/2); the distance, convex in a, is
        least by bisection.
        """
        a, b = x[self.bias], x[self.kernel]
        xp, r = namespace(a), self.radius
        w = like(last_measure(self.kernel, space), b)
        size = xp.abs(b)
        low, high = xp.zeros_like(a), xp.minimum(xp.abs(a), xp.full_like(a, r))
        outside = xp.any(a[..., None] ** 2 + b * b > r * r, axis=-1)
        # bisection on half the derivative in s of (s - |a|)^2 + sum_j w_j max(|b_j| - (r^2 -
        # s^2)^(1/2), 0)^2
        for _ in range(60):
            s = 0.5 * (low + high)
            bound = xp.sqrt(xp.maximum(r * r - s * s, xp.full_like(s, 1e-300)))
            over = xp.maximum(size - bound[..., None], xp.zeros_like(size))
            slope = s - xp.abs(a) + s / bound * xp.sum(w * over, axis=-1)
            low, high = xp.where(slope < 0, s, low), xp.where(slope < 0, high, s)
        s = xp.where(outside, 0.5 * (low + high), xp.abs(a))
        bound = xp.sqrt(xp.maximum(r * r - s * s, xp.zeros_like(s)))[..., None]
        clipped = xp.where(outside[..., None], xp.sign(b) * xp.minimum(size, bound), b)
        return {self.bias: xp.sign(a) * s, self.kernel: clipped}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """With G(y) = int |g_b(y, z)| dz: a = r g_a / (g_a^2 + G^2)^(1/2), |b| = r G / (g_a^2 +
        G^2)^(1/2).
        """
        g, h = gradient[self.bias], gradient[self.kernel]
        xp = namespace(g)
        total = xp.sum(like(last_measure(self.kernel, space), h) * xp.abs(h), axis=-1)
        length = xp.sqrt(g * g + total * total)
        seen = length > 0
        length = xp.where(seen, length, xp.ones_like(length))
        a, b = self.radius * g / length, (self.radius * total / length)[..., None] * xp.sign(h)
        rest = tie[self.kernel]
        bound = xp.sqrt(xp.maximum(self.radius**2 - a * a, xp.zeros_like(a)))[..., None]
        rest = xp.sign(rest) * xp.minimum(
            xp.abs(rest), bound
        )  # where h = 0: as it was, as far as a leaves room
        b = xp.where(h == 0, rest, b)
        return {
            self.bias: xp.where(seen, a, tie[self.bias]),
            self.kernel: xp.where(seen[..., None], b, tie[self.kernel]),
        }

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        a, b = x[self.bias], x[self.kernel]
        xp = namespace(a)
        return max(_highest(xp.sqrt(a[..., None] ** 2 + b * b)), _highest(xp.abs(a))) - self.radius


class BallsByName(AdmissibleSet):
    """A radius for each block named.  raises ValueError for one that is not positive."""

    def __init__(self, **radii: float) -> None:
        self.radii = {name: check_positive(f"radius of {name}", r) for name, r in radii.items()}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}("
            + ", ".join(f"{name}={r:g}" for name, r in self.radii.items())
            + ")"
        )

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return tuple(self.radii)

    def only(self, names: Collection[str], space: ControlSpace) -> AdmissibleSet | None:
        """See AdmissibleSet."""
        return _only(self, self.radii, names)


@checked
class L1Ball(BallsByName):
    """int |x(z)| dz <= radius in the last variable, at each time: L1Ball(kernel=2) bounds int |b(y,
    z)| dz for all y.

    raises ValueError for a radius that is not positive (the set would be empty, or the point 0), or
    unknown names
    """

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        """Soft thresholding, by the level at which the norm is the radius."""
        found = {}
        for name, radius in self.radii.items():
            v = x[name]
            xp, w = namespace(v), self._measure(name, space, v)
            size = xp.abs(v)
            order = xp.flip(xp.argsort(size, axis=-1), axis=-1)
            ranked = xp.take_along_axis(size, order, axis=-1)
            weights = xp.take_along_axis(xp.broadcast_to(w, size.shape), order, axis=-1)
            mass, moment = (
                xp.cumulative_sum(weights, axis=-1),
                xp.cumulative_sum(weights * ranked, axis=-1),
            )
            level = xp.max((moment - radius) / mass, axis=-1, keepdims=True)
            level = xp.maximum(level, xp.zeros_like(level))
            found[name] = xp.sign(v) * xp.maximum(size - level, xp.zeros_like(size))
        return found

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """All of the norm at the entry where |gradient| is largest."""
        found = {}
        for name, radius in self.radii.items():
            g = gradient[name]
            xp, w = namespace(g), self._measure(name, space, g)
            size = xp.abs(g)
            place = xp.arange(size.shape[-1]) == xp.argmax(size, axis=-1, keepdims=True)
            peak = xp.where(place, radius * xp.sign(g) / w, xp.zeros_like(g))
            found[name] = xp.where(xp.max(size, axis=-1, keepdims=True) > 0, peak, tie[name])
        return found

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        found = []
        for name, radius in self.radii.items():
            v = x[name]
            xp, w = namespace(v), self._measure(name, space, v)
            found.append(_highest(xp.sum(w * xp.abs(v), axis=-1)) - radius)
        return max(found, default=0.0)

    def by_rows(self, space: ControlSpace) -> bool:
        """True for kernels alone: the norm of a bias couples its units."""
        axes = {b.name: len(b.shape) for b in space.trained}
        return all(axes[name] == 2 for name in self.radii)

    def check(self, space: ControlSpace) -> None:
        super().check(space)
        for name in self.radii:
            last_measure(name, space)

    def _measure(self, name: str, space: ControlSpace, example: Array) -> Array:
        return like(last_measure(name, space), example)


@checked
class NormBall(BallsByName):
    """|x| <= radius in the L2 norm over time and positions, for each of the blocks named:
    NormBall(bias=2.0).

    Not pointwise: maximising at each time on its own does not respect it.
    raises ValueError for a radius that is not positive, or unknown names
    """

    pointwise = False

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        return {
            n: x[n] * min(1.0, r / max(self._norm(n, x[n], space), 1e-300))
            for n, r in self.radii.items()
        }

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        found = {}
        for name, radius in self.radii.items():
            length = self._norm(name, gradient[name], space)
            found[name] = gradient[name] * (radius / length) if length > 0 else tie[name]
        return found

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        return max((self._norm(n, x[n], space) - r for n, r in self.radii.items()), default=0.0)

    def _norm(self, name: str, x: Array, space: ControlSpace) -> float:
        block = next(b for b in space.blocks if b.name == name)
        return float(namespace(x).sum(like(block.weights, x) * x * space.axes[name].mass(x))) ** 0.5


@checked
class Amplitude(AdmissibleSet):
    """|u(t)| <= bound at every time: u all trained blocks that depend on time, |u(t)| the norm over
    all their entries, each block in its own weights (`joint_norm`): Euclidean for matrices.

    raises ValueError for a bound that is not positive, or a space without such blocks
    """

    radial = True

    def __init__(self, bound: float) -> None:
        self.bound = check_positive("bound", bound)

    def __repr__(self) -> str:
        return f"Amplitude({self.bound:g})"

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return tuple(b.name for b in self._blocks(space))

    def check(self, space: ControlSpace) -> None:
        super().check(space)
        if not self.named(space):
            raise ValueError("Amplitude needs a trained block that depends on time")

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        blocks = self._blocks(space)
        size = joint_norm(blocks, x)
        xp = namespace(size)
        share = self.bound / xp.maximum(size, xp.full_like(size, self.bound))
        return scaled(blocks, x, share)

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """bound g / |g|."""
        blocks = self._blocks(space)
        size = joint_norm(blocks, gradient)
        xp = namespace(size)
        seen = size > 0
        found = scaled(blocks, gradient, self.bound / xp.where(seen, size, xp.ones_like(size)))
        still = scaled(blocks, tie, xp.where(seen, xp.zeros_like(size), xp.ones_like(size)))
        return {n: x + still[n] for n, x in found.items()}

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        return _highest(joint_norm(self._blocks(space), x)) - self.bound

    def _blocks(self, space: ControlSpace) -> list[Block]:
        return [b for b in space.trained if b.time != "static"]


def _only(
    whole: AdmissibleSet, given: Mapping[str, object], names: Collection[str]
) -> AdmissibleSet | None:
    """A set of the same kind for those of the blocks given that are named; each is bounded on its
    own.
    """
    kept = {name: value for name, value in given.items() if name in names}
    return type(whole)(**kept) if kept else None


def _extreme(g: Array, low: float, high: float, tie: Array) -> Array:
    xp = namespace(g)
    return xp.where(g > 0, xp.full_like(g, high), xp.where(g < 0, xp.full_like(g, low), tie))


def _short(x: float) -> str:
    """x in as few digits as give it back."""
    return f"{x:g}" if float(f"{x:g}") == x else repr(x)


def _lowest(x: Array) -> float:
    return float(namespace(x).min(x))


def _highest(x: Array) -> float:
    """The largest entry."""
    return float(namespace(x).max(x))
