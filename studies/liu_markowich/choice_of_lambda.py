"""How strong should the penalty be?  The corner of the L-curve, and cross-validation, on noisy
data.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from continuum import Control, LearningProblem, NeuralODE2, Projection, Tikhonov, TimeMesh, tanh
from solvers import LBFGS, Euler, discretize, integrate, minimize

from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, SKY, VERMILION, new_figure
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


def _curve(ax: Axes, case: xr.Dataset) -> None:
    x, y = case["misfit"].values, case["size"].values
    strengths = case["strength"].values
    ax.loglog(x, y, "o-", color=BLUE, markersize=4)
    for name, color, marker in (("corner", VERMILION, "s"), ("validated", GREEN, "D")):
        i = int(np.argmin(np.abs(np.log(strengths / float(case[name])))))
        ax.plot(x[i], y[i], marker, color=color, markersize=10, fillstyle="none", markeredgewidth=2)
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
    ax.set_xlabel("strength $\\lambda$")
    ax.set_ylabel("mean of $|o - y|^2 / 2$")
    ax.grid(True)


def _fit(ax: Axes, case: xr.Dataset) -> None:
    ax.plot(case["x"], case["y"], ".", color=BLACK, markersize=6)
    ax.plot(case["fine_x"], truth(case["fine_x"].values), color=SKY, linewidth=2.5)
    ax.plot(case["fine_x"], case["corner_fit"], "--", color=VERMILION)
    ax.plot(case["fine_x"], case["validated_fit"], "-.", color=GREEN)
    ax.set_xlabel("input $x$")
    ax.set_ylabel("output $o$")
    ax.grid(True)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(len(cases), 3, width=12.6, height=3.7 * len(cases) + 0.5)
    notes = []
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
            f"{errors[0]:.1e}), validation {float(case['validated']):.1e} ({errors[1]:.1e}), best "
            f"{float(case['strength'].values[np.argmin(case['true_error'].values)]):.1e} "
            f"({float(case['true_error'].min()):.1e})"
        )
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    caption = (
        f"Strengths chosen by the corner of the L-curve (square) and cross-validation "
        f"(diamond). {'; '.join(notes)}."
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
    samples: int = 30,
    noise: float = 0.3,
    seed: int = 0,
    layers: int = 3,
    folds: int = 3,
    strengths: int = 11,
    weakest: float = 1e-4,
    strongest: float = 1.0,
) -> xr.Dataset:
    """How strong a penalty for noisy data: the corner of the L-curve against cross-validation.

    minimise mean |o - y|^2 / 2 + strength int |w|^2 + |b|^2 dt over a ResNet f' = w tanh(f) + b of
    nine units, from 0 and 4 (x - c) for eight centres c in [-1, 1], o the first entry at T = 1, for
    y = sin 3x + noise, x uniform in (-1, 1).  The L-curve is
    (log misfit, log |(w, b)|^2) by strength; its corner is where its curvature is largest.
    Cross-validation trains without each fold of the samples, and takes the strength whose mean
    misfit on the folds left out is least.

    misfit, size, curvature, validation, true_error (against sin 3x on (-1, 1)): by strength;
    corner, validated: the two choices; corner_fit, validated_fit: their outputs.  seed draws data
    and folds.
    """
    if not 2 <= folds <= samples:
        raise ValueError(f"folds must be from 2 to the number of samples, {samples}, got {folds}")
    if strengths < 7 or not 0 < weakest < strongest:
        raise ValueError(
            f"strengths must be >= 7 and 0 < weakest < strongest, got {strengths}, {weakest} and "
            f"{strongest}"
        )
    if noise < 0:
        raise ValueError(f"noise must be >= 0, got {noise}")
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-1.0, 1.0, samples))
    y = truth(x) + noise * rng.standard_normal(samples)
    problem = regression(x, y, layers)
    fine = np.linspace(-1.0, 1.0, 101)
    exact = regression(fine, truth(fine), layers)
    grid = np.geomspace(weakest, strongest, strengths)
    controls = fits(problem, grid)
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
    outputs = {
        name: integrate(exact.network, controls[i], exact.initial, Euler()).trajectory.final[0]
        for name, i in chosen.items()
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
        "y": described("y", y, "1", "noisy data", ("x",)),
        "corner_fit": described(
            "corner_fit", outputs["corner"], "1", "output at the corner", ("fine_x",)
        ),
        "validated_fit": described(
            "validated_fit", outputs["validated"], "1", "output validated", ("fine_x",)
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
