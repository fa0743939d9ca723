"""The fixture of deterministic numbers on which gradients are compared (ledger, section A5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from continuum import Control, ControlSpace, tanh
from continuum.arrays import Array
from continuum.networks import LearnedField

STATES, INPUTS, WIDTH = 3, 2, 4
"""k, n, h."""
LABELS = np.array([0, 2, 1])
"""y of the three samples."""
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""t of the five states."""


def det(shape: int | Sequence[int], phase: float) -> Array:
    """sin(phase + 1.7 i), i = 0, 1, ... row by row."""
    return np.sin(phase + 1.7 * np.arange(np.prod(shape))).reshape(shape)


@dataclass(frozen=True, eq=False)
class Fixture:
    """F(k=3, n=2, h=4, layers, amp): a field, its parameters and its data.

    The parameters We (h, k), Wx (h, n), wt (h,), b1 (h,), [W2 (h, h), b2 (h,)], Wo (k, h), bo (k,)
    are numbered j = 1, 2, ...; each is amp det(shape, j).  weight1 is [We | Wx | wt].

    layers : 1 or 2 hidden ones;  amp : the amplitude
    """

    layers: int
    amp: float

    @property
    def field(self) -> LearnedField:
        """f(eta, x, t), sigma = tanh, scale 1."""
        return LearnedField(STATES, INPUTS, (WIDTH,) * self.layers, tanh)

    @property
    def inputs(self) -> Array:
        """x (n, 3), a column per sample."""
        return det((3, INPUTS), 0.3).T.copy()

    @property
    def states(self) -> Array:
        """(k, 5): a column per state; the state s is paired with TIMES[s]."""
        return 2.0 * det((5, STATES), 0.7).T

    def values(self) -> dict[str, Array]:
        """The blocks of the field."""
        shapes: list[tuple[int, ...]] = [(WIDTH, STATES), (WIDTH, INPUTS), (WIDTH,), (WIDTH,)]
        shapes += [(WIDTH, WIDTH), (WIDTH,)] * (self.layers - 1) + [(STATES, WIDTH), (STATES,)]
        numbers = [self.amp * det(shape, j) for j, shape in enumerate(shapes, start=1)]
        first = np.concatenate([numbers[0], numbers[1], numbers[2][:, None]], axis=1)
        found = {"weight1": first, "bias1": numbers[3]}
        for n, (weight, bias) in enumerate(zip(numbers[4::2], numbers[5::2], strict=True), start=2):
            found |= {f"weight{n}": weight, f"bias{n}": bias}
        return found

    def control(self, space: ControlSpace, **others: Array) -> Control:
        """The parameters as a control of the space; others : values of further blocks."""
        return space.sample(**self.values(), **others)


def norm(gradient: Control) -> float:
    """|G|: the Euclidean norm of all derivatives in static blocks."""
    return float(np.sqrt(sum(np.sum(g**2) for g in gradient.values())))
