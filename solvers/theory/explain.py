"""Which theorems on f_t = sigma(a - Bf), or on any chain, apply to given data, and what follows.

Statements on the former are those of Liu and Markowich as corrected (docs/errata.md).  A verdict
speaks of the data at the nodes of the grid; what one grid cannot decide, or one control at one
depth, is "undecided".
"""

from dataclasses import dataclass, field
from math import exp, inf, isfinite, sqrt

import numpy as np

from continuum.activations import identity
from continuum.arrays import Array
from continuum.checks import check_name, check_squares
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import Chain, Pointwise, SymmetricLayer, WidthDepth
from continuum.records import plain, short

from .chain_bounds import chain_bound, check_maps, measure
from .coefficients import CoefficientHypotheses
from .growth import growth_class
from .hypotheses import Answer, Hypothesis, SigmaHypotheses, judged
from .stability import gram_test, zeros_of
from .stiffness import explicit_step_limit


@checked
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
        """The names of the hypotheses answered no; if none is, of those undecided."""
        return tuple(h.name for h in self.hypotheses if h.verdict == self.applies != "yes")


_SHOWN = 6


@dataclass(frozen=True)
class Explanation:
    """All theorems, in the order of the paper.

    explanation["3.4"] is one of them, print(explanation) the table, print(explanation.summary())
    ten lines.
    """

    theorems: tuple[Theorem, ...]

    __repr__ = short
    to_dict = plain

    def __getitem__(self, name: str) -> Theorem:
        """The theorem of this name; raises ValueError for another, offering the nearest."""
        found = {t.name: t for t in self.theorems}
        return found[check_name("theorem", name, found)]

    def summary(self) -> str:
        """At most ten lines: how many theorems apply, what follows from the first six of them, and
        the first hypothesis that each of the others misses.
        """
        groups = {
            verdict: [t for t in self.theorems if t.applies == verdict]
            for verdict in ("yes", "undecided", "no")
        }
        yes, undecided, no = groups.values()
        lines = [
            f"{len(yes)} of {len(self.theorems)} theorems apply, {len(undecided)} are undecided, "
            f"{len(no)} do not apply."
        ]
        lines += [f"{t.name}: {t.consequence}" for t in yes[:_SHOWN]]
        if len(yes) > _SHOWN:
            lines.append(f"Also: {', '.join(t.name for t in yes[_SHOWN:])}")
        for word, some in (("Undecided", undecided), ("Not", no)):
            if some:
                lines.append(f"{word}: {'; '.join(f'{t.name} ({t.missing[0]})' for t in some)}")
        return "\n".join(lines)

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


@checked
def explain(network: Chain, control: ControlPath, initial: Array | None = None) -> Explanation:
    """Which theorems apply to these data, and what follows; of f_t = sigma(a - Bf) the paper's.

    Every hypothesis is answered yes, no or undecided, with the number on which that rests.

    Theorems: "2.1", "2.2", "3.1", "Remark 3.1", "3.2 (i)" to "3.2 (iv)", "Lemma 3.3", "3.4", "L1
    bound", "L1 bound, printed", "Proposition 3.5", "bounded activation", "contractive layer".
    Activations are sampled at 4001 points of [-10, 10].  a and b that depend on time are sampled on
    layers, and functions of time in the middles of 64; integrals of functions of time are adaptive,
    and "undecided" where they do not settle.  For a B that is not bounded on L^2(Y), such as a
    FractionalLaplacian, that is what the theorems miss, and the phrase gives the longest steps of
    Euler's method (`explicit_step_limit`).

    For any other chain, such as Bottleneck: "Lipschitz", one solution and its dependence on the
    start, "growth" (`growth_class`), and "Euler's method", from the norms of its maps.

    initial : (N, M), for the constants in the consequences; the worst sample is meant
    raises TypeError for what is no chain of maps with known norms, ValueError for a control or
        states that do not fit
    """
    if not isinstance(network, WidthDepth | SymmetricLayer):
        return _of_chain(check_maps(network), control, initial)
    if initial is not None:
        check_squares("initial", network.check_state("initial", initial))
    twin = WidthDepth(network.grid, network.activation, network.kernel)
    data = CoefficientHypotheses(
        twin, control, None if initial is None else network.check_state("initial", initial)
    )
    sigma = SigmaHypotheses(network.activation, network.grid.domain.measure)
    plain, phrase = (
        isinstance(network, WidthDepth),
        f"1 if so; the network is a {type(network).__name__}",
    )
    equation = judged("f_t = sigma(a - Bf)", plain, float(plain), phrase)
    theorems = [
        *_limits(data, sigma),
        *_long_times(data, sigma),
        *_finite_rank(data, sigma),
        *_growth(data, sigma),
    ]
    layer = judged("f_t = B* sigma(a - Bf)", not plain, float(not plain), phrase)
    then = "|f(t) - g(t)| <= |f(s) - g(s)| in L^2(Y) for any two solutions and s <= t"
    theorems = [Theorem(t.name, (equation, *t.hypotheses), t.consequence) for t in theorems]
    theorems.append(Theorem("contractive layer", (layer, sigma.nondecreasing), then))
    if not network.kernel.bounded:
        unbounded = _unbounded(data, sigma)
        theorems = [
            t
            if t.name in ("2.1", "bounded activation")
            else Theorem(t.name, (unbounded, *t.hypotheses), t.consequence)
            for t in theorems
        ]
    return Explanation(tuple(theorems))


def _of_chain(network: Chain, control: ControlPath, initial: Array | None) -> Explanation:
    """What follows from the norms of the maps alone: Picard and Lindelof, Gronwall, Euler."""
    bound, horizon = chain_bound(network, control), control.mesh.horizon
    activations = {
        m.activation.name: m.activation for m in network.maps if isinstance(m, Pointwise)
    }
    size = measure(network.space)
    sigmas = [SigmaHypotheses(sigma, size) for sigma in activations.values()]
    phrase = "operators that are not bounded on L^2(Y)"
    if bound.unbounded:
        phrase += f": {', '.join(bound.unbounded)}"
    operators = judged(
        "operators bounded", not bound.unbounded, float(len(bound.unbounded)), phrase
    )
    norms = Hypothesis(
        "norms known at all times",
        "yes" if bound.known else "undecided",
        bound.lipschitz,
        "the Lipschitz constant of the velocity"
        + ("" if bound.known else ", from the ends and middles of layers"),
    )
    lipschitz = (*(s.globally for s in sigmas), operators, norms)
    factor = f"exp(int Lip) <= {_exp(bound.integral):.6g} at T = {horizon:g}"
    f = np.zeros((network.units, 1)) if initial is None else initial
    growth = growth_class(network, control, f)
    start = "" if initial is not None else " (for f_I = 0; give initial= for others)"
    steep = tuple(s.globally for s in sigmas if s.supremum is None)
    finite = isfinite(bound.rate) and isfinite(bound.speed)
    linear = judged("|F| <= rate |f| + slope", finite, bound.rate, "rate, from norms of the maps")
    return Explanation(
        (
            Theorem(
                "Lipschitz",
                lipschitz,
                f"one solution for every f_I; |f - g|(t) <= exp(int Lip) |f - g|(0), {factor}",
            ),
            Theorem("growth", (*steep, operators, linear, norms), growth.sentence + start),
            Theorem(
                "Euler's method",
                lipschitz,
                "with this control, states of the layers tend to f as every layer is cut into "
                "more, like 1/K; whether controls of more layers have a limit, ask `ode_test`",
            ),
        )
    )


def _unbounded(data: CoefficientHypotheses, sigma: SigmaHypotheses) -> Hypothesis:
    """That B is bounded, which the paper takes for granted; 2.1 is about one grid, and the bound
    for bounded activations asks nothing of B.
    """
    phrase = "|B| on this grid, which grows with N: B is a differential operator"
    if isfinite(sigma.lipschitz):
        limit = explicit_step_limit(data.network, data.control)
        phrase += f"; stiff: steps of Euler up to {limit:.3g}, or an implicit method"
    return Hypothesis("B bounded on L^2(Y)", "no", data.scale, phrase)


def _limits(data: CoefficientHypotheses, sigma: SigmaHypotheses) -> list[Theorem]:
    """Theorems 2.1, 2.2 and 3.1 with E02 to E08, and Remark 3.1 with E12."""
    factor = ""
    if data.settled["|B|"]:
        factor = f", factor {_exp(sigma.lipschitz * data.integrals['|B|']):.6g} at T = "
        factor += f"{data.horizon:g}"
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
                data.finite("int |a| dt finite", "|a|"),
                data.finite("int |B| dt finite", "|B|"),
            ),
            "one solution for every f_I on [0, T]; |f - g|(t) <= exp(Lip int |B|) |f - g|(0)"
            + factor,
        ),
        Theorem("Remark 3.1", (stay,), "stability of the linearised equation is that of its limit"),
    ]


def _long_times(data: CoefficientHypotheses, sigma: SigmaHypotheses) -> list[Theorem]:
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


def _finite_rank(data: CoefficientHypotheses, sigma: SigmaHypotheses) -> list[Theorem]:
    """Theorem 3.4 with E16, E17."""
    autonomous, name, then = (
        data.autonomous(),
        "D T positive definite",
        "u = 0 is locally exponentially stable",
    )
    if not data.constant:
        gram = Hypothesis(name, "undecided", float("nan"), "b depends on time, and T with it")
    elif data.scale == 0.0:
        gram = Hypothesis(name, "no", 0.0, "b = 0")
    elif not data.network.kernel.bounded:
        gram = Hypothesis(name, "undecided", float("nan"), "D and T are those of a finite rank")
    else:
        test = gram_test(WidthDepth(data.network.grid, identity, data.network.kernel), data.control)
        verdict = "yes" if test.applies else "no" if test.decided else "undecided"
        phrase = "least eigenvalue of (D T + T^T D) / 2"
        gram = Hypothesis(name, verdict, float(test.symmetric_dt[0]), phrase)
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


def _growth(data: CoefficientHypotheses, sigma: SigmaHypotheses) -> list[Theorem]:
    """The L^1 bound with E18, Proposition 3.5 in the form of LM-37, and bounded activations."""
    lipschitz, speed = (sigma.globally, sigma.vanishes), sigma.lipschitz
    biased = data.finite("int int |a| finite", "int |a|")
    columns = data.finite("int sup_z int |b| dy dt finite", "sup_z int |b| dy")
    sup = data.finite("int sup |b| dt finite", "sup |b|")
    start, first = (
        ("|f_I|", "int |f_I|")
        if data.start is None
        else (f"{data.start:.6g}", f"{data.start_l1:.6g}")
    )
    slope = "(2 L int Sigma(u_I))^1/2"
    if data.potential is not None and isfinite(sigma.lipschitz):
        slope = f"{sqrt(max(0.0, 2.0 * sigma.lipschitz * data.potential)):.6g}"
    size = judged(
        "|Y| <= 1",
        sigma.measure <= 1.0,
        sigma.measure,
        "|Y|, which the printed exponent int sup |b| lacks",
    )
    unit = judged("Lip(sigma) <= 1", sigma.lipschitz <= 1.0, sigma.lipschitz, "sup |sigma'|")
    bounded, steep = sigma.bounded, "sup |sigma| |Y|^1/2"
    if sigma.supremum is not None:
        steep = f"{sigma.supremum * sqrt(sigma.measure):.6g}"
    return [
        Theorem(
            "L1 bound",
            (*lipschitz, biased, columns),
            _l1_bound(first, speed, biased, columns),
        ),
        Theorem(
            "L1 bound, printed",
            (*lipschitz, unit, biased, sup, size),
            _l1_bound(first, 1.0, biased, sup),
        ),
        Theorem(
            "Proposition 3.5",
            (data.autonomous(), data.monotone(), *lipschitz, sigma.nondecreasing),
            f"|f(t)| <= {start} + {slope} t",
        ),
        Theorem("bounded activation", (bounded, sigma.finite), f"|f(t)| <= {start} + {steep} t"),
    ]


def _l1_bound(start: str, speed: float, biased: Hypothesis, kernel: Hypothesis) -> str:
    """(start + L int int |a|) exp(L int |b|), in numbers where both integrals are known."""
    if "undecided" in (biased.verdict, kernel.verdict):
        return (
            f"int |f(T)| <= ({start} + L int int |a|) exp(L {kernel.name.removesuffix(' finite')})"
        )
    return (
        f"int |f(T)| <= ({start} + {speed * biased.number:.6g}) {_exp(speed * kernel.number):.6g}"
    )


def _exp(x: float) -> float:
    return exp(x) if x < 700.0 else inf
