"""Terms without a gradient and sets that keep the layers apart: their proximal maps on every layer,
with derivatives.

A control is x (K, m), K layers, with x = w^(1/2) u, w the weights of the blocks, so that the norm
of the space is (sum_k tau_k |x_k|^2)^(1/2).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from continuum.arrays import Array
from continuum.penalties import counted, terms_of
from continuum.sets import Amplitude
from continuum.sparsity import L1

from ..adjoint.coefficients import Columns
from .objective import Composite

_TINY = 1e-300


class Derivative(NamedTuple):
    """The derivative of a proximal map, diagonal in the coordinates turn_k x_k.

    turn : (K, m, m), symmetric and orthogonal; None for none
    slope : (K, m), in (0, 1]
    pinned : (K, m), where it is 0 instead
    """

    turn: Array | None
    slope: Array
    pinned: Array


class LayerTerms(Protocol):
    """R(x) = sum_k tau_k r(x_k), and a set of x_k."""

    def density(self, x: Array) -> Array:
        """(K,): r."""
        ...

    def prox(self, y: Array, step: float) -> Array:
        """(K, m): argmin |z - y|^2 / 2 + step r(z) over the set, its nearest point for step 0."""
        ...

    def derivative(self, y: Array, step: float) -> Derivative:
        """Of prox in y; one of those that it has where it has a kink."""
        ...


@dataclass(frozen=True)
class Joint:
    """r = strength |x|, |x| <= bound.

    With a = step strength the derivative is 0 where |y| <= a; 1 along y and 1 - a / |y| across it
    where |y| <= a + bound; and 0 along y and bound / |y| across it beyond.
    """

    strength: float
    bound: float

    def density(self, x: Array) -> Array:
        return self.strength * norms(x)

    def prox(self, y: Array, step: float) -> Array:
        size = norms(y)
        wanted = np.clip(size - step * self.strength, 0.0, self.bound)
        return y * (wanted / np.maximum(size, _TINY))[:, None]

    def derivative(self, y: Array, step: float) -> Derivative:
        size, level = norms(y), step * self.strength
        full = size >= level + self.bound
        across = np.maximum(1.0 - level / np.maximum(size, _TINY), 0.0)
        across[full] = min(self.bound, 1e300) / size[full]
        slope = np.repeat(across[:, None], y.shape[1], axis=1)
        slope[:, 0] = 1.0
        pinned = np.zeros(slope.shape, dtype=bool)
        if level > 0.0:
            pinned[size <= level] = True
        pinned[full, 0] = True
        return Derivative(reflections(y), slope, pinned)


@dataclass(frozen=True, eq=False)
class Entries:
    """r = sum_i strengths_i |x_i|, low_i <= x_i <= high_i; all (m,).  The derivative is 0 or 1."""

    strengths: Array
    low: Array
    high: Array

    def density(self, x: Array) -> Array:
        return np.abs(x) @ self.strengths

    def prox(self, y: Array, step: float) -> Array:
        return np.clip(self._shrunk(y, step), self.low, self.high)

    def derivative(self, y: Array, step: float) -> Derivative:
        shrunk, level = self._shrunk(y, step), step * self.strengths
        off = (np.abs(y) <= level) & (level > 0.0)
        pinned = off | (shrunk <= self.low) | (shrunk >= self.high)
        return Derivative(None, np.ones(y.shape), pinned)

    def _shrunk(self, y: Array, step: float) -> Array:
        return np.sign(y) * np.maximum(np.abs(y) - step * self.strengths, 0.0)


def layer_terms(problem: Composite, columns: Columns) -> LayerTerms | None:
    """Those of a problem; None if they are of another kind: L1 by entries with a Box, or
    L1(groups="joint") of all blocks with an Amplitude, each or both.
    """
    space, terms = problem.space, terms_of(problem.penalty)
    found = [t for t in terms if isinstance(t, L1)]
    if len(found) < len(terms):
        return None
    if all(t.whole(space) for t in found) and (
        problem.admissible is None or isinstance(problem.admissible, Amplitude)
    ):
        bound = np.inf if problem.admissible is None else problem.admissible.bound
        return Joint(sum(t.strength for t in found), bound)
    if any(t.groups != "entries" for t in found) or problem.intervals is None:
        return None
    root = roots(columns)
    strengths, ends = np.zeros(columns.m), np.empty((2, columns.m))
    for block in space.trained:
        part = columns.part(block)
        own = sum(t.strength for t in found if block.name in counted(t, space))
        strengths[part] = own * root[part]
        ends[:, part] = np.outer(problem.intervals[block.name], root[part])
    return Entries(strengths, *ends)


def roots(columns: Columns) -> Array:
    """(m,): w^(1/2), by columns."""
    weights = np.empty(columns.m)
    for block in columns.space.trained:
        if block.time != "static":
            weights[columns.part(block)] = np.broadcast_to(block.weights, block.shape).ravel()
    return np.sqrt(weights)


def norms(x: Array) -> Array:
    """(K,): |x_k|."""
    return np.sqrt(np.sum(x * x, axis=1))


def reflections(y: Array) -> Array:
    """(K, m, m): the symmetric reflections that exchange y / |y| and the first axis, up to a sign;
    the identity up to a sign where y = 0.
    """
    size = norms(y)
    normal = y / np.where(size > 0.0, size, 1.0)[:, None]
    normal[:, 0] += np.where(normal[:, 0] >= 0.0, 1.0, -1.0)
    square = np.sum(normal * normal, axis=1)
    outer = normal[:, :, None] * normal[:, None, :]
    return np.eye(y.shape[1]) - 2.0 * outer / square[:, None, None]
