"""Which theorem on deep linear networks applies to a step, and which hypothesis fails where not."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import get_args

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_count, check_name, check_positive
from continuum.doors import checked
from continuum.records import plain, short

from ..theory.explain import Explanation, Theorem
from ..theory.hypotheses import Hypothesis, judged
from .bounds import (
    largest_step,
    monotone_rate,
    monotone_step,
    root_step,
    spectral_radius_step,
    step_bound,
    vanishing_step,
)
from .problems import covariance_root, square
from .starts import Kind

ROUNDING = 1e-12
"""Relative sizes below this count as 0."""
UNSTABLE = "every W_L ... W_1 = R is an unstable equilibrium"


@dataclass(frozen=True, eq=False)
class StepReport:
    """What the theorems say of one step.

    bound : with longer steps every W_L ... W_1 = R is unstable, for any R, Sigma and factorisation
    formulas : printed formula -> its number; those of scalars only for n = 1
    explanation : the theorems with their hypotheses; report["Theorem 2"] is one of them
    verdict : what follows, in words
    """

    step: float
    layers: int
    bound: float
    formulas: Mapping[str, float]
    explanation: Explanation
    verdict: str

    __repr__ = short
    to_dict = plain

    def __getitem__(self, name: str) -> Theorem:
        """The theorem of this name; raises ValueError for another, offering the nearest."""
        return self.explanation[name]

    @property
    def applying(self) -> tuple[str, ...]:
        """The names of the theorems that apply."""
        return tuple(t.name for t in self.explanation.theorems if t.applies == "yes")

    def __str__(self) -> str:
        """The verdict, the formulas, and each theorem with what it rests on or lacks; every
        hypothesis with its number is in print(report.explanation).
        """
        width = max(map(len, self.formulas))
        lines = [f"step {self.step:g}, {self.layers} layers: {self.verdict}"]
        lines += [f"  {name:<{width}}  {value:.6g}" for name, value in self.formulas.items()]
        for theorem in self.explanation.theorems:
            if theorem.applies == "yes":
                names = "; ".join(h.name for h in theorem.hypotheses)
                lines.append(f"{theorem.name}: applies ({names}): {theorem.consequence}")
                continue
            lines.append(f"{theorem.name}: does not apply")
            for name in theorem.missing:
                h = theorem[name]
                lines.append(f"  {h.name}: {h.verdict}, {h.number:.5g} ({h.phrase})")
        return "\n".join(lines)


@checked
def step_report(
    target: Array | float,
    layers: int,
    step: float,
    *,
    covariance: Array | float | None = None,
    start: Kind = "identity",
) -> StepReport:
    """What is known of gradient descent with this step on |(W_L ... W_1 - R) Sigma^(1/2)|_F^2 / 2.

    Theorems: "Proposition 1", "Proposition 2", "Proposition 3" (n = 1); "Theorem 1" and "Theorem 2"
    as printed, the latter with the hypothesis that it lacks; "Theorem 1, corrected" for any R,
    Sigma and factorisation; "Theorem 2, corrected" and "Proposition 3, by eigenvalues" for
    symmetric R.  Each hypothesis has the number on which its verdict rests; sizes below 1e-12 count
    as 0.  A hypothesis that makes no sense before others hold is left out where they do not.

    target : R (n, n), or a number;  layers : L;  step : delta > 0;  covariance : Sigma, I if None
    start : of `linear_start`; "signs" means an odd number of factors -I
    raises ValueError, TypeError for R that is not square, L < 1, step <= 0, a covariance that is
        none, another start
    Source: Nar and Sastry (2018), section 2 and Proposition 3, as corrected in docs/errata.md.
    """
    data = _Data(square("target", target, "n"), check_count("layers", layers), covariance, start)
    step = check_positive("step", step)
    theorems = [*_scalar(data, step), *_printed(data, step), *_corrected(data, step)]
    explanation = Explanation(tuple(theorems))
    return StepReport(
        step, data.layers, data.bound, data.formulas(), explanation, _verdict(explanation, data)
    )


class _Data:
    """R, Sigma and the start, and the hypotheses on them.

    facing : R, or -R for an odd number of factors -I: the matrix that the same descent from the
        identity would be after
    pairs : (2, n), lambda_j of `facing` and sigma_j of common eigenvectors, meant where R is
        symmetric and R Sigma = Sigma R
    """

    def __init__(
        self, target: Array, layers: int, covariance: Array | float | None, start: Kind
    ) -> None:
        self.target, self.layers, self.units = target, layers, len(target)
        self.start = check_name("start", start, get_args(Kind))
        root = covariance_root(covariance, self.units)
        self.bound = step_bound(target, layers, covariance)
        sigma = root @ root
        self.facing = -target if start == "signs" else target
        self.size = float(np.linalg.norm(target, 2))
        variance = float(np.linalg.norm(sigma, 2))
        unit, golden = self.size or 1.0, 0.5 * (5.0**0.5 - 1.0)
        r, s = target / unit, sigma / (variance or 1.0)  # of norm 1: products do not overflow
        mixed = self.facing / unit + golden * s
        basis = np.linalg.eigh(0.5 * (mixed + mixed.T))[1]
        self.pairs = np.array([np.sum(basis * (m @ basis), axis=0) for m in (self.facing, sigma)])
        self.symmetric = _small("R symmetric", r - r.T, "|R - R^T| / |R|")
        self.normal = _small("R normal", r @ r.T - r.T @ r, "|R R^T - R^T R| / |R|^2")
        self.white = _small("Sigma = I", sigma - np.eye(self.units), "|Sigma - I|")
        self.shared = _small(
            "shared eigenspaces of R and Sigma",
            r @ s - s @ r,
            "|R Sigma - Sigma R| / (|R| |Sigma|)",
        )
        least = float(np.linalg.eigvalsh(sigma)[0])
        self.definite = judged(
            "Sigma non-singular", least > ROUNDING * variance, least, "least eigenvalue of Sigma"
        )
        self.scalar = judged("n = 1", self.units == 1, float(self.units), "units")
        self.deep = judged("L >= 2", layers >= 2, float(layers), "layers")
        self._eigenvalues(unit)

    def _eigenvalues(self, unit: float) -> None:
        """Diagonalizable, real, positive: of a matrix that rounding can make defective, so that
        both may be undecided.
        """
        values, columns = np.linalg.eig(self.facing)
        condition = float(np.linalg.cond(columns))
        verdict = "yes" if condition < 1e7 else "undecided" if condition < 1e14 else "no"
        self.diagonalizable = Hypothesis(
            "R diagonalizable", verdict, condition, "condition number of the eigenvectors"
        )
        rounding = np.finfo(float).eps * self.units
        doubt = unit * min(rounding * min(condition, 1e16), rounding ** (1.0 / self.units))
        imaginary = float(np.max(np.abs(np.imag(values))))
        verdict = "yes" if imaginary <= ROUNDING * unit else "no"
        if verdict == "no" and imaginary <= doubt:
            verdict = "undecided"
        self.real = Hypothesis("eigenvalues real", verdict, imaginary, "largest imaginary part")
        sign = -1.0 if self.start == "signs" else 1.0
        unsure = doubt if condition > 1e7 else 0.0
        self.positive = _positive("R" if sign > 0 else "-R", np.real(values), unit, unsure)
        self.printed_positive = _positive("R", sign * np.real(values), unit, unsure)

    def begins(self, *kinds: Kind) -> Hypothesis:
        """That the start is one of these."""
        name = "W_i[0] = I" if kinds == ("identity",) else "W_i[0] = I, or -I for an odd number"
        return judged(
            name,
            self.start in kinds,
            float(self.start in kinds),
            f"1 if so; the start is {self.start}",
        )

    def formulas(self) -> dict[str, float]:
        """The bound, and what is printed."""
        lam, sigma = float(self.facing[0, 0]), float(self.pairs[1, 0])
        found = {"bound for any factorisation": self.bound}
        if self.units == 1 and sigma > 0 and lam != 0:
            found["Proposition 1: delta_max"] = largest_step(lam, self.layers, sigma)
            if lam > 0:
                found["Proposition 2: delta_c"] = monotone_step(lam, self.layers, sigma)
            else:
                found["Proposition 3: 1 / (sigma (1 - lambda))"] = vanishing_step(lam, sigma)
        found["Theorem 1: step above"] = self.radius_step
        found["Theorem 2: step up to"] = root_step(self.target, self.layers)
        return found

    @property
    def radius_step(self) -> float:
        """Theorem 1's, infinite where it has none."""
        nilpotent = self.layers > 1 and not np.any(np.linalg.eigvals(self.target))
        return inf if nilpotent else spectral_radius_step(self.target, self.layers)


def _positive(name: str, parts: Array, unit: float, unsure: float) -> Hypothesis:
    least = float(np.min(parts))
    verdict = "yes" if least > ROUNDING * unit else "no"
    if unsure > 0 and abs(least) <= unsure:
        verdict = "undecided"
    phrase = f"least real part of an eigenvalue of {name}"
    return Hypothesis("eigenvalues > 0", verdict, least, phrase)


def _small(name: str, matrix: Array, phrase: str) -> Hypothesis:
    number = float(np.max(np.abs(matrix)))
    return judged(name, number <= ROUNDING, number, f"{phrase}, largest entry")


def _above(step: float, limit: float, formula: str) -> Hypothesis:
    return judged(f"step > {formula}", step > limit, limit, f"step is {step:.6g}, limit")


def _up_to(step: float, limit: float, formula: str) -> Hypothesis:
    return judged(f"step <= {formula}", step <= limit, limit, f"step is {step:.6g}, limit")


def _scalar(data: _Data, step: float) -> list[Theorem]:
    """Propositions 1, 2 and 3."""
    layers, lam, sigma = data.layers, float(data.facing[0, 0]), float(data.pairs[1, 0])
    thens = {
        "Proposition 1": "every w_L ... w_1 = lambda is an unstable equilibrium",
        "Proposition 2": "|w_i[k] - w*_i| <= rho^k |w_i[0] - w*_i|, |w*_i| = |lambda|^(1/L)",
        "Proposition 3": "w_i -> 0 while they are equal; 0 is a saddle, which rounding can leave",
    }
    if data.units > 1 or data.definite.verdict == "no":
        first = data.scalar if data.units > 1 else data.definite
        return [Theorem(name, (first,), then) for name, then in thens.items()]
    sign, start = "-lambda" if data.start == "signs" else "lambda", data.begins("identity", "signs")
    one = (data.scalar, judged("lambda != 0", lam != 0, lam, sign))
    two = (data.scalar, judged(f"{sign} > 0", lam > 0, lam, sign), start)
    three = (data.scalar, judged(f"{sign} < 0", lam < 0, lam, sign), data.deep, start)
    if lam != 0:
        limit = largest_step(lam, layers, sigma)
        one = (*one, _above(step, limit, "2 / (sigma L |lambda|^(2(L-1)/L))"))
    if lam > 0:
        limit = monotone_step(lam, layers, sigma)
        two = (*two, _up_to(step, limit, "delta_c"))
        if step <= limit:
            thens["Proposition 2"] += f", rho = {monotone_rate(lam, layers, step, sigma):.6g}"
    if lam < 0:
        three = (*three, _up_to(step, vanishing_step(lam, sigma), f"1 / (sigma (1 - {sign}))"))
    lists = zip(thens.items(), (one, two, three), strict=True)
    return [Theorem(name, hypotheses, then) for (name, then), hypotheses in lists]


def _printed(data: _Data, step: float) -> list[Theorem]:
    """Theorems 1 and 2; of the latter the hypothesis, too, that it lacks."""
    spaces = data.begins("identity", "signs")
    spaces = Hypothesis(
        "W_i[0] has the eigenspaces of R",
        "yes" if spaces.verdict == "yes" else "undecided",
        spaces.number,
        spaces.phrase,
    )
    normal = Hypothesis(
        data.normal.name,
        data.normal.verdict,
        data.normal.number,
        f"{data.normal.phrase}; not asked for in print, but false without",
    )
    formula = "2 / (L r^(2(L-1)/L)), r spectral radius"
    limit, most = data.radius_step, root_step(data.target, data.layers)
    return [
        Theorem(
            "Theorem 1",
            (
                data.diagonalizable,
                data.real,
                spaces,
                data.white,
                _above(step, limit, formula),
            ),
            f"{UNSTABLE}; so it is already above the bound for any factorisation",
        ),
        Theorem(
            "Theorem 2",
            (
                data.diagonalizable,
                data.real,
                data.printed_positive,
                data.white,
                data.begins("identity"),
                _up_to(step, most, "min(1, r^(-2(L-1)/L)) / L"),
                normal,
            ),
            "W_i -> R^(1/L), exponentially fast",
        ),
    ]


def _corrected(data: _Data, step: float) -> list[Theorem]:
    """What holds: for any R, and for symmetric R by eigenvalues."""
    start = data.begins("identity", "signs")
    positive = negative = (data.symmetric, data.shared, data.definite)
    interpolates = "W_i -> W*_i, W*_L ... W*_1 = R, |W_i[k] - W*_i|_2 <= rho^k |W_i[0] - W*_i|_2"
    level = "J -> sum over lambda_j < 0 of sigma_j lambda_j^2 / 2"
    if all(h.verdict == "yes" for h in positive):
        pairs, tiny = data.pairs.T.tolist(), ROUNDING * data.size
        lost, least = any(lam < -tiny for lam, _ in pairs), min(lam for lam, _ in pairs)
        limit = min(
            monotone_step(lam, data.layers, s) if lam > tiny else vanishing_step(min(lam, 0.0), s)
            for lam, s in pairs
        )
        formula = "min over j of delta_c(lambda_j, sigma_j)"
        below = _up_to(step, limit, formula + (", 1 / (sigma_j (1 - lambda_j))" if lost else ""))
        positive = (*positive, data.positive, start)
        negative = (
            *negative,
            judged("an eigenvalue < 0", lost, least, data.positive.phrase),
            data.deep,
            start,
        )
        if lost:
            negative = (*negative, below)
            level += f" = {sum(0.5 * s * lam * lam for lam, s in pairs if lam < -tiny):.6g}"
        elif least > tiny:
            most = _sharpness_at_root(data.pairs, data.layers)
            sharpest = 2.0 / most if most > 0 else inf
            positive = (*positive, below, _up_to(step, sharpest, "2 / sharpness at the limit"))
            if step <= limit:
                rate = max(monotone_rate(lam, data.layers, step, s) for lam, s in pairs)
                interpolates += f", rho = {rate:.6g}"
    return [
        Theorem(
            "Theorem 1, corrected",
            (_above(step, data.bound, "the bound for any factorisation"),),
            f"{UNSTABLE}, and gradient descent converges to one from a null set of starts only",
        ),
        Theorem("Theorem 2, corrected", positive, interpolates),
        Theorem(
            "Proposition 3, by eigenvalues",
            negative,
            f"{level} while the weights have the eigenspaces of R, which rounding can end",
        ),
    ]


def _sharpness_at_root(pairs: Array, layers: int) -> float:
    """max over j, k of sigma_k sum_i lambda_j^(2(L-i)/L) lambda_k^(2(i-1)/L): for Sigma = I it is j
    = k, else directions that leave the common eigenspaces can be the steepest.
    """
    powers = np.arange(layers)
    with np.errstate(over="ignore", invalid="ignore"):  # 0 times infinity beside an infinite entry
        root = pairs[0] ** (2.0 / layers)
        sums = np.power.outer(root, powers[::-1]) @ np.power.outer(root, powers).T
        return float(np.nanmax(sums * pairs[1]))


def _verdict(explanation: Explanation, data: _Data) -> str:
    unstable, converges, lost = explanation.theorems[-3:]
    second = explanation["Theorem 2"]
    if unstable.applies == "yes":
        text = (
            "every interpolating equilibrium is unstable: no convergence to one from almost every "
            "start"
        )
        if explanation["Theorem 1"].missing and data.radius_step > data.bound:
            factor = data.radius_step / data.bound
            text += f" (the limit printed in Theorem 1 is {factor:.4g} times as long)"
    elif converges.applies == "yes":
        rate = converges.consequence.rpartition(" = ")[2]
        text = (
            f"converges from this start to a factorisation of R, the distance from it falling by a "
            f"factor of at most {rate} in each step"
        )
    elif lost.applies == "yes":
        text = f"does not interpolate from this start in exact arithmetic: {lost.consequence}"
    else:
        text = (
            "no theorem applies: the step is not above the bound, which does not mean that it "
            "converges"
        )
    if second.missing == ("R normal",):
        text += "; Theorem 2 as printed promises convergence, and is false for R that is not normal"
    return text
