"""Bounds that hold of a learned field on boxes of states, inputs and times, and estimates beside
them.

A functional v.f, v in R^k, is a chain of affine maps and activations of z = (free coordinates of
the state, x, t).  On a box with centre c and radii r

    an affine map       W z + b lies within |W| r of W c + b
    an activation       rises, so its values and its slopes, between the extrema of its slope, lie
                        between those at the ends
    the gradient        follows from the intervals of the slopes, from the last layer to the first
    v.f                 lies in the interval of the chain, and within |gradient| r of v.f(c)

Where the gradient has one sign along a coordinate, v.f is least on one side of the box, which then
stands for the box.  Every result is moved outwards by its rounding errors: activations are good to
1e-12 relative (continuum/activations.py), sums of P products to P units in the last place, so 2e-12
of the largest terms serves P <= 4000.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from continuum.activations import Activation, identity
from continuum.arrays import Array
from continuum.checks import check_array
from continuum.controls import Control
from continuum.networks import LearnedField
from continuum.networks.learned_field import FieldAt
from continuum.problem import LearningProblem

ROUNDING = 2e-12
WIDEST = 4000
"""The longest sums for which this is enough."""
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Layers:
    """The numbers of a learned field whose blocks are constant in time, before a norm bound, which
    shortens f and keeps its direction.

    weights : W_1 (h_1, k + n + 1 or k + n), ..., W_(L+1) (k, h_L);  biases : b_1, ..., b_(L+1)
    last : scale C (k, k);  inputs : x (n, M) or (n, 1)
    """

    field: LearnedField
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    last: Array
    inputs: Array

    @classmethod
    def of(cls, problem: LearningProblem, control: Control) -> "Layers":
        """Raises TypeError for a network that holds no inputs, ValueError for blocks that change
        in time, for activations that fall somewhere and for more than 4000 inputs of a layer.
        """
        network, control = problem.network, problem.space.check("control", control)
        if not isinstance(network, FieldAt):
            raise TypeError(f"the network must be made by LearnedField.at, got {network!r}")
        moving = [b.name for b in problem.space.blocks if b.time != "static"]
        if moving:
            raise ValueError(f"blocks that change in time are not enclosed: {', '.join(moving)}")
        field = network.field
        if field.activation.code is None or not field.activation.monotone:
            raise ValueError(
                f"{field.activation} is not enclosed by intervals: these know the activations of "
                "the package that never fall"
            )
        values, count = control.at(0.0), len(field.hidden) + 1
        weights = tuple(np.asarray(values[f"weight{n}"]) for n in range(1, count + 1))
        biases = tuple(np.asarray(values[f"bias{n}"]) for n in range(1, count + 1))
        k = field.units
        longest = max(w.shape[1] for w in weights)
        if longest > WIDEST:
            raise ValueError(
                f"sums of {longest} > {WIDEST} products: their rounding is not bounded"
            )
        last = field.scale * (np.eye(k) - np.full((k, k), 1.0 / k) * field.centred)
        return cls(field, weights, biases, last, network.inputs)

    def lipschitz_product(self) -> float:
        """A bound of |f(eta, x', t) - f(eta, x, t)| / |x' - x| in the maximum norm, everywhere: the
        product of the norms of the matrices and of sup |sigma'|, rounded up.
        """
        k, n = self.field.units, self.field.inputs
        first = self.weights[0][:, k : k + n]
        factors = [first, *self.weights[1:], self.last]
        norms = [np.max(np.sum(np.abs(w), axis=1)) for w in factors]
        steep = self.field.activation.lipschitz ** len(self.field.hidden)
        return float(np.prod(norms) * steep * (1.0 + ROUNDING * len(norms)))

    def growth(self) -> float:
        """A bound of |f(eta', x, t) - f(eta, x, t)| / |eta' - eta| in the maximum norm."""
        factors = [self.weights[0][:, : self.field.units], *self.weights[1:], self.last]
        norms = [np.max(np.sum(np.abs(w), axis=1)) for w in factors]
        steep = self.field.activation.lipschitz ** len(self.field.hidden)
        return float(np.prod(norms) * steep * (1.0 + ROUNDING * len(norms)))

    def speed(self) -> float:
        """A bound of |f_i| everywhere; infinite unless the last hidden layer or f is bounded."""
        sigma, cap = self.field.activation, self.field.norm_bound
        most = float("inf") if cap is None else cap
        if not self.field.hidden or not sigma.bounded:
            return most
        ends = sigma.value(np.array([-1e300, 1e300]))
        turned = np.abs(self.last)
        size = turned @ np.abs(self.weights[-1]) @ np.full(self.field.hidden[-1], max(abs(ends)))
        found = np.max(size + turned @ np.abs(self.biases[-1])) * (1.0 + ROUNDING)
        return min(float(found), most)

    def row(self, v: Array, embedding: Array | None = None) -> "Row":
        """v.f as a function of z = (e, x, t), where eta = embedding e; of (eta, x, t) if None.

        v : (k,);  embedding : (k, d)
        """
        return Row.of(self, v, np.eye(self.field.units) if embedding is None else embedding)


@dataclass(frozen=True, eq=False)
class Row:
    """v.f on boxes of z in R^D, see `Layers.row`.

    maps : (W, |W| where W is a product of matrices, b), from the first layer to the last
    """

    maps: tuple[tuple[Array, Array, Array], ...]
    activation: Activation

    @classmethod
    def of(cls, layers: Layers, v: Array, embedding: Array) -> "Row":
        k, last = layers.field.units, layers.last
        v = check_array("v", v, (k,))
        maps = []
        for n, (w, b) in enumerate(zip(layers.weights, layers.biases, strict=True)):
            size = np.abs(w)
            if n == 0:
                w, size = (
                    np.concatenate([w[:, :k] @ embedding, w[:, k:]], axis=1),
                    np.concatenate([size[:, :k] @ np.abs(embedding), size[:, k:]], axis=1),
                )
            if n == len(layers.weights) - 1:
                turned = np.abs(v) @ np.abs(last)
                w, size = ((v @ last) @ w)[None, :], (turned @ size)[None, :]
                spread = ROUNDING * turned @ np.abs(b)
                maps.append((w, size, np.array([(v @ last) @ b, spread])))
            else:
                maps.append((w, size, b))
        return cls(tuple(maps), layers.field.activation)

    @property
    def dimension(self) -> int:
        """D."""
        return self.maps[0][0].shape[1]

    def between(self, centre: Array, radius: Array) -> tuple[Array, Array]:
        """(B,) each: bounds of v.f on boxes with these centres and radii, (D, B) each."""
        value, error, _ = self._forward(centre, radius)
        return value - error, value + error

    def slopes(self, centre: Array, radius: Array) -> tuple[Array, Array]:
        """(D, B) each: bounds of the gradient of v.f on the boxes."""
        return self._backward(self._forward(centre, radius)[2], centre.shape[1])

    def _forward(self, c: Array, r: Array) -> tuple[Array, Array, list[tuple[Array, Array]]]:
        """Centre and radius of the interval of v.f, (B,) each, and the slopes, layer by layer."""
        slopes, sigma = [], self.activation
        for w, size, b in self.maps[:-1]:
            error = np.abs(w) @ r + ROUNDING * (size @ (np.abs(c) + r) + np.abs(b)[:, None])
            u = w @ c + b[:, None]
            low, high = u - error, u + error
            slopes.append(_slopes(sigma, low, high))
            low, high = sigma.value(low), sigma.value(high)
            c = 0.5 * (low + high)
            r = 0.5 * (high - low) + ROUNDING * np.maximum(np.abs(low), np.abs(high))
        w, size, (b, spread) = self.maps[-1]
        error = np.abs(w) @ r + ROUNDING * (size @ (np.abs(c) + r) + abs(b))
        return (w @ c)[0] + b, error[0] + spread, slopes

    def _backward(self, slopes: list[tuple[Array, Array]], count: int) -> tuple[Array, Array]:
        w, size, _ = self.maps[-1]
        c = np.broadcast_to(w.T, (w.shape[1], count))
        r = np.broadcast_to(ROUNDING * size.T, c.shape)
        for (w, size, _), (least, most) in zip(
            reversed(self.maps[:-1]), reversed(slopes), strict=True
        ):
            low, high = c - r, c + r
            low = np.where(low < 0.0, low * most, low * least)
            high = np.where(high > 0.0, high * most, high * least)
            c, r = 0.5 * (low + high), 0.5 * (high - low)
            c, r = w.T @ c, np.abs(w).T @ r + ROUNDING * (size.T @ (np.abs(c) + r))
        return c - r, c + r

    def enclosed(self, centre: Array, radius: Array) -> "Enclosed":
        """Bounds of v.f below, and where it is least."""
        value, error, slopes = self._forward(centre, radius)
        low, high = self._backward(slopes, centre.shape[1])
        size = np.maximum(np.abs(low), np.abs(high))
        # centre -+ radius is exact where it cancels (Sterbenz), else good to its own last place
        rises, falls = low > 0.0, high < 0.0
        moved = np.where(rises, centre - radius, np.where(falls, centre + radius, centre))
        radius = np.where(rises | falls, 0.0, radius)
        middle, blur, _ = self._forward(moved, np.zeros_like(radius))
        changes = size * radius
        at_middle = middle - blur - (1.0 + ROUNDING) * np.sum(changes, axis=0)
        return Enclosed(np.maximum(value - error, at_middle), middle + blur, moved, radius, changes)


@dataclass(frozen=True, eq=False)
class Enclosed:
    """v.f on boxes.

    low : (B,), no value is below;  high : (B,), the value at `centre` is not above
    centre, radius : (D, B), the part of each box where v.f is least
    changes : (D, B), how far v.f changes along each coordinate from there, at most
    """

    low: Array
    high: Array
    centre: Array
    radius: Array
    changes: Array


def _slopes(sigma: Activation, low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds of sigma' between low and high."""
    if sigma is identity:
        return np.ones_like(low), np.ones_like(low)
    if sigma.slope_extrema is None:
        return np.zeros_like(low), np.full_like(low, sigma.lipschitz)
    ends = [sigma.derivative(low), sigma.derivative(high)]
    least, most = np.minimum(*ends), np.maximum(*ends)
    for at in sigma.slope_extrema:
        inside = (low < at) & (high > at)
        value = float(sigma.derivative(np.array([at]))[0])
        least = np.where(inside, np.minimum(least, value), least)
        most = np.where(inside, np.maximum(most, value), most)
    return least * (1.0 - ROUNDING), most * (1.0 + ROUNDING)


# -- branch and bound

Bounded = Callable[[Array, Array, Array], Enclosed]
"""What bounds a function of item i on boxes: from items (B,), centres and radii (D, B)."""


@dataclass(frozen=True, eq=False)
class Least:
    """Of the minimum of a function over the box of each item, (I,) each.

    low : it is not below this;  high : it is not above this, the value at a point
    count : how many boxes were looked at
    """

    low: Array
    high: Array
    count: int


def least(
    bounded: Bounded,
    centre: Array,
    radius: Array,
    *,
    target: float | None = None,
    gap: float = 1e-2,
    most: int = 2000,
) -> Least:
    """Bounds of the minimum over a box for each of I items, by branch and bound.

    centre, radius : (D, I)
    target : boxes are cut until low > target or high <= target; with None until
        high - low <= gap |high|
    most : boxes of one item that are looked at, at most
    """
    items = np.arange(centre.shape[1])
    low, high = np.full(items.size, np.inf), np.full(items.size, np.inf)
    looked, total = np.zeros(items.size, dtype=int), 0
    while items.size:
        parts = [slice(s, s + _AT_ONCE) for s in range(0, items.size, _AT_ONCE)]
        found = [bounded(items[p], centre[:, p], radius[:, p]) for p in parts]
        below = np.concatenate([f.low for f in found])
        np.minimum.at(high, items, np.concatenate([f.high for f in found]))
        np.add.at(looked, items, 1)
        total += items.size
        enough = (
            high * (1.0 - np.sign(high) * gap) if target is None else np.full(high.size, target)
        )
        done = below > enough[items] if target is not None else below >= enough[items]
        if target is not None:
            done |= high[items] <= target
        changes = np.concatenate([f.changes for f in found], axis=1)
        done |= (looked[items] > most) | ~(np.max(changes, axis=0) > 0.0)
        np.minimum.at(low, items[done], below[done])
        left = ~done
        centre = np.concatenate([f.centre for f in found], axis=1)[:, left]
        radius = np.concatenate([f.radius for f in found], axis=1)[:, left]
        items, column = items[left], np.arange(int(left.sum()))
        axis = np.argmax(changes[:, left], axis=0)
        half = np.zeros_like(radius)
        half[axis, column] = 0.5 * radius[axis, column]
        # the halves overlap by more than the rounding of their centres
        radius = np.where(half > 0.0, half + 4e-16 * (np.abs(centre) + half), radius)
        centre = np.concatenate([centre - half, centre + half], axis=1)
        radius = np.concatenate([radius, radius], axis=1)
        items = np.concatenate([items, items])
    return Least(low, high, total)


# -- estimates


def estimated_lipschitz(layers: Layers, states: Array, inputs: Array, times: Array) -> float:
    """The largest |D_x f| in the maximum norm at points (states (k, Q), inputs (n, Q), times (Q,)):
    an estimate, at most the bound for all points.
    """
    z = np.concatenate([states, inputs, times[None, :]])
    z = z if layers.field.timed else z[:-1]
    k, n = layers.field.units, layers.field.inputs
    found = []
    for v in np.eye(k):
        low, high = layers.row(v).slopes(z, np.zeros_like(z))
        found.append(np.sum(np.abs(0.5 * (low + high)[k : k + n]), axis=0))
    return float(np.max(found))
