"""The problems on which laws are asked: {autonomous, dependent on t} x readout x cost.

Every network is f_t = rate(t) F(f, c), rate = 1 where it is autonomous; F(f, c) is homogeneous of
degree one in the control where `activation` is the identity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from continuum import (
    Affine,
    Block,
    Integral,
    Interval,
    LearningProblem,
    Network,
    Projection,
    SquaredError,
    State,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)

READOUTS = ("State", "Projection", "Affine", "Integral")
COSTS = ("terminal", "running", "both")
ALL = [" ".join(case) for case in product(("autonomous", "timed"), READOUTS, COSTS)]
UNITS = 2
RUNNING = 0.8
"""The weight of the running cost."""


def one_third(t):
    """The rate 1 - 3 t: it vanishes and changes its sign at t = 1/3."""
    return 1.0 - 3.0 * t


def swing(t):
    """The rate 1 + sin(4 t) / 2."""
    return 1.0 + 0.5 * np.sin(4.0 * t)


@dataclass(frozen=True, eq=False)
class Paced(Network):
    """f_t = rate(t) F(f, c), F the velocity of `inner`; it needs t, and does not broadcast."""

    inner: Network
    rate: Callable[[float], float]

    @property
    def weights(self):
        return self.inner.weights

    @property
    def grid(self):
        return getattr(self.inner, "grid", None)

    def blocks(self, in_time="layers"):
        return self.inner.blocks(in_time)

    @property
    def affine_in_control(self):
        return self.inner.affine_in_control

    def velocity(self, f, c, t):
        return self.rate(t) * self.inner.velocity(f, c, t)

    def jvp(self, f, c, t, df, dc):
        return self.rate(t) * self.inner.jvp(f, c, t, df, dc)

    def vjp(self, f, c, t, p):
        return self.inner.vjp(f, c, t, self.rate(t) * p)

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        return self.inner.vjp_derivative(f, c, t, self.rate(t) * p, df, dc, self.rate(t) * dp)

    def formula(self):
        return f"{self.inner.formula()}, times rate(t)"


@dataclass(frozen=True, eq=False)
class Gain(Network):
    """x' = rate(t) gain g(x) in R, one block "gain" (1,); g = 1 unless said otherwise."""

    rate: Callable[[float], float]
    slope: float = 0.0
    """g(x) = 1 + slope x."""

    @property
    def weights(self):
        return np.ones(1)

    @property
    def affine_in_control(self):
        return True

    def blocks(self, in_time="layers"):
        return (Block("gain", (1,), in_time, np.ones(1)),)

    def _g(self, f):
        return 1.0 + self.slope * f

    def velocity(self, f, c, t):
        return self.rate(t) * c["gain"][:, None] * self._g(f)

    def jvp(self, f, c, t, df, dc):
        found = c["gain"][:, None] * self.slope * df
        if "gain" in dc:
            found = found + dc["gain"][:, None] * self._g(f)
        return self.rate(t) * found

    def vjp(self, f, c, t, p):
        r = self.rate(t) * p
        return self.slope * c["gain"][:, None] * r, {"gain": np.sum(r * self._g(f), axis=-1)}

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        r, dr = self.rate(t) * p, self.rate(t) * dp
        back = self.slope * c["gain"][:, None] * dr
        if "gain" in dc:
            back = back + self.slope * dc["gain"][:, None] * r
        return back, {"gain": np.sum(dr * self._g(f) + r * self.slope * df, axis=-1)}

    def formula(self):
        return "f_t = rate(t) gain (1 + slope f)"


def network(kind, activation=identity, rate=swing):
    """On a grid of two nodes with uneven weights: autonomous, or with a rate."""
    inner = WidthDepth(gauss_legendre(Interval(0, 1), UNITS), activation)
    return inner if kind == "autonomous" else Paced(inner, rate)


def readout(name):
    """State, Projection on one number, Affine and Integral with fixed, uneven parameters."""
    weight = np.array([[0.7, -0.4], [0.3, 1.1]])
    offset = np.array([0.1, -0.2])
    fixed = {"readout.W": weight, "readout.mu": offset}
    return {
        "State": lambda: State(),
        "Projection": lambda: Projection(np.array([[1.0, -0.5]])),
        "Affine": lambda: Affine(2, link=tanh, fixed=fixed),
        "Integral": lambda: Integral(fixed=fixed),
    }[name]()


def targets(name, samples):
    """Targets that none of the controls met here reaches."""
    outputs = 1 if name == "Projection" else 2
    return np.array([[0.9, -0.3, 0.5], [0.2, 0.8, -0.4]])[:outputs, :samples]


def losses(cost):
    """The arguments terminal and running."""
    return {
        "terminal": {"terminal": SquaredError(), "running": None},
        "running": {"terminal": None, "running": SquaredError(RUNNING)},
        "both": {"terminal": SquaredError(), "running": SquaredError(RUNNING)},
    }[cost]


def problem(
    case,
    *,
    mesh=None,
    activation=identity,
    strength=0.1,
    samples=2,
    rate=swing,
    **changes,
):
    """One case of ALL, with a Tikhonov term and uneven sample weights."""
    kind, name, cost = case.split()
    given = {
        "readout": readout(name),
        "penalty": Tikhonov(strength),
        "sample_weights": np.array([1.0, 3.0, 2.0])[:samples],
        "initial": np.array([[0.4, -0.7, 0.2], [-0.5, 0.3, 0.9]])[:, :samples],
        "target": targets(name, samples),
        "controls": TimeMesh(1.0, 6, grading=1.3) if mesh is None else mesh,
        **losses(cost),
    }
    return LearningProblem(network(kind, activation, rate), **{**given, **changes})
