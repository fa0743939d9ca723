"""Embedded pairs, as data: explicit methods that estimate their own error, and fill in between
their steps.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from continuum.arrays import Array, namespace
from continuum.checks import check_positive, store
from continuum.doors import checked

from . import dop853_table
from .tableaux import RungeKutta, Velocity, combine, tableau


@dataclass(frozen=True, kw_only=True)
class AdaptiveRungeKutta(RungeKutta):
    """An explicit method with an error estimate, whose steps are chosen so that it meets
    tolerances.

    A step is accepted if its error estimate e satisfies, for every sample,
    sqrt(sum_i w_i (e_i / (atol + rtol max(|f_i|, |f_i new|)))^2 / sum_i w_i) <= 1: all samples
    share the steps, and the worst one decides.

    rtol, atol : relative and absolute tolerance, both > 0; they have no defaults
    max_step : no step is longer; a pulse shorter than a step can go unseen, whatever the tolerances
    raises TypeError if a tolerance is missing: rtol=1e-8, atol=1e-10 is a pair to start from
    """

    rtol: float | None = None
    atol: float | None = None
    max_step: float = inf

    error_order: ClassVar[int]
    """e = O(h^(error_order + 1)): how much a step must shrink for an error that is too large."""
    error_constant: ClassVar[float]
    """e / h^(error_order + 1) as h -> 0, for f' = f at f = 1: where the first step starts from."""
    stable: ClassVar[float]
    """f' = -f is stable with steps up to this length."""
    first_same_as_last: ClassVar[bool]
    """The last slope of an accepted step is the first of the next."""
    error: ClassVar[Array]
    """e = h sum_i error_i k_i: the weights b minus those of the embedded method."""

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is None:
                raise TypeError(
                    f"{name} has no default; for example {type(self).__name__}(rtol=1e-8, "
                    f"atol=1e-10)"
                )
            store(self, check_positive, name)
        if self.max_step != inf:
            store(self, check_positive, "max_step")

    @property
    def adaptive(self) -> bool:
        return True

    @property
    def tolerances(self) -> tuple[float, float]:
        """(rtol, atol)."""
        return float(self.rtol or 0.0), float(self.atol or 0.0)

    def scaled_error(self, h: float, slopes: list[Array], scale: Array, w: Array) -> float:
        """The error estimate of a step, in units of `scale`, of the worst sample; NaN or inf if not
        finite.
        """
        e = combine(namespace(scale).zeros_like(scale), h, self.error, slopes)
        return worst(mean_square(e / scale, w))

    @abstractmethod
    def interpolant(
        self, velocity: Velocity, t: float, h: float, f: Array, slopes: list[Array]
    ) -> Callable[[float], Array]:
        """theta -> the state at t + theta h, 0 <= theta <= 1, inside an accepted step from f with
        these slopes.
        """


def mean_square(x: Array, w: Array) -> Array:
    """(M,): sum_i w_i x_im^2 / sum_i w_i."""
    xp = namespace(x)
    return xp.sum(w[:, None] * x * x, axis=0) / xp.sum(w)


def worst(squares: Array) -> float:
    """The root of the largest."""
    xp = namespace(squares)
    return float(xp.sqrt(xp.max(squares)))


@checked
@dataclass(frozen=True, kw_only=True)
class DormandPrince(AdaptiveRungeKutta):
    """Dormand and Prince's 5(4) pair with adaptive steps and a continuous extension of order 4.

    Source: Dormand and Prince (1980); the interpolant is Shampine's (1986).
    """

    order = 5
    error_order = 4
    error_constant = 97 / 120000
    stable = 3.30656789
    first_same_as_last = True
    a = tableau(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    )
    b = np.array([35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0])
    c = np.array([0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0])
    error = np.array([71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40])
    extension: ClassVar[Array] = np.array(
        [
            [1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
            [0.0, 0.0, 0.0, 0.0],
            [
                0.0,
                131558114200 / 32700410799,
                -68118460800 / 10900136933,
                87487479700 / 32700410799,
            ],
            [0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
            [
                0.0,
                127303824393 / 49829197408,
                -318862633887 / 49829197408,
                701980252875 / 199316789632,
            ],
            [0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
            [0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
        ]
    )
    """f(t + theta h) = f + h sum_ij k_i extension_ij theta^(j+1)."""

    def interpolant(
        self, velocity: Velocity, t: float, h: float, f: Array, slopes: list[Array]
    ) -> Callable[[float], Array]:
        """Shampine's polynomial, of order 4; it needs no further slopes."""
        return lambda theta: combine(f, h, self.extension @ theta ** np.arange(1, 5), slopes)


@checked
@dataclass(frozen=True, kw_only=True)
class DOP853(AdaptiveRungeKutta):
    """Dormand and Prince's pair of order 8 with adaptive steps and a continuous extension of order
    7.

    With e5, e3 the estimates of orders 5 and 3 and |.| the norm of a step's acceptance, the
    estimate is |e5|^2 / sqrt(|e5|^2 + |e3|^2 / 100): it is O(h^8), and large where either is.

    Source: Hairer, Norsett and Wanner, Solving ordinary differential equations I, II.5, II.6 and
    II.10.
    """

    order = 8
    error_order = 7
    error_constant = 4.333903103658316e-7
    stable = 6.39365152
    first_same_as_last = True
    a, b, c, error = dop853_table.A, dop853_table.B, dop853_table.C, dop853_table.ERROR_5

    def scaled_error(self, h: float, slopes: list[Array], scale: Array, w: Array) -> float:
        """h |e5|^2 / sqrt(|e5|^2 + |e3|^2 / 100) of the worst sample."""
        xp = namespace(scale)
        zero = xp.zeros_like(scale)
        fifth, third = (
            mean_square(combine(zero, h, weights, slopes) / scale, w)
            for weights in (dop853_table.ERROR_5, dop853_table.ERROR_3)
        )
        both = fifth + 0.01 * third
        share = fifth / xp.where(both > 0, both, xp.ones_like(both))
        return worst(fifth * share)

    def interpolant(
        self, velocity: Velocity, t: float, h: float, f: Array, slopes: list[Array]
    ) -> Callable[[float], Array]:
        """The polynomial of order 7; its three further slopes are computed when it is first
        asked.
        """
        known = list(slopes)

        def state(theta: float) -> Array:
            if len(known) == len(slopes):
                for row, c in zip(dop853_table.EXTRA_A, dop853_table.EXTRA_C, strict=True):
                    known.append(velocity(t + float(c) * h, combine(f, h, row, known)))
            return combine(f, h, _dop853_weights(theta), known)

        return state


def _dop853_weights(theta: float) -> Array:
    """The beta_i(theta) of f(t + theta h) = f + h sum_i beta_i k_i, i = 1, ..., 16."""
    b, first, last = np.zeros(16), np.zeros(16), np.zeros(16)
    b[:13], first[0], last[12] = dop853_table.B, 1.0, 1.0
    nested = np.zeros(16)
    rows = [b, first - b, 2 * b - last - first, *dop853_table.D]
    for n, row in enumerate(reversed(rows)):
        nested = (nested + row) * (theta if n % 2 == 0 else 1 - theta)
    return nested
