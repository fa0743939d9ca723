"""One assumption of a theorem and its verdict; the assumptions on the activation."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np

from continuum.activations import Activation

Answer = Literal["yes", "no", "undecided"]
POINTS = np.linspace(-10.0, 10.0, 4001)
"""Where an activation is sampled."""


@dataclass(frozen=True)
class Hypothesis:
    """One assumption, checked for the data.

    number : what the verdict rests on
    phrase : what the number is, or why there is no verdict
    """

    name: str
    verdict: Answer
    number: float
    phrase: str


def judged(name: str, holds: bool, number: float, phrase: str) -> Hypothesis:
    """A hypothesis that holds or does not."""
    return Hypothesis(name, "yes" if holds else "no", number, phrase)


class SigmaHypotheses:
    """The hypotheses on the activation alone, and on |Y|."""

    def __init__(self, sigma: Activation, measure: float) -> None:
        self.activation, self.measure, values = sigma, measure, sigma.value(POINTS)
        zero = float(sigma.value(np.zeros(1))[0])
        self.vanishes = judged("sigma(0) = 0", zero == 0.0, zero, "sigma(0)")
        self.finite = judged("|Y| finite", isfinite(measure), measure, "|Y|")
        self.integrable = judged(
            "sigma(0) = 0 or |Y| finite",
            zero == 0.0 or isfinite(measure),
            abs(zero) * measure if zero else 0.0,
            "|sigma(0)| |Y|",
        )
        self.lipschitz, steepest, grows = sigma.lipschitz, *_steepest(sigma)
        exceeds = steepest > self.lipschitz * (1.0 + 1e-5)
        local, overall, number, phrase = "yes", "yes", self.lipschitz, "sup |sigma'|"
        if grows and (exceeds or not isfinite(self.lipschitz)):
            local, overall, number, phrase = (
                "no",
                "no",
                steepest,
                "a difference quotient, growing on short intervals",
            )
        elif exceeds:
            local, overall, number, phrase = (
                "undecided",
                "no",
                steepest,
                "a difference quotient above the stated sup",
            )
        elif not isfinite(self.lipschitz):
            local, overall, phrase = (
                "undecided",
                "no",
                "sup |sigma'| as stated; points say nothing of what is between",
            )
        self.locally = Hypothesis("sigma locally Lipschitz", local, number, phrase)
        self.globally = Hypothesis("sigma globally Lipschitz", overall, number, phrase)
        with np.errstate(all="ignore"):
            far, farther, farthest = (
                float(np.abs(sigma.value(np.array([-s, s]))).max()) for s in (1e2, 1e4, 1e150)
            )
            derivative = float(sigma.derivative(np.zeros(1))[0])
        self.linear = judged(
            "|sigma| <= C (1 + |s|)",
            farther <= 200.0 * (1.0 + far),
            farther / 1e4,
            "|sigma(s)| / |s| at |s| = 10^4, compared with 10^2",
        )
        least = float(np.diff(values).min() / (POINTS[1] - POINTS[0]))
        self.nondecreasing = judged(
            "sigma' >= 0", least >= -1e-12 * steepest, least, "least difference quotient"
        )
        product = float((POINTS * values).min()) + 0.0
        self.signed = judged("s sigma(s) >= 0", product >= 0.0, product, "least s sigma(s)")
        self.below = self._bounded_below()
        bound = float(np.nanmax([np.abs(values).max(), farthest if sigma.bounded else 0.0]))
        self.supremum, holds = sigma.supremum, sigma.bounded
        phrase = "the largest |sigma| found"
        if not holds:
            phrase += " on [-10, 10]; sigma is stated to be unbounded"
        elif self.supremum is None:
            phrase += ", which sup |sigma| may exceed: it is not stated"
        elif bound > self.supremum * (1.0 + 1e-12):
            self.supremum, holds, phrase = None, False, f"{phrase}, above the stated sup |sigma|"
        else:
            bound, phrase = self.supremum, "sup |sigma|"
        self.bounded = judged("sigma bounded", holds, bound, phrase)
        slopes = [
            float(sigma.value(np.array([s]))[0] - zero) / s for s in (-1e-5, -1e-7, 1e-7, 1e-5)
        ]
        jump = max(slopes) - min(slopes)
        differentiable = jump <= 1e-2 * max(map(abs, slopes)) + 1e-12
        phrase = (
            "sigma'(0)"
            if differentiable
            else "by so much difference quotients near 0 differ: no sigma'(0)"
        )
        self.rising = judged(
            "sigma'(0) > 0",
            differentiable and derivative > 0.0,
            derivative if differentiable else jump,
            phrase,
        )

    def _bounded_below(self) -> Hypothesis:
        """int Sigma(u) >= -c: s sigma(s) >= 0, or |Y| finite and Sigma bounded below (E15)."""
        name = "int Sigma bounded below"
        if self.signed.verdict == "yes":
            return Hypothesis(name, "yes", 0.0, "inf Sigma, for s sigma(s) >= 0")
        with np.errstate(all="ignore"):
            near = float(self.activation.antiderivative(POINTS).min())
            far, farther = (
                float(self.activation.antiderivative(np.array([-s, s])).min()) for s in (1e2, 1e3)
            )
        if not all(map(isfinite, (near, far, farther))):
            return Hypothesis(
                name, "undecided", near, "least Sigma on [-10, 10]; not finite at 100 or 1000"
            )
        if min(far, farther) >= near - 1e-3 * (1.0 + abs(near)):
            return judged(
                name,
                isfinite(self.measure),
                min(near, far, farther) * self.measure,
                "|Y| inf Sigma",
            )
        if farther < 5.0 * far:
            return Hypothesis(name, "no", farther, "Sigma at |s| = 1000, still falling")
        return Hypothesis(name, "undecided", farther, "Sigma at |s| = 1000, falling slowly")


def _steepest(sigma: Activation) -> tuple[float, bool]:
    """The largest difference quotient found, and whether it grows as cells shrink.

    The steepest cell is divided by ten, five times.
    """
    cells, found = POINTS, []
    for _ in range(6):
        slopes = np.abs(np.diff(sigma.value(cells)) / np.diff(cells))
        k = int(np.argmax(slopes))
        found.append(float(slopes[k]))
        cells = np.linspace(cells[k], cells[k + 1], 11)
    return max(found), found[-1] > 1.5 * found[-3] > 2.25 * found[-5]
