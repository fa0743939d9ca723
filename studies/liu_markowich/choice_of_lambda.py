"""How strong should the penalty be?  The corner of the L-curve, cross-validation, and Morozov's
discrepancy principle, on noisy data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import xarray as xr
from annotated_types import Gt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from continuum import Control, LearningProblem, NeuralODE2, Projection, Tikhonov, TimeMesh, tanh
from solvers import LBFGS, Euler, discretize, integrate, minimize

from ..bench.parameters import Count, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

CENTRES = np.linspace(-1.0, 1.0, 8)
METHOD = LBFGS(gtol=1e-4, max_iterations=150)


def truth(x: np.ndarray) -> np.ndarray:
    """The function that is to be learnt."""
    return np.sin(3.0 * x)


def regression(x: np.ndarray, y: np.ndarray, layers: int) -> LearningProblem:
    """f' = w tanh(f) + b from (0, 4 (x - c_1), ..., 4 (x - c_8)), its first entry at T = 1 to be y:
    M samples.
    """
    start = np.concatenate([np.zeros((1, len(x))), 4.0 * (x - CENTRES[:, None])])
    units = len(start)
    return LearningProblem(
        NeuralODE2(units, tanh),
        start,
        y[None, :],
        TimeMesh(1.0, layers),
        readout=Projection(np.eye(units)[:1]),
    )


def fits(problem: LearningProblem, strengths: np.ndarray) -> list[Control]:
    """The controls by strength, which increases.

    The strongest penalty first, from zero; every further one starts where the last one ended.
    """
    control, found = problem.space.zeros(), []
    for strength in strengths[::-1]:
        penalised = replace(problem, penalty=Tikhonov(float(strength)))
        control = minimize(penalised, METHOD, initial=control, raise_on_failure=False).control
        found.append(control)
    return found[::-1]


def curvature(strengths: np.ndarray, misfit: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Of the L-curve (log misfit, log |c|^2) as a function of log strength, by central differences;
    NaN at the ends.
    """
    s, x, y = np.log(strengths), np.log(misfit), np.log(size)
    dx, dy = np.gradient(x, s), np.gradient(y, s)
    found = (dx * np.gradient(dy, s) - np.gradient(dx, s) * dy) / (dx**2 + dy**2) ** 1.5
    found[[0, 1, -2, -1]] = np.nan  # differences of one-sided differences
    return found


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """The choice of `discrepancy`: the strength, its control, and its residual |o - y|."""

    strength: float
    control: Control
    residual: float


def residual_of(problem: LearningProblem, control: Control) -> float:
    """(mean |o - y|^2)^(1/2) of the ResNet."""
    return (2.0 * discretize(problem).value(control)) ** 0.5


def discrepancy(
    problem: LearningProblem, strengths: np.ndarray, controls: Sequence[Control], level: float
) -> Discrepancy:
    """The largest strength whose residual is at most `level`, to 1e-3 of the level (Morozov).

    Between the last strength of the grid with such a residual and the next one, secants in log
    strength (the Illinois method) say where the problem is solved again, each time from the
    control of the nearest stronger penalty.  Where the residual jumps over the level, because the
    minimiser changes, the last strength below the jump is returned.

    strengths, controls : increasing, as in `fits`
    raises ValueError for a grid on which the residual does not cross the level
    """
    residuals = [residual_of(problem, c) for c in controls]
    inside = [i for i, r in enumerate(residuals) if r <= level]
    if not inside:
        raise ValueError(
            f"strengths contain no discrepancy level: the residual is {residuals[0]:.4g} at the "
            f"weakest, {strengths[0]:.3g}, and not below {min(residuals):.4g}, but eta times the "
            f"noise is {level:.4g}; give weaker penalties, or a larger eta"
        )
    if inside[-1] == len(residuals) - 1:
        raise ValueError(
            f"strengths contain no discrepancy level: at the strongest, {strengths[-1]:.3g}, the "
            f"residual {residuals[-1]:.4g} is still at most eta times the noise, {level:.4g}; give "
            "stronger penalties, or a smaller eta"
        )
    i = inside[-1]
    best = Discrepancy(float(strengths[i]), controls[i], residuals[i])
    aim, start = (1.0 - 5e-4) * level, controls[i + 1]
    s = np.log(strengths[i : i + 2])
    gaps, last = np.array([residuals[i], residuals[i + 1]]) - aim, 0
    while best.residual < (1.0 - 1e-3) * level and s[1] - s[0] > 1e-6:
        middle = float(s[1] - gaps[1] * (s[1] - s[0]) / (gaps[1] - gaps[0]))
        penalised = replace(problem, penalty=Tikhonov(float(np.exp(middle))))
        control = minimize(penalised, METHOD, initial=start, raise_on_failure=False).control
        residual = residual_of(problem, control)
        if residual <= level:
            best = Discrepancy(float(np.exp(middle)), control, residual)
        side = 0 if residual <= aim else 1
        start = control if side else start
        s[side], gaps[side] = middle, residual - aim
        gaps[1 - side] *= 0.5 if side == last else 1.0
        last = side
    return best


def _curve(ax: Axes, case: xr.Dataset) -> None:
    x, y = case["misfit"].values, case["size"].values
    strengths = case["strength"].values
    ax.loglog(x, y, "o-", color=BLUE, markersize=4)
    for name, color, marker in (("corner", VERMILION, "s"), ("validated", GREEN, "D")):
        i = int(np.argmin(np.abs(np.log(strengths / float(case[name])))))
        ax.plot(x[i], y[i], marker, color=color, markersize=10, fillstyle="none", markeredgewidth=2)
    ax.plot(
        float(case["discrepancy_misfit"]),
        float(case["discrepancy_size"]),
        "^",
        color=PURPLE,
        markersize=10,
        fillstyle="none",
        markeredgewidth=2,
    )
    for i in (0, -1):
        ax.annotate(
            f"$\\lambda$ = {strengths[i]:.0e}",
            (x[i], y[i]),
            xytext=(8, 4),
            textcoords="offset points",
            fontsize=9,
        )
    ax.margins(0.15)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("misfit of the training data")
    ax.set_ylabel("$|(w, b)|^2$")
    ax.grid(True)


def _errors(ax: Axes, case: xr.Dataset) -> None:
    strengths = case["strength"].values
    ax.loglog(strengths, case["misfit"], "o-", color=BLUE, markersize=4, label="training")
    ax.loglog(
        strengths, case["validation"], "^-", color=ORANGE, markersize=4, label="cross-validation"
    )
    ax.loglog(
        strengths, case["true_error"], "v-", color=SKY, markersize=4, label="against the truth"
    )
    ax.axvline(
        float(case["corner"]), color=VERMILION, linestyle="--", label="corner of the L-curve"
    )
    ax.axvline(
        float(case["validated"]), color=GREEN, linestyle="-.", label="least validation error"
    )
    ax.axvline(
        float(case["discrepancy"]), color=PURPLE, linestyle=":", label="discrepancy principle"
    )
    ax.axhline(0.5 * float(case["level"]) ** 2, color=PURPLE, linestyle=":", linewidth=0.8)
    ax.set_xlabel("strength $\\lambda$")
    ax.set_ylabel("mean of $|o - y|^2 / 2$")
    ax.grid(True)


def _fit(ax: Axes, case: xr.Dataset) -> None:
    ax.plot(case["x"], case["y"], ".", color=BLACK, markersize=6)
    ax.plot(case["fine_x"], truth(case["fine_x"].values), color=SKY, linewidth=2.5)
    ax.plot(case["fine_x"], case["corner_fit"], "--", color=VERMILION)
    ax.plot(case["fine_x"], case["validated_fit"], "-.", color=GREEN)
    ax.plot(case["fine_x"], case["discrepancy_fit"], ":", color=PURPLE, linewidth=2)
    ax.set_xlabel("input $x$")
    ax.set_ylabel("output $o$")
    ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(len(cases), 3, width=12.6, height=3.7 * len(cases) + 0.5)
    notes, ratios = [], []
    for row, case in zip(axes, cases, strict=True):
        values = case_parameters(case)
        _curve(row[0], case)
        _errors(row[1], case)
        _fit(row[2], case)
        row[0].set_title(f"L-curve, seed {values['seed']}")
        row[1].set_title(f"errors, noise {float(values['noise']):g}")
        row[2].set_title("fits, truth and data")
        errors = (
            case["true_error"]
            .interp(strength=[float(case["corner"]), float(case["validated"])])
            .values
        )
        notes.append(
            f"seed {values['seed']}, noise {float(values['noise']):g}: corner "
            f"{float(case['corner']):.1e} (true error "
            f"{errors[0]:.1e}), validation {float(case['validated']):.1e} ({errors[1]:.1e}), "
            f"discrepancy {float(case['discrepancy']):.1e} "
            f"({float(case['discrepancy_error']):.1e}), best "
            f"{float(case['strength'].values[np.argmin(case['true_error'].values)]):.1e} "
            f"({float(case['true_error'].min()):.1e})"
        )
        ratios.append(float(case["discrepancy_error"] / case["true_error"].min()))
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    eta = float(case_parameters(cases[0])["eta"])
    caption = (
        f"Strengths chosen by the corner of the L-curve (square), cross-validation (diamond) and "
        f"the discrepancy principle (triangle; the horizontal line is its level, half the square "
        f"of {eta:g} times the noise). {'; '.join(notes)}. The true error at the discrepancy "
        f"principle's choice is "
        f"{', '.join(f'{ratio:.1f}' for ratio in ratios)} times the best of the grid."
    )
    return [Picture("choice", caption, figure)]


@study(
    "liu_markowich/choice_of_lambda",
    paper=PAPER,
    figure="Section 4.1, (4.6)",
    plot=_plot,
    cases=[{"seed": [0, 1]}],
)
def choice_of_lambda(
    samples: Count = 30,
    noise: NonNegative = 0.3,
    seed: Seed = 0,
    layers: Count = 3,
    folds: Count = 3,
    strengths: Count = 11,
    weakest: Positive = 1e-4,
    strongest: Positive = 1.0,
    eta: Annotated[float, Gt(1)] = 1.1,
) -> xr.Dataset:
    """How strong a penalty for noisy data: the corner of the L-curve, cross-validation, and the
    discrepancy principle.

    minimise mean |o - y|^2 / 2 + strength int |w|^2 + |b|^2 dt over a ResNet f' = w tanh(f) + b of
    nine units, from 0 and 4 (x - c) for eight centres c in [-1, 1], o the first entry at T = 1, for
    y = sin 3x + noise, x uniform in (-1, 1).  The L-curve is
    (log misfit, log |(w, b)|^2) by strength; its corner is where its curvature is largest.
    Cross-validation trains without each fold of the samples, and takes the strength whose mean
    misfit on the folds left out is least.  The discrepancy principle (Morozov), which alone is told
    the noise, takes the largest strength with (mean |o - y|^2)^(1/2) <= eta noise, eta > 1, found
    between the strengths of the grid by secants; a grid on which the residual does not cross that
    level is refused.

    misfit, size, curvature, validation, true_error (against sin 3x on (-1, 1)): by strength;
    corner, validated, discrepancy: the choices; corner_fit, validated_fit, discrepancy_fit: their
    outputs; discrepancy_misfit, _size, _error: as above, at that choice; level: eta noise.  seed
    draws data and folds.
    """
    if not 2 <= folds <= samples:
        raise ValueError(f"folds must be from 2 to the number of samples, {samples}, got {folds}")
    if strengths < 7 or not 0 < weakest < strongest < np.inf:
        raise ValueError(
            f"strengths must be >= 7 and 0 < weakest < strongest, finite, got {strengths}, "
            f"{weakest} and {strongest}"
        )
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise must be >= 0 and finite, got {noise}")
    if not eta > 1:
        raise ValueError(f"eta must be > 1, got {eta}")
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1.0, 1.0, samples))
    y = truth(x) + noise * rng.standard_normal(samples)
    problem = regression(x, y, layers)
    fine = np.linspace(-1.0, 1.0, 101)
    exact = regression(fine, truth(fine), layers)
    grid = np.geomspace(weakest, strongest, strengths)
    controls = fits(problem, grid)
    morozov = discrepancy(problem, grid, controls, eta * noise)
    misfit, true_error = (
        np.array([discretize(p).value(c) for c in controls]) for p in (problem, exact)
    )
    size = np.array([problem.space.norm(c) ** 2 for c in controls])
    validation = np.zeros(strengths)
    for part in np.array_split(rng.permutation(samples), folds):
        rest = np.setdiff1d(np.arange(samples), part)
        left_out = discretize(problem.batch(part))
        errors = [left_out.value(control) for control in fits(problem.batch(rest), grid)]
        validation += np.array(errors) * len(part) / samples
    bending = curvature(grid, misfit, size)
    chosen = {"corner": int(np.nanargmax(bending)), "validated": int(np.argmin(validation))}
    best = {name: controls[i] for name, i in chosen.items()} | {"discrepancy": morozov.control}
    outputs = {
        name: integrate(exact.network, c, exact.initial, Euler()).trajectory.final[0]
        for name, c in best.items()
    }
    found = {
        "misfit": described("misfit", misfit, "1", "training error", ("strength",)),
        "size": described("size", size, "1", "|(w, b)|^2", ("strength",)),
        "curvature": described("curvature", bending, "1", "of the L-curve", ("strength",)),
        "validation": described(
            "validation", validation, "1", "error on samples left out", ("strength",)
        ),
        "true_error": described(
            "true_error", true_error, "1", "error against the truth", ("strength",)
        ),
        "corner": described("corner", grid[chosen["corner"]], "1", "strength at the corner"),
        "validated": described(
            "validated", grid[chosen["validated"]], "1", "strength of least validation error"
        ),
        "discrepancy": described(
            "discrepancy", morozov.strength, "1", "largest strength within eta noise"
        ),
        "discrepancy_misfit": described(
            "discrepancy_misfit", 0.5 * morozov.residual**2, "1", "training error there"
        ),
        "discrepancy_size": described(
            "discrepancy_size", problem.space.norm(morozov.control) ** 2, "1", "|(w, b)|^2 there"
        ),
        "discrepancy_error": described(
            "discrepancy_error",
            discretize(exact).value(morozov.control),
            "1",
            "error against the truth there",
        ),
        "level": described("level", eta * noise, "1", "eta times the noise"),
        "y": described("y", y, "1", "noisy data", ("x",)),
        "corner_fit": described(
            "corner_fit", outputs["corner"], "1", "output at the corner", ("fine_x",)
        ),
        "validated_fit": described(
            "validated_fit", outputs["validated"], "1", "output validated", ("fine_x",)
        ),
        "discrepancy_fit": described(
            "discrepancy_fit", outputs["discrepancy"], "1", "output within eta noise", ("fine_x",)
        ),
    }
    return xr.Dataset(
        found,
        coords={
            "strength": ("strength", grid, {"units": "1", "long_name": "strength of the penalty"}),
            "x": ("x", x, {"units": "1", "long_name": "inputs"}),
            "fine_x": ("fine_x", fine, {"units": "1", "long_name": "inputs of the truth"}),
        },
    )
