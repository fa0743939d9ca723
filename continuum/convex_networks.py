"""Convex residual networks and differences of two, as functions: value, pieces, Lipschitz
constant.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Self

import numpy as np

from .activations import relu
from .arrays import Array, to_host
from .checks import check_array, check_count, check_name, check_number, check_type
from .controls import Control, check_control
from .doors import checked
from .networks import Bottleneck, DirectSum, Network
from .readouts import OFFSET, WEIGHT
from .records import short

ROUNDING = 1e-13
"""Breakpoints nearer than this, and slopes, relative to their size, count as one."""
FAR = 1e100
"""A unit that acts only where h is above this is left out of the pieces."""


class PiecewiseAffine(ABC):
    """A function that is affine on pieces of its domain, which are listed for one input."""

    @property
    @abstractmethod
    def pieces(self) -> tuple[Array, Array]:
        """Breakpoints (S - 1,) and slopes (S,); raises TypeError unless n = 1."""

    @property
    def breakpoints(self) -> Array:
        """(S - 1,): where the slope changes, inside the domain, increasing; for n = 1."""
        return self.pieces[0]

    @property
    def slopes(self) -> Array:
        """(S,): the slopes of the pieces from left to right; for n = 1."""
        return self.pieces[1]

    @property
    def segments(self) -> Array:
        """(S, 2): the ends of the pieces, which cover the domain; for n = 1."""
        low, high = self.domain  # type: ignore[attr-defined]  # a field of one, derived in the other
        ends = np.concatenate([[low], self.breakpoints, [high]])
        return np.stack([ends[:-1], ends[1:]], axis=1)


@checked
@dataclass(frozen=True, eq=False)
class ConvexNetwork(PiecewiseAffine):
    """f(x) = c^T h_L(x) + d,   h_0 = x,   h_l = h_{l-1} + W_l [V_l^T h_{l-1} - b_l]_+,

    with V, W, b >= 0, c > 0. Every coordinate of h_l is a sum, with factors >= 0, of maxima of 0
    and such sums of coordinates of h_{l-1}: so f is convex and nondecreasing in each x_j, and
    supermodular: d_j f does not decrease with any x_k, because what acts at x acts at any larger
    point. Hence grad f is largest, in all its entries at once, in the upper corner of a box.

    weight1 : V^T (L, m, n);  bias1 : -b (L, m);  weight2 : W (L, n, m)
    readout : c (n,);  offset : d
    domain : f is looked at on the box [low, high]^n; low may be -inf, high inf
    raises ValueError for shapes that do not fit, negative weights, bias1 > 0 and readout <= 0, the
        block named
    Source: Nar and Sastry (2018), (7).
    """

    weight1: Array
    bias1: Array
    weight2: Array
    readout: Array
    offset: float = 0.0
    _: KW_ONLY
    domain: tuple[float, float] = (0.0, np.inf)

    __repr__ = short

    def __post_init__(self) -> None:
        names = {name: name for name in ("weight1", "bias1", "weight2", "readout")}
        v, b, w, c = _checked(self.weight1, self.bias1, self.weight2, self.readout, names)
        for name, array in zip(names, (v, b, w, c), strict=True):
            object.__setattr__(self, name, array)
        object.__setattr__(self, "offset", check_number("offset", self.offset))
        ends = tuple(self.domain)
        if (
            len(ends) != 2
            or not all(isinstance(end, Real) for end in ends)
            or not ends[0] < ends[1]
        ):
            raise ValueError(
                f"domain must be a pair (low, high) with low < high, got {self.domain}"
            )
        object.__setattr__(self, "domain", (float(ends[0]), float(ends[1])))

    @classmethod
    @checked
    def from_control(
        cls,
        network: Network,
        control: Control,
        part: str | None = None,
        *,
        output: int | None = None,
        offset: float | None = None,
        domain: tuple[float, float] = (0.0, np.inf),
    ) -> Self:
        """The function that a control makes of a Bottleneck(n, relu, m) under Euler's method.

        part : its name where the network is a DirectSum
        output : the row of "readout.W" that holds c, the sizes that a SignedReadout gives its
            signs; it is the one in which this part has a sign. None where there is one row
        offset : d; "readout.mu" of that output if None
        domain : see the class
        raises TypeError for another network or activation, or a control without "readout.W";
            ValueError for an unknown part, bias2 != 0, and blocks that the class refuses, by name
        """
        rows, prefix = _bottleneck(network, part)
        network.check_blocks("control", check_control("control", control).space.blocks)
        mesh = control.space.mesh
        starts = zip(range(mesh.layers), mesh.nodes[:-1].tolist(), strict=True)
        layers = [control.at_layer(k, t) for k, t in starts]
        names = {name: f"{prefix}{name}" for name in ("weight1", "bias1", "weight2", "bias2")}
        for name in (*names.values(), WEIGHT, OFFSET):
            if name not in layers[0]:
                raise TypeError(f"control must have {name!r}, as that of a convex_problem")
        v, b, w, rest = (
            np.stack([to_host(layer[name]) for layer in layers]) for name in names.values()
        )
        if np.any(rest != 0.0):
            raise ValueError(f"{names['bias2']} must be 0 for a convex network")
        read = to_host(layers[0][WEIGHT])
        if output is None and len(read) > 1:
            raise ValueError(f"output must be given, {WEIGHT} has {len(read)} rows")
        output = 0 if output is None else check_count("output", output, 0)
        if output >= len(read):
            raise ValueError(f"output must be below {len(read)}, the rows of {WEIGHT}")
        v, b, w, c = _checked(v, b, w, read[output, rows], {**names, "readout": WEIGHT})
        if offset is None:
            offset = float(to_host(layers[0][OFFSET])[output])
        return cls(v, b, mesh.steps[:, None, None] * w, c, offset, domain=domain)

    @checked
    def value(self, x: Array) -> Array:
        """f (N,) at the points x (n, N), or (N,) for n = 1."""
        h = _points(x, len(self.readout))
        for v, b, w in zip(self.weight1, self.bias1, self.weight2, strict=True):
            h = h + w @ np.maximum(v @ h + b[:, None], 0.0)
        return self.readout @ h + self.offset

    @checked
    def gradient(self, x: Array) -> Array:
        """grad f (n, N) at the points x (n, N), or (N,) for n = 1; where f has a kink, its limit
        from smaller points: a unit acts where V^T h > b.
        """
        acting = [u > 0.0 for u in self._inputs(x)]
        return self._gradient(acting)

    @cached_property
    def gradient_range(self) -> tuple[Array, Array]:
        """(n,) each: the infimum and the supremum of every d_j f on the domain where it exists.

        They are its limits in the two corners, all x_j low and all x_j high.
        """
        low, high = self.domain
        corner = np.ones((len(self.readout), 1))
        everywhere = [np.ones((len(b), 1), dtype=bool) for b in self.bias1]
        least, most = [~one for one in everywhere], everywhere
        if np.isfinite(low):
            least = [u >= 0.0 for u in self._inputs(low * corner)]
        if np.isfinite(high):
            most = [u > 0.0 for u in self._inputs(high * corner)]
        return self._gradient(least)[:, 0], self._gradient(most)[:, 0]

    @cached_property
    def lipschitz(self) -> float:
        """sup |grad f|_2 on the domain: |grad f| in its upper corner, exact for every n."""
        return float(np.linalg.norm(self.gradient_range[1]))

    @cached_property
    def spectral_norms(self) -> Array:
        """(L,): |I + W_l V_l^T|_2, the Lipschitz constant of layer l on R^n.

        Their product times |c| is an upper bound of `lipschitz`, and may be far above it.
        """
        return np.linalg.norm(
            np.eye(len(self.readout)) + self.weight2 @ self.weight1, 2, axis=(1, 2)
        )

    @cached_property
    def pieces(self) -> tuple[Array, Array]:
        """Breakpoints and slopes, at most L m + 1 of them; raises TypeError unless n = 1.

        h_{l-1} increases with slope >= 1, so a unit of layer l acts right of the one point where
        h_{l-1} = b / V, and there adds W V times the slope of h_{l-1}.
        """
        if len(self.readout) != 1:
            raise TypeError(f"pieces are listed for n = 1, n is {len(self.readout)}")
        # one knot at 0, where nothing bends, so that there is a height to start from
        knots, heights, slopes = np.zeros(1), np.zeros(1), np.ones(2)
        for v, b, w in zip(self.weight1[:, :, 0], -self.bias1, self.weight2[:, 0], strict=True):
            bends = (v * w > 0.0) & (b <= FAR * v)
            v, b, w = v[bends], b[bends], w[bends]
            piece = np.searchsorted(heights, b / v)
            left = np.maximum(piece - 1, 0)
            kinks = knots[left] + (b / v - heights[left]) / slopes[piece]
            union = _distinct(np.concatenate([knots, kinks]))
            piece = np.searchsorted(knots, union)
            left = np.maximum(piece - 1, 0)
            heights = heights[left] + (union - knots[left]) * slopes[piece]
            heights = heights + w @ np.maximum(v[:, None] * heights - b[:, None], 0.0)
            inside = _middles(union)
            slopes = slopes[np.searchsorted(knots, inside)]
            slopes = slopes * (1.0 + (w * v) @ (inside > kinks[:, None]))
            knots = union
        slopes = self.readout[0] * slopes
        return _merged(self.domain, knots, slopes, slopes)

    def _inputs(self, x: Array) -> list[Array]:
        """V_l^T h_{l-1} - b_l (m, N), layer by layer."""
        h, found = _points(x, len(self.readout)), []
        for v, b, w in zip(self.weight1, self.bias1, self.weight2, strict=True):
            found.append(v @ h + b[:, None])
            h = h + w @ np.maximum(found[-1], 0.0)
        return found

    def _gradient(self, acting: list[Array]) -> Array:
        """c^T (I + W_L D_L V_L^T) ... (I + W_1 D_1 V_1^T), transposed (n, N), for units that act or
        not, D_l (m, N).
        """
        g = np.repeat(self.readout[:, None], acting[0].shape[1], axis=1)
        for v, w, a in zip(self.weight1[::-1], self.weight2[::-1], acting[::-1], strict=True):
            g = g + v.T @ (a * (w.T @ g))
        return g


@checked
@dataclass(frozen=True, eq=False)
class ConvexDifference(PiecewiseAffine):
    """f = r - s, the difference of two convex networks on the same domain.

    r, s : ConvexNetwork, with as many inputs; raises ValueError for others, or other domains
    Source: Nar and Sastry (2018), section 3.1.
    """

    r: ConvexNetwork
    s: ConvexNetwork

    __repr__ = short

    def __post_init__(self) -> None:
        for name in ("r", "s"):
            check_type(name, getattr(self, name), ConvexNetwork)
        check_array("readout of s", self.s.readout, self.r.readout.shape)
        if self.r.domain != self.s.domain:
            raise ValueError(
                f"r and s must have one domain, got {self.r.domain} and {self.s.domain}"
            )

    @classmethod
    @checked
    def from_control(
        cls,
        network: Network,
        control: Control,
        parts: Sequence[str] = ("r", "s"),
        *,
        output: int | None = None,
        domain: tuple[float, float] = (0.0, np.inf),
    ) -> Self:
        """The difference that a control makes of two parts of a DirectSum; the offset is in r.

        parts : the names of r and of s; the rest is as in ConvexNetwork.from_control
        raises ValueError unless there are two names
        """
        if len(parts) != 2:
            raise ValueError(f"parts must be two names, got {parts!r}")
        r, s = (
            ConvexNetwork.from_control(network, control, part, output=output, domain=domain)
            for part in parts
        )
        return cls(r, replace(s, offset=0.0))

    @property
    def domain(self) -> tuple[float, float]:
        """(low, high) of the box [low, high]^n on which it is looked at."""
        return self.r.domain

    @checked
    def value(self, x: Array) -> Array:
        """f (N,) at the points x (n, N), or (N,) for n = 1."""
        return self.r.value(x) - self.s.value(x)

    @checked
    def gradient(self, x: Array) -> Array:
        """grad f (n, N) at the points x (n, N), or (N,) for n = 1, see ConvexNetwork."""
        return self.r.gradient(x) - self.s.gradient(x)

    @cached_property
    def lipschitz(self) -> float:
        """The Lipschitz constant on the domain: exact for n = 1, max |slope|; for n > 1 an upper
        bound in the Euclidean norm.

        d_j f lies between inf d_j r - sup d_j s and sup d_j r - inf d_j s; the bound is the norm of
        the larger sizes, up to rounding. It is at most (|grad r|^2 + |grad s|^2)^(1/2), both taken
        in the upper corner.
        """
        if len(self.r.readout) == 1:
            return float(np.abs(self.slopes).max())
        (r_low, r_high), (s_low, s_high) = self.r.gradient_range, self.s.gradient_range
        return float(np.linalg.norm(np.maximum(np.abs(r_low - s_high), np.abs(r_high - s_low))))

    @cached_property
    def spectral_norms(self) -> Array:
        """(2, L): those of the layers of r and of s."""
        return np.stack([self.r.spectral_norms, self.s.spectral_norms])

    @cached_property
    def pieces(self) -> tuple[Array, Array]:
        """Breakpoints and slopes, at most 2 L m + 1 of them; raises TypeError unless n = 1."""
        knots = _distinct(np.concatenate([self.r.breakpoints, self.s.breakpoints]))
        inside = _middles(knots)
        r = self.r.slopes[np.searchsorted(self.r.breakpoints, inside)]
        s = self.s.slopes[np.searchsorted(self.s.breakpoints, inside)]
        return _merged(self.domain, knots, r - s, r + s)


def _bottleneck(network: Network, part: str | None) -> tuple[slice, str]:
    """The rows of the state of the part that is asked for, and the prefix of its blocks."""
    rows, prefix = slice(None), ""
    if part is not None:
        parts = check_type("network", network, DirectSum)
        network, rows = parts.parts[check_name("part", part, parts.parts)], parts.rows[part]
        prefix = f"{part}."
    elif isinstance(network, DirectSum):
        raise TypeError(f"part must name one of {', '.join(network.parts)}")
    one = check_type("network", network, Bottleneck)
    if one.activation is not relu:
        raise TypeError(f"the activation of a convex network is relu, got {one.activation}")
    return rows, prefix


def _checked(
    weight1: Array, bias1: Array, weight2: Array, readout: Array, names: Mapping[str, str]
) -> tuple[Array, Array, Array, Array]:
    """The blocks of a convex network as arrays; errors call them by these names."""
    v = check_array(names["weight1"], weight1, ("L", "m", "n"))
    layers, hidden, units = v.shape
    b = check_array(names["bias1"], bias1, (layers, hidden))
    w = check_array(names["weight2"], weight2, (layers, units, hidden))
    c = check_array(names["readout"], readout, (units,))
    for name, array in (("weight1", v), ("weight2", w)):
        if np.any(array < 0.0):
            raise ValueError(
                f"{names[name]} must be >= 0 for a convex network, got {array.min():g}"
            )
    if np.any(b > 0.0):
        raise ValueError(
            f"{names['bias1']} must be <= 0 for a convex network, it is -b with b >= 0, got "
            f"{b.max():g}"
        )
    if np.any(c <= 0.0):
        raise ValueError(f"{names['readout']} must be > 0 for a convex network, got {c.min():g}")
    return v, b, w, c


def _points(x: Array, units: int) -> Array:
    """x as (n, N)."""
    given = np.asarray(x)
    return check_array("x", given[None, :] if units == given.ndim == 1 else given, (units, "N"))


def _distinct(knots: Array) -> Array:
    """The knots, increasing, those that differ by rounding alone once."""
    t = np.sort(knots)
    gaps = t[1:] - t[:-1] > ROUNDING * np.maximum(np.abs(t[1:]), np.abs(t[:-1]))
    return t[np.append(True, gaps)[: len(t)]]


def _middles(knots: Array) -> Array:
    """A point inside each of the pieces that the knots cut R into."""
    if not len(knots):
        return np.zeros(1)
    ends = np.concatenate(
        [[knots[0] - 1.0 - abs(knots[0])], knots, [knots[-1] + 1.0 + abs(knots[-1])]]
    )
    return 0.5 * (ends[:-1] + ends[1:])


def _merged(
    domain: tuple[float, float], knots: Array, slopes: Array, sizes: Array
) -> tuple[Array, Array]:
    """Knots inside the domain where the slopes differ by more than rounding, and the slopes between
    them.

    sizes : (K + 1,), what the rounding of the slopes is relative to
    """
    inside = (knots > domain[0]) & (knots < domain[1])
    first = int(np.sum(knots <= domain[0]))
    chosen = slice(first, first + int(np.sum(inside)) + 1)
    knots, slopes, sizes = knots[inside], slopes[chosen], sizes[chosen]
    turns = np.abs(np.diff(slopes)) > ROUNDING * np.maximum(sizes[1:], sizes[:-1])
    return knots[turns], slopes[np.append(True, turns)]
