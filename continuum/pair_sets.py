"""Sets of pairs (a, b), of a bias and an entry of its row of the kernel, that go together.

A control is admissible if (a(y), b(y, z)) lies in A for almost all y and z.  With the sections
A_a = {b : (a, b) in A}: the bias a(y) is chosen once for the row, and every entry of b(y, .) from
the section of that a.  For a gradient (g, h) of one row, with w the measure in z,

    max over A of g a + int h b  =  max_a [ g a + max(A_a) int h^+ - min(A_a) int h^- ],

attained with b = max(A_a) where h > 0 and min(A_a) where h < 0.
Source: Liu and Markowich section 4.2, with E26 and E28 of its errata.
"""

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real

import numpy as np

from .admissible import AdmissibleSet, Blocks
from .arrays import Array, like, namespace
from .controls import ControlSpace
from .doors import checked

Pair = tuple[float, float]

_HALVINGS = 60
"""Bisections, at most, for the bias of the nearest row: to 1e-18 of the width of the set."""

_SHOWN = 6
"""Pairs that a set prints; of more it prints how many there are."""


class PairSet(AdmissibleSet):
    """What sets of pairs share: the names of a bias (N,) and a kernel (N, P) of the same time."""

    def __init__(self, bias: str, kernel: str) -> None:
        self.bias, self.kernel = bias, kernel

    def named(self, space: ControlSpace) -> tuple[str, ...]:
        return (self.bias, self.kernel)

    def check(self, space: ControlSpace) -> None:
        super().check(space)
        shapes = {b.name: b.shape for b in space.trained}
        times = {b.name: b.time for b in space.trained}
        a, b = shapes[self.bias], shapes[self.kernel]
        if len(a) != 1 or len(b) != 2 or a[0] != b[0] or times[self.bias] != times[self.kernel]:
            raise ValueError(
                f"a {type(self).__name__} pairs a bias (N,) with a kernel (N, P) of the same time "
                f"dependence, got {a} and {b}"
            )
        last_measure(self.kernel, space)

    def by_rows(self, space: ControlSpace) -> bool:
        """True: one bias goes with one row."""
        return True


@checked
class Pairs(PairSet):
    """(a(y), b(y, z)) is one of a few pairs for all y, z: Pairs([(0, 1), (1, -2)]).

    Not convex.  Pairs with one a are a choice for every entry of the row: Pairs([(0, -1), (0, 1)])
    has a = 0 and b = -1 or 1.  The nearest row is the nearest of all a, each with the nearest
    entries of its section; of equally near ones the one with the smallest a.

    pairs : at least one, each of two finite numbers
    bias, kernel : the names of the two blocks, of shapes (N,) and (N, P)
    raises ValueError for no pairs, other shapes, numbers that are not finite, blocks of other
        shapes
    """

    convex = False

    def __init__(
        self, pairs: Sequence[Pair] | Array, bias: str = "bias", kernel: str = "kernel"
    ) -> None:
        super().__init__(bias, kernel)
        self.pairs = _checked(pairs)
        self.sections: tuple[tuple[float, Array], ...] = tuple(
            (float(a), self.pairs[self.pairs[:, 0] == a, 1]) for a in np.unique(self.pairs[:, 0])
        )

    def __repr__(self) -> str:
        return _written(self, self.pairs)

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        a, b = x[self.bias], x[self.kernel]
        xp, w = namespace(a), like(last_measure(self.kernel, space), b)
        least, bias, kernel = xp.full_like(a, np.inf), xp.zeros_like(a), xp.zeros_like(b)
        for value, section in self.sections:
            row = nearest_value(b, section)
            gap = (a - value) ** 2 + xp.sum(w * (b - row) ** 2, axis=-1)
            closer = gap < least
            least, bias = xp.where(closer, gap, least), xp.where(closer, value, bias)
            kernel = xp.where(closer[..., None], row, kernel)
        return {self.bias: bias, self.kernel: kernel}

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """See the head of this file; of several best a the one nearest to that of `tie`, and where
        h = 0 the entry of the section nearest to its.
        """
        g, h, still = gradient[self.bias], gradient[self.kernel], tie[self.bias]
        xp = namespace(g)
        up, down = _parts(h, like(last_measure(self.kernel, space), h))
        top, bias, kernel = xp.full_like(g, -np.inf), xp.zeros_like(g), xp.zeros_like(h)
        for value, section in self.sections:
            low, high = float(section[0]), float(section[-1])
            found = g * value + high * up - low * down
            row = xp.where(
                h > 0, high, xp.where(h < 0, low, nearest_value(tie[self.kernel], section))
            )
            nearer = xp.abs(value - still) < xp.abs(bias - still)
            better = (found > top) | ((found == top) & nearer)
            top, bias = xp.where(better, found, top), xp.where(better, value, bias)
            kernel = xp.where(better[..., None], row, kernel)
        return {self.bias: bias, self.kernel: kernel}

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        """The largest distance of an (a(y), b(y, z)) from the nearest pair, in the plane."""
        a, b = x[self.bias][..., None], x[self.kernel]
        xp, least = namespace(b), None
        for value, entry in self.pairs:
            gap = (a - float(value)) ** 2 + (b - float(entry)) ** 2
            least = gap if least is None else xp.minimum(least, gap)
        return float(xp.max(least)) ** 0.5


@checked
class ConvexHull(PairSet):
    """(a(y), b(y, z)) lies in a convex polygon for all y, z: ConvexHull([(0, 1), (1, -2), (1, 1)]).

    Its sections are intervals [low(a), high(a)], low convex, high concave, both linear between
    the corners.  Of two pairs it is the segment between them.

    pairs : at least two different ones, of two finite numbers each; the corners of their hull are
        kept, in `pairs`, counterclockwise
    bias, kernel : the names of the two blocks, of shapes (N,) and (N, P)
    raises ValueError for fewer pairs, other shapes, numbers that are not finite, blocks of other
        shapes
    """

    def __init__(
        self, pairs: Sequence[Pair] | Array, bias: str = "bias", kernel: str = "kernel"
    ) -> None:
        super().__init__(bias, kernel)
        points = _checked(pairs)
        if len(points) < 2:
            raise ValueError(
                f"pairs of a ConvexHull must be at least two different ones, got {pairs!r}: hold "
                "the blocks with fixed={...} for one"
            )
        below, above = _chain(points), _chain(points[::-1])
        self.pairs = np.array(below[:-1] + above[:-1])
        self.breaks = np.unique(self.pairs[:, 0])
        self.low, self.high = (
            np.array([sign * _lowest_at(a, sign, self.pairs) for a in self.breaks])
            for sign in (1.0, -1.0)
        )
        widths = np.diff(self.breaks)
        # after the last corner the bounds are constant, so that they are exact at every corner
        self._slopes = tuple(np.append(np.diff(x) / widths, 0.0) for x in (self.low, self.high))

    def __repr__(self) -> str:
        return _written(self, self.pairs)

    def nearest(self, x: Blocks, space: ControlSpace) -> dict[str, Array]:
        """With a given, the row is clipped to [low(a), high(a)]; the square of the distance is
        convex in a, and between two corners its derivative is piecewise linear: Newton's method,
        every second step a bisection.
        """
        a, b = x[self.bias], x[self.kernel]
        xp, w = namespace(a), like(last_measure(self.kernel, space), b)
        low, high = (bound[..., None] for bound in self._section(a))
        inside = xp.all((b >= low) & (b <= high), axis=-1)
        inside = inside & (a >= float(self.breaks[0])) & (a <= float(self.breaks[-1]))
        breaks, number = like(self.breaks, a), self._piece(a, b, w)
        left, right = _taken(breaks, number), _taken(breaks, self._next(number))
        s = xp.minimum(xp.maximum(a, left), right)
        room = 1e-16 * float(np.max(np.abs(self.breaks)))
        for n in range(2 * _HALVINGS):
            slope, bend = self._pull(s, number, a, b, w)
            left, right = xp.where(slope < 0, s, left), xp.where(slope < 0, right, s)
            step = xp.minimum(xp.maximum(s - slope / bend, left), right)
            done = xp.abs(step - s) <= room
            s = step if n % 2 == 0 else xp.where(done, step, 0.5 * (left + right))
            if bool(xp.all(done)):
                break
        s = xp.where(inside, a, s)
        low, high = (bound[..., None] for bound in self._section(s))
        clipped = xp.minimum(xp.maximum(b, low), high)
        return {self.bias: s, self.kernel: xp.where(inside[..., None], b, clipped)}

    def _piece(self, a: Array, b: Array, w: Array) -> Array:
        """(..., N): the number of the corner's a to the right of which the nearest a lies, by
        bisection over the corners.
        """
        xp = namespace(a)
        first = xp.zeros(a.shape, dtype=xp.int64)
        last = first + max(len(self.breaks) - 1, 1)
        for _ in range(int(np.ceil(np.log2(max(len(self.breaks) - 1, 1))))):
            middle = (first + last) // 2
            slope, _ = self._pull(_taken(like(self.breaks, a), middle), middle, a, b, w)
            first, last = xp.where(slope < 0, middle, first), xp.where(slope < 0, last, middle)
        return first

    def _next(self, number: Array) -> Array:
        xp = namespace(number)
        return xp.minimum(number + 1, xp.full_like(number, len(self.breaks) - 1))

    def _pull(self, s: Array, number: Array, a: Array, b: Array, w: Array) -> tuple[Array, Array]:
        """Half the first and second derivative in s of (s - a)^2 + sum_j w_j dist(b_j, A_s)^2, with
        the bounds to the right of this corner.
        """
        xp, nothing = namespace(a), namespace(b).zeros_like(b)
        low, high, fall, rise = (part[..., None] for part in self._bounds(s, number))
        under, over = xp.maximum(low - b, nothing), xp.maximum(b - high, nothing)
        slope = s - a + xp.sum(w * (under * fall - over * rise), axis=-1)
        steep = xp.where(under > 0, fall * fall, xp.where(over > 0, rise * rise, nothing))
        return slope, 1.0 + xp.sum(w * steep, axis=-1)

    def support(self, gradient: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """See the head of this file; of several best a the one nearest to that of `tie`, and where
        h = 0 the entry of the section nearest to its.
        """
        return self.at_signs(self.switching(gradient, space), tie, space)

    def switching(self, gradient: Blocks, space: ControlSpace) -> dict[str, Array]:
        """The gradient h in the kernel, and for the bias (..., N, corners - 1): by how much the
        maximum over the section rises from each a of a corner to the next.

        That maximum is concave in a, so these are first positive, then negative.
        """
        g, h = gradient[self.bias], gradient[self.kernel]
        up, down = _parts(h, like(last_measure(self.kernel, space), h))
        steps = (like(np.diff(x), g) for x in (self.breaks, self.low, self.high))
        along, low, high = steps
        rises = g[..., None] * along + up[..., None] * high - down[..., None] * low
        return {self.bias: rises, self.kernel: h}

    def at_signs(self, signs: Blocks, tie: Blocks, space: ControlSpace) -> dict[str, Array]:
        """See AdmissibleSet."""
        d, h = signs[self.bias], signs[self.kernel]
        xp, still = namespace(h), tie[self.bias]
        breaks = like(self.breaks, h)
        count = xp.zeros(d.shape, dtype=xp.int64) + 1  # so that empty axes have a sum
        first = xp.sum(xp.where(d > 0, count, 0 * count), axis=-1)
        last = len(self.breaks) - 1 - xp.sum(xp.where(d < 0, count, 0 * count), axis=-1)
        a = xp.minimum(xp.maximum(still, _taken(breaks, first)), _taken(breaks, last))
        low, high = (bound[..., None] for bound in self._section(a))
        rest = xp.minimum(xp.maximum(tie[self.kernel], low), high)
        return {self.bias: a, self.kernel: xp.where(h > 0, high, xp.where(h < 0, low, rest))}

    def excess(self, x: Blocks, space: ControlSpace) -> float:
        """The largest distance of an (a(y), b(y, z)) from the lines of the edges and from the sides
        of the rectangle around the polygon, < 0 inside.

        Where the corners lie on one line to rounding, the lines of the edges say nothing of its
        ends; the rectangle does.
        """
        a, b = x[self.bias][..., None], x[self.kernel]
        xp, worst = namespace(b), -np.inf
        for values, name in ((self.pairs[:, 0], self.bias), (self.pairs[:, 1], self.kernel)):
            least, most = float(np.min(values)), float(np.max(values))
            low, high = float(xp.min(x[name])), float(xp.max(x[name]))
            worst = max(worst, least - low, high - most)
        for (a0, b0), (a1, b1) in zip(self.pairs, np.roll(self.pairs, -1, axis=0), strict=True):
            da, db = float(a1 - a0), float(b1 - b0)
            length = float(np.hypot(da, db))
            outside = (db * (a - float(a0)) - da * (b - float(b0))) / length
            worst = max(worst, float(xp.max(outside)))
        return worst

    def _section(self, a: Array) -> tuple[Array, Array]:
        """low(a) and high(a), of the nearest a in the polygon."""
        xp = namespace(a)
        inside = xp.clip(a, float(self.breaks[0]), float(self.breaks[-1]))
        flat = xp.searchsorted(like(self.breaks, a), xp.reshape(inside, (-1,)), side="right")
        low, high, _, _ = self._bounds(inside, xp.reshape(flat, a.shape) - 1)
        return low, high

    def _bounds(self, a: Array, number: Array) -> tuple[Array, Array, Array, Array]:
        """low(a), high(a) and their slopes to the right of the corner of this number."""
        past = a - _taken(like(self.breaks, a), number)
        fall, rise = (_taken(like(x, a), number) for x in self._slopes)
        low, high = (_taken(like(x, a), number) for x in (self.low, self.high))
        return low + past * fall, high + past * rise, fall, rise


def last_measure(name: str, space: ControlSpace) -> Array:
    """(P,): the measure in the last variable.  Raises ValueError where a block has none of its
    own.
    """
    block = next(b for b in space.blocks if b.name == name)
    if block.last is not None:
        return block.last
    if len(block.shape) == 1:
        return np.ascontiguousarray(np.broadcast_to(block.weights, block.shape))
    raise ValueError(f"block {name!r} has no measure in its last variable, so no norm of its rows")


def nearest_value(x: Array, values: Array) -> Array:
    """Entry by entry the nearest of increasing values, the smaller of two that are equally near."""
    xp = namespace(x)
    best = xp.full_like(x, float(values[0]))
    for low, high in pairwise(values):
        best = xp.where(x > 0.5 * float(low + high), float(high), best)
    return best


def _checked(pairs: Sequence[Pair] | Array) -> Array:
    """(n, 2), sorted, each once."""
    found = _listed(pairs) and len(pairs) > 0
    for pair in pairs if found else ():
        numbers = _listed(pair) and len(pair) == 2
        found = (
            found and numbers and all(isinstance(x, Real) and np.isfinite(float(x)) for x in pair)
        )
    if not found:
        raise ValueError(
            "pairs must be at least one (a, b) of two finite numbers, such as [(0, 1), (1, -2)], "
            f"got {pairs!r}"
        )
    return np.unique(np.array([[float(x) for x in pair] for pair in pairs]), axis=0)


def _listed(value: object) -> bool:
    """Whether it is a sequence, or an array with an axis."""
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _chain(points: Array) -> list[Array]:
    """The corners of the hull from the first of sorted points to the last, to the right of which
    all of them lie not (Andrew's monotone chain).
    """
    kept: list[Array] = []
    for p in points:
        while len(kept) > 1 and not _left_turn(kept[-2], kept[-1], p):
            kept.pop()
        kept.append(p)
    return kept


def _left_turn(o: Array, p: Array, q: Array) -> bool:
    return bool((p[0] - o[0]) * (q[1] - o[1]) - (p[1] - o[1]) * (q[0] - o[0]) > 0.0)


def _lowest_at(a: float, sign: float, corners: Array) -> float:
    """The least sign b with (a, b) on an edge of the polygon."""
    least = np.inf
    for (a0, b0), (a1, b1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a in (a0, a1):
            least = min(least, *(sign * b for x, b in ((a0, b0), (a1, b1)) if x == a))
        elif min(a0, a1) < a < max(a0, a1):
            least = min(least, sign * (b0 + (b1 - b0) * (a - a0) / (a1 - a0)))
    return float(least)


def _parts(h: Array, w: Array) -> tuple[Array, Array]:
    """int h^+ and int h^- over the last axis."""
    xp = namespace(h)
    zero = xp.zeros_like(h)
    return xp.sum(w * xp.maximum(h, zero), axis=-1), xp.sum(w * xp.maximum(-h, zero), axis=-1)


def _taken(values: Array, number: Array) -> Array:
    """values[number] for numbers of any shape."""
    xp = namespace(values)
    return xp.reshape(xp.take(values, xp.reshape(number, (-1,)), axis=0), number.shape)


def _written(of: PairSet, pairs: Array) -> str:
    inner = ", ".join(f"({a:g}, {b:g})" for a, b in pairs[:_SHOWN])
    more = f", ... {len(pairs)} in all" if len(pairs) > _SHOWN else ""
    return f"{type(of).__name__}([{inner}{more}], {of.bias!r}, {of.kernel!r})"
