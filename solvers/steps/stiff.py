"""Implicit methods that estimate their own error, as data, and fill in between their steps.

With tolerances their steps are chosen by `flow.stiff_steps`; without, they are fixed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_positive, store
from continuum.doors import checked

from .implicit import ImplicitRungeKutta
from .tableaux import Velocity, combine, tableau


@dataclass(frozen=True, kw_only=True)
class EmbeddedImplicit(ImplicitRungeKutta):
    """An implicit method with an error estimate: its steps are fixed, or chosen by tolerances.

    rtol, atol : both > 0, or neither; with them, steps are chosen: one is accepted if its error
        estimate e satisfies, for every sample,
        sqrt(sum_i w_i (e_i / (atol + rtol max(|f_i|, |f_i new|)))^2 / sum_i w_i) <= 1.  All
        samples share the steps, and the worst one decides.  The estimate is of the ends of steps:
        states inside (`save` at times) are interpolated to O(h^4), which may be less accurate where
        a state near a stiff equilibrium allows long steps; max_step helps
    max_step : no chosen step is longer; a pulse shorter than a step can go unseen
    newton : how stages are solved in steps of known length, among them those of `discretize`.  Of
        it, chosen steps take krylov_above and preconditioner alone: their stages are solved by a
        simplified iteration, up to an error that is a small share of the tolerances
    raises TypeError if one of rtol and atol is missing
    """

    rtol: float | None = None
    atol: float | None = None
    max_step: float = inf

    error_order: ClassVar[int]
    """e = O(h^(error_order + 1))."""
    error_constant: ClassVar[float]
    """|e| / h^(error_order + 1) as h -> 0, for f' = f at f = 1: where the first step starts."""
    shift: ClassVar[float]
    """g of the matrix I - h g D F that every stage, or the real part of the coupled ones, has."""
    error: ClassVar[Array]
    """Of the estimate, see the method."""
    extension: ClassVar[Array]
    """f(t + theta h) = f + sum_ij slopes_i extension_ij theta^(j+1)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rtol is None and self.atol is None and self.max_step == inf:
            return
        for name in ("rtol", "atol"):
            if getattr(self, name) is None:
                raise TypeError(
                    f"{name} is missing: {type(self).__name__}(rtol=1e-6, atol=1e-9) chooses its "
                    f"steps, {type(self).__name__}() makes those it is given"
                )
            store(self, check_positive, name)
        if self.max_step != inf:
            store(self, check_positive, "max_step")

    @property
    def adaptive(self) -> bool:
        return self.rtol is not None

    @property
    def tolerances(self) -> tuple[float, float]:
        """(rtol, atol)."""
        return float(self.rtol or 0.0), float(self.atol or 0.0)

    def interpolant(
        self, velocity: Velocity, t: float, h: float, f: Array, slopes: list[Array]
    ) -> Callable[[float], Array]:
        """theta -> the state at t + theta h, 0 <= theta <= 1, inside an accepted step from f.

        slopes : the F_i - f where stages are coupled, else the h k_i
        """
        powers = np.arange(1, self.extension.shape[1] + 1)
        return lambda theta: combine(f, 1.0, self.extension @ theta**powers, slopes)


@checked
@dataclass(frozen=True, kw_only=True)
class RadauIIA5(EmbeddedImplicit):
    """Radau IIA: collocation at three points, solved for together.  Order 5, L-stable, stiffly
    accurate.

    With Z_i = F_i - f, the error estimate of a chosen step is e = (I - h g J)^-1 h g (F(t, f) +
    sum_i error_i Z_i / h), O(h^4); where a step was rejected, and for the first one, e is taken
    once more with F(t, f + e) for F(t, f).  Between the ends of a step, the state is the
    collocation polynomial, O(h^4).

    Source: Hairer and Wanner, Solving ordinary differential equations II, IV.5 and IV.8.
    """

    order = 5
    a = np.array(
        [
            [(88 - 7 * sqrt(6)) / 360, (296 - 169 * sqrt(6)) / 1800, (-2 + 3 * sqrt(6)) / 225],
            [(296 + 169 * sqrt(6)) / 1800, (88 + 7 * sqrt(6)) / 360, (-2 - 3 * sqrt(6)) / 225],
            [(16 - sqrt(6)) / 36, (16 + sqrt(6)) / 36, 1 / 9],
        ]
    )
    b = a[-1]
    c = np.array([(4 - sqrt(6)) / 10, (4 + sqrt(6)) / 10, 1.0])
    error_order = 3
    error_constant = 4.5814e-3
    shift = 1.0 / (3.0 + 3.0 ** (2 / 3) - 3.0 ** (1 / 3))
    complex_shift: ClassVar[complex] = 1.0 / complex(
        3.0 + 0.5 * (3.0 ** (1 / 3) - 3.0 ** (2 / 3)), -0.5 * (3.0 ** (5 / 6) + 3.0 ** (7 / 6))
    )
    """A^-1 = T diag(1 / shift, 1 / complex_shift and its conjugate) T^-1."""
    error: ClassVar[Array] = np.array([-13 - 7 * sqrt(6), -13 + 7 * sqrt(6), -1.0]) / 3
    to_stages: ClassVar[Array] = np.array(
        [
            [0.09443876248897524, -0.14125529502095421, 0.03002919410514742],
            [0.25021312296533332, 0.20412935229379994, -0.38294211275726192],
            [1.0, 1.0, 0.0],
        ]
    )
    """T in real form: Z = T W, W_2 and W_3 the parts of the complex unknown W_2 + i W_3."""
    from_stages: ClassVar[Array] = np.linalg.inv(to_stages)
    extension: ClassVar[Array] = np.array(
        [
            [13 / 3 + 7 * sqrt(6) / 3, -23 / 3 - 22 * sqrt(6) / 3, 10 / 3 + 5 * sqrt(6)],
            [13 / 3 - 7 * sqrt(6) / 3, -23 / 3 + 22 * sqrt(6) / 3, 10 / 3 - 5 * sqrt(6)],
            [1 / 3, -8 / 3, 10 / 3],
        ]
    )
    """f(t + theta h) = f + sum_ij Z_i extension_ij theta^(j+1)."""


def _extension(a: Array, b: Array, c: Array) -> Array:
    """(s, 4): coefficients d_ij of least squares with f + h sum_ij k_i d_ij theta^(j+1) of order 4,
    its slope k_1 at theta = 0 and k_s at 1, its value the new state at 1.

    For stages of order 2, order 4 is sum_i d_ij c_i^n = delta_jn / (n + 1), n = 0, ..., 3, and
    sum_i d_ij (A c^2)_i = delta_j3 / 12.
    """
    stages, powers = len(b), 4
    conditions = np.stack([*(c**n for n in range(powers)), a @ c**2])
    rows, right = [], []
    for j in range(powers):
        for n, condition in enumerate(conditions):
            row = np.zeros((stages, powers))
            row[:, j] = condition
            rows.append(row)
            goal = 1.0 / (n + 1) if n == j else 0.0
            right.append(goal if n < powers else (1.0 / 12.0 if j == powers - 1 else 0.0))
    for i in range(stages):
        for weights, goal in (
            (np.array([1.0, 0.0, 0.0, 0.0]), float(i == 0)),
            (np.ones(powers), b[i]),
            (np.arange(1.0, powers + 1), float(i == stages - 1)),
        ):
            row = np.zeros((stages, powers))
            row[i] = weights
            rows.append(row)
            right.append(goal)
    matrix = np.stack([row.reshape(-1) for row in rows])
    return np.linalg.lstsq(matrix, np.array(right), rcond=1e-10)[0].reshape(stages, powers)


_FIRST = (
    23 / 125,
    791020047304 / 3561426431547,
    -158159076358 / 11257294102345,
    -1653327111580 / 4048416487981,
    -4540011970825 / 8418487046959,
    -188593204321 / 4778616380481,
)
"""The first two entries of the rows, which are equal."""
_NEW = (
    _FIRST[5],
    _FIRST[5],
    2809310203510 / 10304234040467,
    1021729336898 / 2364210264653,
    870612361811 / 2470410392208,
    -1307970675534 / 8059683598661,
    23 / 125,
)
_EMBEDDED = (
    -582099335757 / 7214068459310,
    -582099335757 / 7214068459310,
    615023338567 / 3362626566945,
    3192122436311 / 6174152374399,
    6156034052041 / 14430468657929,
    -1011318518279 / 9693750372484,
    1914490192573 / 13754262428401,
)


@checked
@dataclass(frozen=True, kw_only=True)
class KennedyCarpenter5(EmbeddedImplicit):
    """Kennedy and Carpenter's 5(4) pair with an explicit first stage, then six one after the other,
    each like a backward Euler step with the same matrix.  Order 5, L-stable, stiffly accurate.

    The error estimate of a chosen step is e = (I - h g J)^-1 h sum_i error_i k_i, O(h^5).  Between
    the ends of a step, the state is a polynomial of order 4 with the right slopes at both ends.

    Source: Kennedy and Carpenter, Diagonally implicit Runge-Kutta methods for stiff ODEs (2019),
    ESDIRK5(4)7L[2]SA2.
    """

    order = 5
    shift = 23 / 125
    a = tableau(
        (),
        (23 / 125, 23 / 125),
        (_FIRST[1], _FIRST[1], 23 / 125),
        (_FIRST[2], _FIRST[2], -85517644447 / 5003708988389, 23 / 125),
        (
            _FIRST[3],
            _FIRST[3],
            1514767744496 / 9099671765375,
            14283835447591 / 12247432691556,
            23 / 125,
        ),
        (
            _FIRST[4],
            _FIRST[4],
            -1790937573418 / 7393406387169,
            10819093665085 / 7266595846747,
            4109463131231 / 7386972500302,
            23 / 125,
        ),
        _NEW,
    )
    b = np.array(_NEW)
    c = np.array(
        [
            0.0,
            46 / 125,
            7121331996143 / 11335814405378,
            49 / 353,
            3706679970760 / 5295570149437,
            347 / 382,
            1.0,
        ]
    )
    error_order = 4
    error_constant = 1.4134e-4
    error: ClassVar[Array] = np.array(_NEW) - np.array(_EMBEDDED)
    extension: ClassVar[Array] = _extension(a, b, c)
    """f(t + theta h) = f + h sum_ij k_i extension_ij theta^(j+1)."""
