"""What an inequality for V alone proves of the last value, and the perturbation it allows.

If V' <= -kappa V holds at the clean input x wherever V <= max(V(0), threshold), if |f(eta, x', t) -
f(eta, x, t)| <= L e in the maximum norm for |x' - x| <= e, and V is the cross-entropy of the state,
whose gradient has |g|_1 = 2 (1 - e^(-V)), then the perturbed path obeys, with d = 2 L e,

    V' <= -kappa V + d (1 - e^(-V)).

1 - e^(-V) <= min(1, V) gives two weaker certificates in closed form.  Where V(T) < threshold (log 2
for cross-entropy) the class is right.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from continuum.checks import check_name, check_positive
from continuum.doors import checked
from continuum.records import plain

ScalarKind = Literal["additive", "multiplicative", "sharp"]
SCALAR_KINDS: tuple[ScalarKind, ...] = ("additive", "multiplicative", "sharp")


@checked
@dataclass(frozen=True)
class ScalarCertificate:
    """Bounds of V(T) for V' <= -kappa V + d (1 - e^(-V)), V(0) = start.

        additive         e^(-kappa T) start + d (1 - e^(-kappa T)) / kappa
        multiplicative   e^(-(kappa - d) T) start
        sharp            v(T), v' = -kappa v + d (1 - e^(-v)), v(0) = start, to 1e-12

    kind : one of these;  kappa, start, horizon : > 0
    raises ValueError for other numbers and kinds
    """

    kind: ScalarKind
    kappa: float
    start: float
    horizon: float = 1.0

    to_dict = plain

    def __post_init__(self) -> None:
        check_name("kind", self.kind, SCALAR_KINDS)
        for name in ("kappa", "start", "horizon"):
            object.__setattr__(self, name, check_positive(name, getattr(self, name)))

    def bound(self, push: float) -> float:
        """The bound of V(T) for d = `push` >= 0."""
        if not push >= 0.0:
            raise ValueError(f"push must be >= 0, got {push!r}")
        kappa, start, horizon = self.kappa, self.start, self.horizon
        if self.kind == "additive":
            decay = np.exp(-kappa * horizon)
            return float(start * decay - push * np.expm1(-kappa * horizon) / kappa)
        if self.kind == "multiplicative":
            return float(start * np.exp((push - kappa) * horizon))
        run = solve_ivp(
            lambda _, v: -kappa * v - push * np.expm1(-v),
            (0.0, horizon),
            [start],
            method="DOP853",
            rtol=1e-13,
            atol=1e-15,
        )
        return float(run.y[0, -1])

    def limit(self, threshold: float = float(np.log(2.0))) -> float:
        """The number that L e must stay below for V(T) < threshold; 0 if no L e > 0 does."""
        threshold = check_positive("threshold", threshold)
        kappa, start, horizon = self.kappa, self.start, self.horizon
        if not self.bound(0.0) < threshold:
            return 0.0
        if self.kind == "additive":
            room = threshold - start * np.exp(-kappa * horizon)
            return float(0.5 * kappa * room / -np.expm1(-kappa * horizon))
        if self.kind == "multiplicative":
            return float(0.5 * (kappa - np.log(start / threshold) / horizon))
        rest = kappa * threshold / -np.expm1(-threshold)  # d with v' = 0 at the threshold
        if start == threshold:
            return float(0.5 * rest)
        most = rest + kappa * threshold + threshold / horizon
        while self.bound(most) < threshold:
            most *= 2.0
        push = brentq(lambda d: self.bound(d) - threshold, 0.0, most, xtol=1e-14)  # type: ignore[arg-type]
        return 0.5 * float(push)  # type: ignore[arg-type]


@checked
def least_kappa(start: float, threshold: float = float(np.log(2.0)), horizon: float = 1.0) -> float:
    """log(start / threshold) / T: every certificate is empty unless kappa is larger."""
    start, threshold = check_positive("start", start), check_positive("threshold", threshold)
    return float(np.log(start / threshold) / check_positive("horizon", horizon))


@checked
def moved_start(start: float, reach: float) -> float:
    """log(1 + (e^start - 1) e^(2 reach)): the largest V(0) if the initial state moves by no more
    than `reach` in the maximum norm, phi(x) with |phi(x') - phi(x)| <= reach.

    |g|_1 = 2 (1 - e^(-V)) along the way, so that e^V - 1 grows by the factor e^(2 reach) at most.
    """
    start = check_positive("start", start)
    if not reach >= 0.0:
        raise ValueError(f"reach must be >= 0, got {reach!r}")
    return float(np.logaddexp(0.0, np.log(np.expm1(start)) + 2.0 * reach))
