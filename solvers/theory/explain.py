"""Which theorems on f_t = sigma(a - Bf) apply to given data, hypothesis by hypothesis, and what
follows.

Statements are those of Liu and Markowich as corrected (docs/errata.md).  A verdict speaks of the
data at the nodes of the grid; what one grid cannot decide, or one control at one depth, is
"undecided".
"""

from collections import deque
from dataclasses import dataclass, field
from math import exp, inf, isfinite, sqrt
from typing import Literal

import numpy as np

from continuum.activations import Activation, identity
from continuum.arrays import Array, to_host
from continuum.checks import check_name
from continuum.controls import ControlPath, FunctionControl
from continuum.kernels import LowRank
from continuum.meshes import TimeMesh
from continuum.networks import SymmetricLayer, WidthDepth

from .stability import (
    ROUNDING,
    constant_values,
    coordinates,
    gram_test,
    least_eigenvalue,
    operator_matrix,
    values_at,
    zeros_of,
)

Answer = Literal["yes", "no", "undecided"]
POINTS = np.linspace(-10.0, 10.0, 4001)
"""Where an activation is looked at."""


@dataclass(frozen=True)
class Hypothesis:
    """One assumption, asked of the data.

    number : what the verdict rests on
    phrase : what the number is, or why there is no verdict
    """

    name: str
    verdict: Answer
    number: float
    phrase: str


@dataclass(frozen=True)
class Theorem:
    """hypotheses => consequence.

    applies : "yes" if all verdicts are yes, "no" if one is no, else "undecided"
    consequence : what follows where it applies
    """

    name: str
    hypotheses: tuple[Hypothesis, ...]
    applies: Answer = field(init=False)
    consequence: str

    def __post_init__(self) -> None:
        verdicts = {h.verdict for h in self.hypotheses}
        applies = "no" if "no" in verdicts else "undecided" if "undecided" in verdicts else "yes"
        object.__setattr__(self, "applies", applies)

    def __getitem__(self, name: str) -> Hypothesis:
        """The hypothesis of this name; raises ValueError for another."""
        found = {h.name: h for h in self.hypotheses}
        return found[check_name("hypothesis", name, found)]

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the hypotheses that stand in its way: those answered no, else those
        undecided.
        """
        return tuple(h.name for h in self.hypotheses if h.verdict == self.applies != "yes")


@dataclass(frozen=True)
class Explanation:
    """All theorems, in the order of the paper; explanation["3.4"] is one of them,
    print(explanation) the table.
    """

    theorems: tuple[Theorem, ...]

    def __getitem__(self, name: str) -> Theorem:
        """The theorem of this name; raises ValueError for another, offering the nearest."""
        found = {t.name: t for t in self.theorems}
        return found[check_name("theorem", name, found)]

    def __str__(self) -> str:
        width = max(len(h.name) for t in self.theorems for h in t.hypotheses)
        lines: list[str] = []
        for theorem in self.theorems:
            lines.append(f"{theorem.name}: {theorem.applies}")
            for h in theorem.hypotheses:
                lines.append(f"  {h.name:<{width}}  {h.verdict:<9}  {h.number:>11.5g}  {h.phrase}")
            word = {"yes": "so", "no": "void", "undecided": "if so"}[theorem.applies]
            lines.append(f"  {word}: {theorem.consequence}")
        return "\n".join(lines)


def explain(
    network: WidthDepth | SymmetricLayer, control: ControlPath, initial: Array | None = None
) -> Explanation:
    """Hypotheses, each yes, no or undecided => what follows: for every theorem on f_t = sigma(a -
    Bf), for these data.

    Theorems: "2.1", "2.2", "3.1", "Remark 3.1", "3.2 (i)" to "3.2 (iv)", "Lemma 3.3", "3.4", "L1
    bound", "L1 bound, printed", "Proposition 3.5", "bounded activation", "contractive layer".
    Activations are looked at in 4001 points of [-10, 10]; a and b that move with time in the
    middles of layers, functions of time in 64.

    initial : (N, M), for the constants in the consequences; the worst sample is meant
    raises TypeError for another network, ValueError for a control or states that do not fit
    """
    if not isinstance(network, WidthDepth | SymmetricLayer):
        raise TypeError(f"network must be a WidthDepth or a SymmetricLayer, got {network!r}")
    twin = WidthDepth(network.grid, network.activation, network.kernel)
    data = _Data(
        twin, control, None if initial is None else network.check_state("initial", initial)
    )
    sigma = _Sigma(network.activation, network.grid.domain.measure)
    plain, phrase = (
        isinstance(network, WidthDepth),
        f"1 if so; the network is a {type(network).__name__}",
    )
    equation = _said("f_t = sigma(a - Bf)", plain, float(plain), phrase)
    theorems = [
        *_limits(data, sigma),
        *_long_times(data, sigma),
        *_finite_rank(data, sigma),
        *_growth(data, sigma),
    ]
    layer = _said("f_t = B* sigma(a - Bf)", not plain, float(not plain), phrase)
    then = "|f(t) - g(t)| <= |f(s) - g(s)| in L^2(Y) for any two solutions and s <= t"
    stated = tuple(Theorem(t.name, (equation, *t.hypotheses), t.consequence) for t in theorems)
    return Explanation((*stated, Theorem("contractive layer", (layer, sigma.nondecreasing), then)))


def _said(name: str, holds: bool, number: float, phrase: str) -> Hypothesis:
    return Hypothesis(name, "yes" if holds else "no", number, phrase)


class _Sigma:
    """The hypotheses on the activation alone, and on |Y|."""

    def __init__(self, sigma: Activation, measure: float) -> None:
        self.activation, self.measure, values = sigma, measure, sigma.value(POINTS)
        zero = float(sigma.value(np.zeros(1))[0])
        self.vanishes = _said("sigma(0) = 0", zero == 0.0, zero, "sigma(0)")
        self.finite = _said("|Y| finite", isfinite(measure), measure, "|Y|")
        self.integrable = _said(
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
        self.linear = _said(
            "|sigma| <= C (1 + |s|)",
            farther <= 200.0 * (1.0 + far),
            farther / 1e4,
            "|sigma(s)| / |s| at |s| = 10^4, compared with 10^2",
        )
        least = float(np.diff(values).min() / (POINTS[1] - POINTS[0]))
        self.nondecreasing = _said(
            "sigma' >= 0", least >= -1e-12 * steepest, least, "least difference quotient"
        )
        product = float((POINTS * values).min()) + 0.0
        self.signed = _said("s sigma(s) >= 0", product >= 0.0, product, "least s sigma(s)")
        self.below = self._bounded_below()
        bound = float(np.nanmax([np.abs(values).max(), farthest if sigma.bounded else 0.0]))
        phrase = (
            "sup |sigma|"
            if sigma.bounded
            else "sup |sigma| on [-10, 10]; sigma is stated to be unbounded"
        )
        self.bounded = _said("sigma bounded", sigma.bounded, bound, phrase)
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
        self.rising = _said(
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
            return _said(
                name,
                isfinite(self.measure),
                min(near, far, farther) * self.measure,
                "|Y| inf Sigma",
            )
        if farther < 5.0 * far:
            return Hypothesis(name, "no", farther, "Sigma at |s| = 1000, still falling")
        return Hypothesis(name, "undecided", farther, "Sigma at |s| = 1000, falling slowly")


def _steepest(sigma: Activation) -> tuple[float, bool]:
    """The largest difference quotient found by zooming five times into the steepest cell, and
    whether it grew.
    """
    cells, found = POINTS, []
    for _ in range(6):
        slopes = np.abs(np.diff(sigma.value(cells)) / np.diff(cells))
        k = int(np.argmax(slopes))
        found.append(float(slopes[k]))
        cells = np.linspace(cells[k], cells[k + 1], 11)
    return max(found), found[-1] > 1.5 * found[-3] > 2.25 * found[-5]


class _Data:
    """What the theorems ask about a and b, from one pass over time; norms are those of L^2(Y)."""

    def __init__(self, network: WidthDepth, control: ControlPath, initial: Array | None) -> None:
        self.constant = constant_values(control) is not None
        self.network, self.control, first, mesh = (
            network,
            control,
            values_at(network, control, 0.0),
            control.mesh,
        )
        self.functions = isinstance(control, FunctionControl)
        if self.constant or self.functions:
            mesh = TimeMesh(mesh.horizon, 1 if self.constant else 64, mesh.grading)
        self.horizon, steps, grid = mesh.horizon, mesh.steps, network.grid
        times = 0.5 * (mesh.nodes[1:] + mesh.nodes[:-1])
        roots = np.sqrt(network.weights[network.weights > 0])
        self.s, self.a = self._sample(float(times[-1]))
        end, rows, moves = self.s, [], np.zeros((3, 2))
        recent: deque[tuple[Array, Array]] = deque(maxlen=5)
        for k, t in enumerate(times):
            s, a = self._sample(float(t))
            b = np.abs(s) / roots[:, None] / roots
            skew = float(np.abs(s - s.T).max()) / max(float(np.abs(s).max()), 1e-300)
            largest = sqrt(
                max(0.0, float(np.linalg.eigvalsh(s.T @ s)[-1]))
            )  # |B|, faster than singular values
            norms = [largest, np.linalg.norm(a), np.linalg.norm(s), np.linalg.norm(s - end)]
            rows.append(
                [
                    *norms,
                    (roots**2 @ b).max(),
                    b.max(),
                    roots @ np.abs(a),
                    least_eigenvalue(s),
                    skew,
                ]
            )
            recent.append((s, a))
            for level, stride in enumerate((1, 2, 4)):
                if k and k % stride == 0:
                    old = recent[-1 - stride]
                    change = np.array([np.linalg.norm(s - old[0]), np.linalg.norm(a - old[1])])
                    moves[level] += stride * steps[k] * change
        table = np.array(rows, dtype=np.float64)
        self.norm, self.bias, hilbert, self.drift, self.columns, self.sup, self.l1 = map(
            float, steps @ table[:, :7]
        )
        self.changes = (moves / np.array([hilbert or 1.0, self.bias or 1.0])).max(axis=1)
        self.highest, self.scale = float(table[:, 5].max()), float(table[:, 0].max())
        self.least, self.asymmetry = float(table[:, 7].min()), float(table[:, 8].max())
        self.start = self.start_l1 = self.potential = None
        if initial is not None:
            f = to_host(initial)
            u = to_host(network.preactivation(initial, first))
            self.start = float(np.linalg.norm(coordinates(network, f), axis=0).max())
            self.start_l1 = float(np.max(grid.integrate(np.abs(f))))
            self.potential = float(np.max(grid.integrate(network.activation.antiderivative(u))))

    def _sample(self, t: float) -> tuple[Array, Array]:
        bias = to_host(values_at(self.network, self.control, t)["bias"])[:, None]
        return operator_matrix(self.network, self.control, t), coordinates(self.network, bias)[:, 0]

    def autonomous(self) -> Hypothesis:
        phrase = (
            "a and b are constant in time"
            if self.constant
            else "change of a or b per layer, over its size"
        )
        return _said("autonomous", self.constant, float(self.changes[0]), phrase)

    def monotone(self) -> Hypothesis:
        phrase = "least eigenvalue of B_s on this grid"
        if -1e-8 * self.scale < self.least < 0.0:
            return Hypothesis(
                "B_s >= 0", "undecided", self.least, phrase + ", within the error of quadrature"
            )
        return _said("B_s >= 0", self.least >= 0.0, self.least, phrase)

    def symmetric(self) -> Hypothesis:
        return _said(
            "B symmetric",
            self.asymmetry <= 1e-12,
            self.asymmetry,
            "max |b - b*| / max |b| on this grid",
        )

    def converging(self) -> Hypothesis:
        """a^tau -> a and B^tau -> B in L^1(0, T), which sum of changes times tau -> 0 stands for
        (E02).
        """
        name, number = "coefficients converge strongly in depth", float(self.changes[0])
        if self.constant:
            return Hypothesis(name, "yes", 0.0, "constant in time: the same at every depth")
        if self.functions:
            falls = bool((self.changes[:2] <= 0.6 * self.changes[1:]).all())
            phrase = (
                f"change per layer over size, {'' if falls else 'not '}halved from 16 to 32 "
                f"to 64 layers"
            )
            return Hypothesis(name, "yes" if falls else "undecided", number, phrase)
        phrase = "change per layer over size; one depth does not show a limit"
        if number > 0.5:
            phrase += "; if it stays as large, the limit is weak only, which is not enough (LM-04)"
        return Hypothesis(name, "undecided", number, phrase)

    def rank(self) -> Hypothesis:
        """Of finite rank by its format, or by a gap in the singular values."""
        mu = np.linalg.svd(self.s, compute_uv=False)
        rank = int(np.count_nonzero(mu > ROUNDING * mu[0]))
        if isinstance(self.network.kernel, LowRank):
            return Hypothesis(
                "B of finite rank",
                "yes",
                float(rank),
                "rank; b is stored as a finite sum of products",
            )
        if self._gap(mu, rank):
            return Hypothesis(
                "B of finite rank",
                "yes",
                float(rank),
                f"rank, of {len(mu)}: the other singular values vanish",
            )
        phrase = (
            f"rank, of {len(mu)}: no gap in the singular values, one grid does not tell; if "
            f"infinite, false (LM-26)"
        )
        return Hypothesis("B of finite rank", "undecided", float(rank), phrase)

    def reached(self, name: str, power: int) -> Hypothesis:
        """a in R(B) (power 2) or R(B^1/2) (power 1): Picard's sum of (a, phi_l)^2 / mu_l^power."""
        size = float(np.linalg.norm(self.a))
        if size == 0.0:
            return Hypothesis(name, "yes", 0.0, "a = 0")
        left, mu, _ = np.linalg.svd(self.s)
        kept = mu > ROUNDING * mu[0]
        parts = left.T @ self.a
        outside = float(np.linalg.norm(parts[~kept])) / size
        if self._gap(mu, int(kept.sum())) or (
            isinstance(self.network.kernel, LowRank) and not kept.all()
        ):
            return _said(
                name, outside <= 1e-8, outside, "share of |a| outside R(B), B being of finite rank"
            )
        total = float(np.sum(parts[kept] ** 2 / mu[kept] ** power))
        phrase = (
            "Picard's sum on this grid, finite on every grid: ask `steady_state` how it "
            "moves with N"
        )
        return Hypothesis(name, "undecided", total, phrase)

    @staticmethod
    def _gap(mu: Array, rank: int) -> bool:
        return rank < len(mu) and float(mu[rank]) <= min(
            1e-14 * len(mu) * mu[0], 1e-4 * mu[max(rank - 1, 0)]
        )


def _limits(data: _Data, sigma: _Sigma) -> list[Theorem]:
    """Theorems 2.1, 2.2 and 3.1 with E02 to E08, and Remark 3.1 with E12."""
    factor = _exp(sigma.lipschitz * data.norm)
    stay = Hypothesis(
        "a, b converge integrably in time", "yes", 0.0, "a and b are constant in time"
    )
    if not data.constant:
        phrase = (
            "int |b(t) - b(T)| dt in L^2(Y x Y); a finite horizon shows neither a limit nor "
            "its rate (LM-27)"
        )
        stay = Hypothesis(stay.name, "undecided", data.drift, phrase)
    wide = Hypothesis(
        "a, b bounded and converging in width",
        "undecided",
        data.highest,
        "max |b| at the nodes; one grid does not show a limit: ask `width_error`",
    )
    return [
        Theorem(
            "2.1",
            (sigma.linear, sigma.locally, data.converging()),
            "states of the layers tend to f, uniformly in time, as the depth grows",
        ),
        Theorem(
            "2.2",
            (sigma.linear, sigma.locally, sigma.finite, wide),
            "f_h -> f in C([0, T]; L^p(Y)), p < infinity, as the grid is refined",
        ),
        Theorem(
            "3.1",
            (
                sigma.globally,
                sigma.integrable,
                _finite("int |a| dt finite", data.bias),
                _finite("int |B| dt finite", data.norm),
            ),
            f"one solution for every f_I on [0, T]; |f - g|(t) <= exp(Lip int |B|) |f - g|(0), "
            f"factor {factor:.6g} "
            f"at T = {data.horizon:g}",
        ),
        Theorem("Remark 3.1", (stay,), "stability of the linearised equation is that of its limit"),
    ]


def _long_times(data: _Data, sigma: _Sigma) -> list[Theorem]:
    """Theorem 3.2 with E13 to E15, and Lemma 3.3."""
    autonomous, monotone, symmetric = data.autonomous(), data.monotone(), data.symmetric()
    root = data.reached("a in R(B^1/2)", 1)
    first = (autonomous, sigma.globally, sigma.integrable)
    positive = (*first, symmetric, monotone, sigma.signed, root)
    at = "" if data.potential is None else f" = {data.potential:.6g}"
    most = ""
    if data.potential is not None and sigma.below.verdict == "yes":
        most = f" = {data.potential - sigma.below.number:.6g}"
    zero = "u_e = 0" if zeros_of(sigma.activation) == "only at 0" else "u_e sigma(u_e) = 0"
    return [
        Theorem("3.2 (i)", (*first, monotone), f"int Sigma(u(t)) <= int Sigma(u_I){at}"),
        Theorem(
            "3.2 (ii)",
            (*first, monotone, sigma.below),
            f"int_0^infinity |B_s^1/2 sigma(u)|^2 dt <= int Sigma(u_I) - inf int Sigma{most}",
        ),
        Theorem(
            "3.2 (iii)",
            positive,
            "|B^1/2 f| + |(a, f)| stays bounded; |f| need not, even if N(B) = 0 (LM-31)",
        ),
        Theorem("3.2 (iv)", positive, "int_0^infinity int sigma(u) u dy dt is finite"),
        Theorem(
            "Lemma 3.3",
            (autonomous, symmetric, sigma.signed),
            f"every equilibrium u_e in R(B) has {zero}",
        ),
    ]


def _finite_rank(data: _Data, sigma: _Sigma) -> list[Theorem]:
    """Theorem 3.4 with E16, E17."""
    autonomous, name, then = (
        data.autonomous(),
        "D T positive definite",
        "u = 0 is locally exponentially stable",
    )
    if not data.constant:
        gram = Hypothesis(name, "undecided", float("nan"), "b moves with time, and T with it")
    elif data.scale == 0.0:
        gram = Hypothesis(name, "no", 0.0, "b = 0")
    else:
        test = gram_test(WidthDepth(data.network.grid, identity, data.network.kernel), data.control)
        gram = _said(
            name, test.applies, float(test.symmetric_dt[0]), "least eigenvalue of (D T + T^T D) / 2"
        )
        if test.applies and sigma.rising.verdict == "yes":
            then += ", u = O(e^(-r t)) for r < "
            then += f"{sigma.rising.number * float(test.eigenvalues[0].real):.6g}; int Sigma(u) "
            then += (
                "decreases near 0"
                if test.decreases
                else "may first grow, sum (u_l / mu_l)^2 decreases near 0"
            )
    hypotheses = (
        autonomous,
        data.rank(),
        data.reached("a in R(B)", 2),
        sigma.vanishes,
        sigma.rising,
        gram,
    )
    return [Theorem("3.4", hypotheses, then)]


def _growth(data: _Data, sigma: _Sigma) -> list[Theorem]:
    """The L^1 bound with E18, Proposition 3.5 in the form of LM-37, and bounded activations."""
    lipschitz, speed = (sigma.globally, sigma.vanishes), sigma.lipschitz
    biased = _finite("int int |a| finite", data.l1)
    start, first = (
        ("|f_I|", "int |f_I|")
        if data.start is None
        else (f"{data.start:.6g}", f"{data.start_l1:.6g}")
    )
    slope = "(2 L int Sigma(u_I))^1/2"
    if data.potential is not None and isfinite(sigma.lipschitz):
        slope = f"{sqrt(max(0.0, 2.0 * sigma.lipschitz * data.potential)):.6g}"
    size = _said(
        "|Y| <= 1",
        sigma.measure <= 1.0,
        sigma.measure,
        "|Y|, which the printed exponent int sup |b| lacks",
    )
    unit = _said("Lip(sigma) <= 1", sigma.lipschitz <= 1.0, sigma.lipschitz, "sup |sigma'|")
    bounded, steep = sigma.bounded, "sup |sigma| |Y|^1/2"
    if bounded.verdict == "yes":
        steep = f"{bounded.number * sqrt(sigma.measure):.6g}"
    return [
        Theorem(
            "L1 bound",
            (*lipschitz, biased, _finite("int sup_z int |b| dy dt finite", data.columns)),
            f"int |f(T)| <= ({first} + {speed * data.l1:.6g}) {_exp(speed * data.columns):.6g}",
        ),
        Theorem(
            "L1 bound, printed",
            (*lipschitz, unit, biased, _finite("int sup |b| dt finite", data.sup), size),
            f"int |f(T)| <= ({first} + {data.l1:.6g}) {_exp(data.sup):.6g}",
        ),
        Theorem(
            "Proposition 3.5",
            (data.autonomous(), data.monotone(), *lipschitz, sigma.nondecreasing),
            f"|f(t)| <= {start} + {slope} t",
        ),
        Theorem("bounded activation", (bounded, sigma.finite), f"|f(t)| <= {start} + {steep} t"),
    ]


def _finite(name: str, number: float) -> Hypothesis:
    return _said(name, isfinite(number), number, "from the values at the nodes")


def _exp(x: float) -> float:
    return exp(x) if x < 700.0 else inf
