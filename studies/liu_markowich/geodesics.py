"""Extremals without a set are geodesics: a reference for how many there are.

    minimise |f(T) - f~|^2 / 2 + lambda int (|a|^2 + |b|^2) dt,  f_t = a - Bf,  f(0) = f_I

on two halves of (0, 1), f_I = (start, 0), f~ = (target, 0), start < 0 < target: the problem of
LM-55 with a penalty instead of the box, from the other side of 0.  Of all (a, b) with a given f_t
the cheapest costs |f_t|^2 / (1 + |f|^2) (LM-50), so extremals are geodesics of that metric, run
through at constant speed, and T enters as lambda / T alone.  With (x, y) = f / sqrt 2, whose
Euclidean norm is that of f, x(0) = -sinh theta_0 and X = target / sqrt 2:

Block 2 at rest: x = sinh theta, theta linear in time, from -theta_0 to theta_1, where
(X - sinh theta_1) cosh theta_1 = 2 lambda (theta_1 + theta_0) / T.

Perturbations of block 2 along it, y = cosh(theta) eta, satisfy Jacobi's equation eta'' + 2 eta /
cosh^2 theta = 0 in theta, eta(-theta_0) = 0.  It is a minimum until the solution satisfies the end
condition y + 2 lambda y_t / cosh^2 theta = 0 at theta_1, too: there the two mirror images branch
off.

All others leave in a direction (cos alpha, sin alpha), alpha > 0 up to sign; with q = (1 + x^2 +
y^2)^(1/2), in the arclength s of the metric,

    x' = q cos beta,  y' = q sin beta,  beta' = (x sin beta - y cos beta) / q,

they end where the tangent points to f~, and 2 lambda s / T is q times the distance from it.
"""

from dataclasses import dataclass
from math import cos, sin, sqrt

import numpy as np
import scipy.integrate
import scipy.optimize

EVENTS = ("fold", "equal values", "pitchfork")
LONGEST = 6.0
"""Arclength up to which extremals are looked for."""


@dataclass(frozen=True)
class Extremals:
    """Those of the differential equation: block 2 at rest, and by the angle in which they leave."""

    start: float
    target: float
    strength: float

    @property
    def ends(self) -> tuple[float, float]:
        """theta_0 and X."""
        return float(np.arcsinh(-self.start * 0.5**0.5)), self.target * 0.5**0.5

    def at_rest(self, horizon: float) -> float:
        """J of the extremal with block 2 at rest; of one of them where there are several."""
        first, X = self.ends

        def gap(theta: float) -> float:
            left = (X - np.sinh(theta)) * np.cosh(theta) * horizon
            return float(left - 2.0 * self.strength * (theta + first))

        theta = float(scipy.optimize.brentq(gap, -first, np.arcsinh(X), xtol=1e-14))  # type: ignore[arg-type]
        cost = self.strength / horizon * (theta + first) ** 2
        return float(0.5 * (X - np.sinh(theta)) ** 2 + cost)

    def pitchfork(self) -> float:
        """The horizon at which it ceases to be a minimum; NaN if it never does.

        eta = (theta tanh theta - 1) tanh theta_0 + (theta_0 tanh theta_0 - 1) tanh theta.
        """
        first, X = self.ends
        other = first * np.tanh(first) - 1.0

        def focal(theta: float) -> float:
            slope = 1.0 / np.cosh(theta) ** 2
            eta = (theta * np.tanh(theta) - 1.0) * np.tanh(first) + other * np.tanh(theta)
            change = (np.tanh(theta) + theta * slope) * np.tanh(first) + other * slope
            rate = np.sinh(theta) * eta + np.cosh(theta) * change
            return float(eta * np.cosh(theta) ** 2 + (X - np.sinh(theta)) * rate)

        last = float(np.arcsinh(X))
        if focal(-first) * focal(last) >= 0.0:
            return float("nan")
        theta = float(scipy.optimize.brentq(focal, -first, last, xtol=1e-15))  # type: ignore[arg-type]
        pull = (X - np.sinh(theta)) * np.cosh(theta)
        return float(2.0 * self.strength * (theta + first) / pull)

    def leaving(self, angle: float) -> tuple[float, float, float]:
        """(T, f_2(T), J) of the extremal that leaves at an angle in (0, pi); NaN if it has none up
        to LONGEST.
        """
        first, X = self.ends

        def rate(_: float, z: np.ndarray) -> list[float]:
            x, y, beta = z.tolist()
            q, along, across = sqrt(1.0 + x * x + y * y), cos(beta), sin(beta)
            return [q * along, q * across, (x * across - y * along) / q]

        def beside(_: float, z: np.ndarray) -> float:
            return -sin(z[2]) * (X - z[0]) - cos(z[2]) * z[1]

        beside.terminal = True
        found = scipy.integrate.solve_ivp(
            rate,
            (0.0, LONGEST),
            [-np.sinh(first), 0.0, angle],
            "DOP853",
            events=beside,
            max_step=0.1,  # near f~ it changes its sign twice
            rtol=1e-12,
            atol=1e-13,
        )
        if not len(found.t_events[0]):
            return float("nan"), float("nan"), float("nan")
        s, (x, y, beta) = float(found.t_events[0][0]), found.y_events[0][0]
        ahead = np.cos(beta) * (X - x) - np.sin(beta) * y
        if ahead <= 0.0:
            return float("nan"), float("nan"), float("nan")
        horizon = float(2.0 * self.strength * s / (ahead * np.sqrt(1.0 + x * x + y * y)))
        cost = 0.5 * ((X - x) ** 2 + y * y) + self.strength / horizon * s * s
        return horizon, float(y) * 2.0**0.5, float(cost)

    def curve(self, points: int) -> np.ndarray:
        """(3, P): those of `leaving` that exist, of increasing angles, dense towards the largest,
        where T grows without bound; here it ends at about 30 strength.
        """
        angles = np.linspace(0.005, np.pi - 0.005, points)
        found = [self.leaving(float(x)) for x in angles]
        known = np.flatnonzero(np.isfinite([T for T, *_ in found]))
        if not len(known):
            return np.empty((3, 0))
        kept = [found[k] for k in known]
        inside, outside = float(angles[known[-1]]), float(angles[min(known[-1] + 1, points - 1)])
        for _ in range(20):
            middle = 0.5 * (inside + outside)
            one = self.leaving(middle)
            if np.isfinite(one[0]):
                inside = middle
                kept.append(one)
            else:
                outside = middle
        return np.array(kept).T

    def events(self) -> dict[str, float]:
        """The horizons of EVENTS: of a fold before the pitchfork, and where J is then equal to that
        of the extremal with block 2 at rest; NaN for what there is not.
        """
        pitchfork, nan = self.pitchfork(), float("nan")
        if np.isnan(pitchfork):
            return dict.fromkeys(EVENTS, nan)
        angles = np.linspace(0.01, 3.13, 61)
        times = np.array([self.leaving(x)[0] for x in angles])
        k = int(np.nanargmin(times))
        if k == 0 or times[k] >= pitchfork:
            return dict(zip(EVENTS, (nan, nan, pitchfork), strict=True))
        nearby = float(angles[k - 1]), float(angles[k + 1])
        bend: float = scipy.optimize.fminbound(  # type: ignore[assignment]
            lambda x: self.leaving(x)[0], *nearby, xtol=1e-9
        )

        def gap(angle: float) -> float:
            horizon, _, cost = self.leaving(angle)
            return cost - self.at_rest(horizon)

        beyond = next(x for x, t in zip(angles[k:], times[k:], strict=True) if t > pitchfork)
        equal = float(scipy.optimize.brentq(gap, bend, float(beyond), xtol=1e-13))  # type: ignore[arg-type]
        fold, where = self.leaving(bend)[0], self.leaving(equal)[0]
        return dict(zip(EVENTS, (fold, where, pitchfork), strict=True))
