"""Weaker and weaker penalties, or descent without one: the direction of the separator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr
from scipy.optimize import nnls, root_scalar
from scipy.special import expit

from continuum import (
    Affine,
    Chain,
    Inputs,
    LearningProblem,
    Linear,
    Logistic,
    NeuralODE2,
    State,
    Tikhonov,
    TimeMesh,
    identity,
)
from solvers import Euler, RiccatiNewton, integrate, minimize

from ..bench.parameters import Count, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .planar_data import points

Data: TypeAlias = Literal["clouds", "moons"]
Way: TypeAlias = Literal["readout", "layers"]
WAYS: tuple[Way, ...] = ("readout", "layers")
CURVES = (
    ("norm", "1", "|W|"),
    ("angle", "rad", "angle to the separator"),
    ("lack", "1", "lack of margin"),
    ("predicted", "1", "|W| of the law"),
)
COLORS = {"readout": BLUE, "layers": VERMILION, "descent": ORANGE}
MARKERS = {"readout": "o", "layers": "s", "descent": "^"}


def features(data: Data, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(h (P, M), labels (M,) of +-1), which a plane through 0 separates.

    "clouds": normal points in the plane at a distance of more than 0.3 from a line, on each side
    one label, h = (x, 1); "moons": the half circles of `points`, h = tanh(V x + c) / sqrt(40) with
    40 random rows of V and c, a random layer.
    """
    rng = np.random.default_rng(seed)
    if data == "clouds":
        x = rng.standard_normal((2, 40))
        height = 0.8 * x[0] - 0.6 * x[1] + 0.3
        far = np.abs(height) > 0.3
        return np.concatenate([x, np.ones((1, 40))])[:, far], np.sign(height[far])
    x, labels = points("moons")
    first, offset = 2.0 * rng.standard_normal((40, 2)), rng.standard_normal((40, 1))
    return np.tanh(first @ x + offset) / np.sqrt(40.0), labels


@dataclass(frozen=True)
class Separator:
    """The plane of largest margin, w = sum_i alpha_i z_i of least norm with w z_i >= 1.

    weight : w (P,);  multipliers : alpha (M,), >= 0, positive for the support vectors
    residual : the largest error in w z_i >= 1 and in alpha_i (w z_i - 1) = 0
    """

    weight: np.ndarray
    multipliers: np.ndarray
    residual: float

    @property
    def margin(self) -> float:
        """gamma = 1 / |w|: the least of w z_i / |w|."""
        return 1.0 / float(np.linalg.norm(self.weight))


def separator(z: np.ndarray) -> Separator:
    """The plane of largest margin of z_i = y_i h_i, the columns of z (P, M).

    minimise |u_1 z_1 + ... + u_M z_M|^2 + (u_1 + ... + u_M - 1)^2 over u >= 0, which is finite
    (an active set): alpha = u / (1 - sum u).
    raises ValueError if no plane through 0 separates the labels
    Source: Lawson and Hanson, Solving Least Squares Problems, chapter 23 (least distance).
    """
    last = np.zeros(len(z) + 1)
    last[-1] = 1.0
    u, _ = nnls(np.concatenate([z, np.ones((1, z.shape[1]))]), last, maxiter=100 * z.shape[1])
    left = 1.0 - float(np.sum(u))
    if not left > 1e-10:
        raise ValueError(f"no plane through 0 separates the labels: 1 - sum u = {left:.2g}")
    alpha = u / left
    weight = z @ alpha
    slack = weight @ z - 1.0
    residual = max(float(np.max(-slack)), float(np.max(np.abs(alpha * slack))))
    return Separator(weight, alpha, residual)


@dataclass(frozen=True)
class Law:
    """What is left of angle and margin when W = R w + rho + o(1), R -> infinity.

    With exp(-rho z_i) = alpha_i on the support vectors, rho in their span,
        |W| angle -> |rho - (rho, w) w / |w|^2| = `angle`,
        |W| (gamma - least W z_i / |W|) -> max log alpha - mean log alpha = `spread`,
    gamma |W| = R - shift + o(1), the shift that mean.

    The mean has the weights alpha.  span : an orthonormal basis of what the support vectors span,
    (P, S).  W has a further part of order 1 outside of it if descent left one there.
    """

    angle: float
    spread: float
    shift: float
    span: np.ndarray


def law(z: np.ndarray, best: Separator) -> Law:
    """The law of the separator of z (P, M), from its multipliers alone."""
    on = best.multipliers > 0.0
    logs, alpha = np.log(best.multipliers[on]), best.multipliers[on]
    rho = np.linalg.lstsq(z[:, on].T, -logs, rcond=None)[0]
    across = rho - (rho @ best.weight) * best.weight * best.margin**2
    mean = float(alpha @ logs / np.sum(alpha))
    span = np.linalg.qr(z[:, on])[0]
    return Law(float(np.linalg.norm(across)), float(np.max(logs)) - mean, mean, span)


def scale_of(strength: float, samples: int, margin: float, way: Way) -> float:
    """R of W = R w + rho + o(1) for a penalty: exp(-R) = strength M gamma C'(R / gamma).

    C(s), the least cost of |W| = s: s^2 for "readout", asinh(s)^2 for "layers" (TP-04).  The first
    is R = W(1 / (2 strength M)) with Lambert's function (E5).
    """

    def excess(r: float) -> float:
        s = r / margin
        slope = 2.0 * s if way == "readout" else 2.0 * np.arcsinh(s) / np.sqrt(1.0 + s * s)
        return -r - float(np.log(strength * samples * margin * slope))

    return float(root_scalar(excess, bracket=(1e-12, 1e4), xtol=1e-13).root)


def posed(
    h: np.ndarray, labels: np.ndarray, way: Way, strength: float, layers: int
) -> LearningProblem:
    """minimise the mean of log(1 + exp(-y_i o_i)) + strength |control|^2, o_i = W h_i.

    "readout": W is trained on features that stay; "layers": o = z(1) with z' = a(t) z + w(t) h_i,
    z(0) = 0, so that W = int_0^1 exp(int_t^1 a) w dt; the cost of W depends on |W| alone.
    """
    mesh, target = TimeMesh(1.0, layers), 0.5 * (1.0 + labels[None])
    if way == "readout":
        rest = NeuralODE2(len(h), identity)
        space = rest.controls(TimeMesh(1.0, 1), fixed={"weight": 0.0, "bias": 0.0})
        return LearningProblem(
            rest,
            h,
            target,
            space,
            readout=Affine(1, fixed={"readout.mu": np.zeros(1)}),
            terminal=Logistic(),
            penalty=_cost(way, strength),
        )
    return LearningProblem(
        _chain(h),
        np.zeros((1, h.shape[1])),
        target,
        mesh,
        readout=State(),
        terminal=Logistic(),
        penalty=_cost(way, strength),
    )


def _cost(way: Way, strength: float) -> Tikhonov:
    return Tikhonov(strength, ["readout.W"] if way == "readout" else None)


def _chain(h: np.ndarray) -> Chain:
    return Chain(1, (Inputs(data=h), Linear("weight", 1)))


def path(
    h: np.ndarray, labels: np.ndarray, way: Way, strengths: np.ndarray, layers: int
) -> tuple[np.ndarray, list[str]]:
    """(W (strengths, P), statuses): minimisers for one strength after the other, each started from
    the one before.
    """
    problem, rows, statuses = posed(h, labels, way, 1.0, layers), [], []
    control = problem.space.zeros()
    for strength in strengths:
        method = RiccatiNewton(gtol=1e-10 * float(strength), max_iterations=300)
        weaker = replace(problem, penalty=_cost(way, float(strength)))
        found = minimize(weaker, method, initial=control, raise_on_failure=False)
        control = found.control
        statuses.append(found.status.name)
        if way == "readout":
            rows.append(control["readout.W"][0])
        else:  # z(1) for the unit vectors as features
            unit = _chain(np.eye(len(h)))
            rows.append(
                integrate(unit, control, np.zeros((1, len(h))), Euler()).trajectory.final[0]
            )
    return np.array(rows), statuses


def descend(z: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, float]:
    """(W after `moments` iterations (moments, P), step): W <- W - step grad of the mean of
    log(1 + exp(-W z_i)) from 0, the step 1 / L with L = |z z^T| / (4 M), a bound on the Hessian.
    """
    samples = z.shape[1]
    step = 4.0 * samples / float(np.linalg.norm(z, 2)) ** 2
    w, rows, done = np.zeros(len(z)), [], 0
    for moment in moments:
        for _ in range(done, moment):
            w = w + (step / samples) * (z @ expit(-(w @ z)))
        done = moment
        rows.append(w)
    return np.array(rows), step


def compared(w: np.ndarray, z: np.ndarray, best: Separator) -> tuple[np.ndarray, ...]:
    """For each row of w (rows, P): |W|, its angle to the separator, gamma - least W z_i / |W|."""
    unit, norms = best.weight * best.margin, np.linalg.norm(w, axis=1)
    along = w @ unit
    angle = np.arctan2(np.linalg.norm(w - along[:, None] * unit, axis=1), along)
    return norms, angle, best.margin - np.min(w @ z, axis=1) / norms


def _predicted(scale: np.ndarray, found: Law, margin: float) -> np.ndarray:
    """|W| = (R - shift) / gamma for each R, NaN where that is below 1 and the law says nothing."""
    norms = (scale - found.shift) / margin
    return np.where(norms > 1.0, norms, np.nan)


def _curves(axes: np.ndarray, case: xr.Dataset, of: str, title: str) -> None:
    """One row: `of`, the angle or what lacks in margin, against lambda, iterations and |W|."""
    weak, descended, scaled = axes
    short = "angle [rad]" if of == "angle" else "lack of margin"
    for way in (*WAYS, "descent"):
        ax, x = (descended, "iteration") if way == "descent" else (weak, "strength")
        values, norms = case[f"{way}_{of}"].values, case[f"{way}_norm"].values
        style = {"color": COLORS[way], "marker": MARKERS[way], "linestyle": "none"}
        ax.loglog(case[x], values, markersize=4, label=way, **style)
        limit = float(case[f"{way}_limit"].sel(of=of))
        law_of = {"color": COLORS[way], "linewidth": 1.2, "label": f"{way}, law"}
        ax.loglog(case[x], limit / case[f"{way}_predicted"], "--", **law_of)
        scaled.semilogx(norms, norms * values, markersize=4, label=way, **style)
    limits = sorted({round(float(case[f"{way}_limit"].sel(of=of)), 12) for way in COLORS})
    for limit, line in zip(limits, ("--", ":", "-."), strict=False):
        scaled.axhline(limit, color=BLACK, linestyle=line, linewidth=1.2, label=f"law: {limit:.4g}")
    descended.sharey(weak)
    weak.invert_xaxis()
    weak.set(xlabel=r"strength $\lambda$ of the penalty", ylabel=title)
    descended.set(xlabel=r"iterations of descent at $\lambda = 0$", ylabel=title)
    scaled.set(xlabel="$|W|$", ylabel=f"$|W|$ times {short}", xlim=(1.0, None), ylim=(0.0, None))
    scaled.set_ylim(top=1.5 * scaled.get_ylim()[1])  # room for the legend
    for ax in axes:
        ax.grid(True)
        ax.legend(loc="upper right", ncols=2 if ax is scaled else 1)


def _note(case: xr.Dataset, way: str) -> str:
    """What the last point of a curve says of the law."""
    parts, worst = [], 0.0
    for of in ("angle", "lack"):
        last = float((case[f"{way}_{of}"] * case[f"{way}_norm"])[-1])
        limit = float(case[f"{way}_limit"].sel(of=of))
        parts.append(f"{last:.4g} of {limit:.4g}")
        worst = max(worst, abs(last / limit - 1.0))
    where = f"{way} ends at |W| = {float(case[f'{way}_norm'][-1]):.4g}: |W| angle "
    word = "" if worst < 0.05 else f", pre-asymptotic ({100 * worst:.0f} percent off)"
    return f"{where}{parts[0]}, |W| (lack of margin) {parts[1]}{word}"


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    pictures = []
    for n, case in enumerate(cases):
        given = case_parameters(case)
        figure, axes = new_figure(2, 3, width=11.4, height=6.8)
        _curves(axes[0], case, "angle", "angle to the SVM [rad]")
        _curves(axes[1], case, "lack", r"lack of margin $\gamma - \min_i W z_i / |W|$")
        outside = float(case["outside"])
        caption = (
            f"Logistic loss on {given['data']}, {case.sizes['sample']} samples and "
            f"{case.sizes['feature']} features, {int(case['support'])} support vectors, margin "
            f"gamma = {float(case['margin']):.5g}, next margin {float(case['second']):.4g} gamma: "
            "the angle to the separator of largest margin, and what the least margin lacks of "
            "gamma, as the penalty gets weaker (warm starts) and along gradient descent without "
            "one. Dashed: the law, limit / |W| with |W| from lambda or from the iterations, whose "
            "constants come from the separator's multipliers alone: 1 / log(1 / lambda) and 1 / "
            f"log(iterations). {_note(case, 'readout')}; {_note(case, 'layers')}; "
            f"{_note(case, 'descent')}. "
            + (
                f"Descent keeps a part of norm {outside:.3g} outside the span of the support "
                "vectors, read off its last iterate, which adds to the limit of its angle. "
                if outside > 1e-9
                else "The support vectors span all features: all three have the same limits. "
            )
            + "For layers the dashed law has the cost of the differential equation, not of the "
            "ResNet."
        )
        name = "margin" if len(cases) == 1 else f"margin_{n}"
        pictures.append(Picture(name, caption, figure))
    return pictures


@study(
    "turnpike/margin",
    paper=PAPER,
    figure="maximum margin separator",
    plot=_plot,
    cases=[{"data": ["clouds"], "seed": [8]}, {"data": ["moons"], "seed": [2]}],
)
def margin(
    data: Data = "clouds",
    decades: Count = 30,
    layers: Count = 32,
    iterations: Count = 1_000_000,
    seed: Seed = 8,
) -> xr.Dataset:
    """Does the logistic loss find the separator of largest margin, and how fast?

    minimise the mean of log(1 + exp(-y_i W h_i)) plus lambda times a cost of |W|, lambda -> 0, and
    the same by plain gradient descent at lambda = 0.  No control makes the loss 0, so the theorem
    on {phi = 0} does not apply, and |W| grows like log(1 / lambda) (E5).  W is linear in h: this is
    a linear classifier on fixed features (Rosset, Zhu, Hastie), trained as a readout, or as layers
    z' = a z + w h, whose cost depends on |W| alone.  Networks that move the features are outside
    what is proved, and are not shown.

    With z_i = y_i h_i, w = sum alpha_i z_i the least w with w z_i >= 1, and R -> infinity,

        W = R w + rho + o(1),  exp(-rho z_i) = alpha_i on the support vectors,

    with exp(-R) = lambda M gamma C'(R / gamma) for minimisers, M samples and C the cost of |W|, and
    R = log(step k / M) after k iterations.  So angle and lack of margin fall like 1 / |W|, with
    constants from alpha.  w and alpha come from a least-squares problem with signs (NNLS).

    X_norm, X_angle, X_lack: |W|, its angle to w, and gamma - least W z_i / |W|, for X = readout,
    layers (against strength) and descent (against iteration); X_predicted: |W| of the law, NaN
    where it is below 1; X_limit: the limits of |W| X_angle and |W| X_lack, for descent with the
    part outside the span of the support vectors, which only the run tells; margin, second: gamma,
    and the least margin of the others over gamma; residual: of the separator's conditions.
    """
    if not 2 <= decades <= 100 or not 1 <= layers <= 512 or not 10 <= iterations <= 10**8:
        raise ValueError(
            "decades must be from 2 to 100, layers from 1 to 512, iterations from 10 to 1e8, got "
            f"{decades}, {layers}, {iterations}"
        )
    h, labels = features(data, seed)
    z, samples = labels * h, len(labels)
    best = separator(z)
    found = law(z, best)
    strengths = 10.0 ** -np.arange(0.0, decades + 1, 2.0)
    moments = np.unique(np.geomspace(1, iterations, 37).round().astype(int))
    results, status = {}, []
    for way in WAYS:
        weights, ended = path(h, labels, way, strengths, layers)
        status.append(f"{way}: {', '.join(sorted(set(ended)))}")
        scales = np.array([scale_of(s, samples, best.margin, way) for s in strengths])
        results[way] = ("strength", weights, scales, 0.0)
    weights, step = descend(z, moments)
    outside = float(np.linalg.norm(weights[-1] - weights[-1] @ found.span @ found.span.T))
    results["descent"] = ("iteration", weights, np.log(step * moments / samples), outside)
    variables = {}
    for way, (along, weights, scales, apart) in results.items():
        predicted = _predicted(scales, found, best.margin)
        arrays = (*compared(weights, z, best), predicted)
        for (name, units, what), values in zip(CURVES, arrays, strict=True):
            whole = f"{way}_{name}"
            variables[whole] = described(whole, values, units, what, (along,))
        limit, whole = [np.hypot(found.angle, apart), found.spread], f"{way}_limit"
        variables[whole] = described(whole, limit, "1", "limits times |W|", ("of",))
    margins = best.weight @ z
    others = margins[best.multipliers == 0.0]
    return xr.Dataset(
        {
            **variables,
            "margin": described("margin", best.margin, "1", "gamma"),
            "support": described("support", found.span.shape[1], "1", "support vectors"),
            "second": described(
                "second", np.min(others, initial=np.inf), "1", "next margin over gamma"
            ),
            "residual": described("residual", best.residual, "1", "of the separator"),
            "outside": described("outside", outside, "1", "part of descent outside the span"),
            "separator": described("separator", best.weight, "1", "w", ("feature",)),
            "label": described("label", labels, "1", "label", ("sample",)),
        },
        coords={
            "strength": ("strength", strengths, {"units": "1"}),
            "iteration": ("iteration", moments, {"units": "1"}),
            "of": ("of", ["angle", "lack"]),
        },
        attrs={"status": "; ".join(status)},
    )
