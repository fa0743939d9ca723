"""The sine of Li, Chen, Tai and E: a narrow network learns a function of one number, by five
methods.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias, get_args

import numpy as np
import xarray as xr
from annotated_types import Ge, Le

from continuum import (
    Control,
    LearningProblem,
    NeuralODE,
    Projection,
    SquaredError,
    Tikhonov,
    TimeMesh,
    tanh,
)
from solvers import (
    LBFGS,
    Adam,
    Euler,
    GradientDescent,
    NewtonCG,
    Solution,
    integrate,
    minimize,
    pontryagin_certificate,
    successive_approximation,
)

from ..bench.parameters import Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER

Method: TypeAlias = Literal["E-MSA", "gradient descent", "Adam", "L-BFGS", "Newton-CG"]
METHODS: tuple[Method, ...] = get_args(Method)
STARTS = ("zero", "random")
POINTS, HORIZON, LAYERS = 100, 5.0, 20
ITERATIONS = {"E-MSA": 100, "gradient descent": 200, "Adam": 300, "L-BFGS": 200, "Newton-CG": 40}


def sine_problem(units: int, strength: float) -> LearningProblem:
    """Half the mean over 100 points x of (mean of the units at T - sin x)^2, every unit starting at
    x.
    """
    x = np.linspace(-np.pi, np.pi, POINTS)
    return LearningProblem(
        NeuralODE(units, tanh),
        np.tile(x, (units, 1)),
        np.sin(x)[None],
        TimeMesh(HORIZON, LAYERS),
        readout=Projection(np.full((1, units), 1.0 / units)),
        terminal=SquaredError(),
        penalty=Tikhonov(strength),
    )


def _solve(
    problem: LearningProblem, method: Method, start: Control, most: int, augmentation: float
) -> Solution:
    if method == "E-MSA":
        return successive_approximation(
            problem,
            initial=start,
            augmentation=augmentation,
            max_iterations=most,
            inner_iterations=10,
            raise_on_failure=False,
        )
    chosen = {
        "gradient descent": GradientDescent(max_iterations=most),
        "Adam": Adam(max_iterations=most, step=0.02),
        "L-BFGS": LBFGS(max_iterations=most),
        "Newton-CG": NewtonCG(max_iterations=most),
    }[method]
    return minimize(problem, chosen, initial=start, raise_on_failure=False)


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    starts = [
        start for start in STARTS if any(case_parameters(case)["start"] == start for case in cases)
    ]
    figure, axes = new_figure(len(starts), 2, width=10.0, height=1.0 + 3.1 * len(starts))
    notes = []
    for row, start in zip(axes, starts, strict=True):
        ranked = sorted(
            (case for case in cases if case_parameters(case)["start"] == start),
            key=lambda case: METHODS.index(str(case_parameters(case)["method"])),  # type: ignore[arg-type]
        )
        lines = []
        for case in ranked:
            parameters = case_parameters(case)
            method = str(parameters["method"])
            color = OKABE_ITO[METHODS.index(method)]  # type: ignore[arg-type]
            loss = case["objective"].values
            row[0].loglog(1 + case["iteration"].values, loss, color=color, label=method)
            row[1].loglog(np.maximum(case["seconds"].values, 1e-4), loss, color=color)
            row[1].loglog(max(float(case["seconds"][-1]), 1e-4), loss[-1], "o", color=color)
            lines.append(
                f"{method} {float(case['final_loss']):.1e} after {len(loss) - 1} iterations, "
                f"{float(case['seconds'][-1]):.2f} s, units {float(case['spread']):.1e} apart, "
                f"bias up to {float(case['bias']):.1e}"
            )
        seeds = sorted({int(case_parameters(case)["seed"]) for case in ranked})
        seeds_used = "" if start == "zero" else " (seed " + ", ".join(map(str, seeds)) + ")"
        notes.append(f"{start} start{seeds_used}: " + "; ".join(lines))
        for ax, label in zip(
            row, ("1 + iterations (epochs of Adam) [1]", "wall clock, one core [s]"), strict=True
        ):
            ax.set_title(f"{start} start")
            ax.set_xlabel(label)
            ax.set_ylabel("objective $J$ [1]")
            ax.grid(True)
    found = {
        label: h
        for row in axes
        for h, label in zip(*row[0].get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        found.values(), found.keys(), loc="outside lower center", ncols=len(METHODS), frameon=False
    )
    caption = (
        "Learning sin x with units that all start at x. From the zero control units stay copies "
        "of one, and biases 0, "
        "unless rounding breaks these symmetries. Mean squared errors: " + ". ".join(notes) + "."
    )
    return [Picture("loss", caption, figure)]


@study(
    "liu_markowich/sine_toy",
    paper=PAPER,
    figure="Section 5",
    plot=_plot,
    cases=[{"method": list(METHODS), "start": list(STARTS)}],
)
def sine_toy(
    method: Method = "E-MSA",
    start: Literal["zero", "random"] = "zero",
    units: Annotated[int, Ge(1), Le(50)] = 5,
    effort: Positive = 1.0,
    augmentation: Positive = 0.1,
    strength: Positive = 1e-6,
    seed: Seed = 0,
) -> xr.Dataset:
    """The sine toy of Li, Chen, Tai and E (2018): five methods from the zero and from a random
    start.

    x' = tanh(w x + b) with `units` units, 20 Euler steps of 0.25; 100 points in [-pi, pi], each
    copied to all units; J = mean of (mean of the units at T - sin x)^2 / 2 + strength int |w|^2 +
    |b|^2 dt. With 100 samples no closed form minimises the Hamiltonian, so successive approximation
    is inexact; E-MSA minimises the augmented one with rho = `augmentation`. The zero control is no
    stationary point, but there the gradient treats all units alike, and odd data keep the bias 0:
    what keeps both symmetries trains one odd unit in `units` copies, and no more; rounding may
    break them. random: entries with standard deviation 0.3, from `seed`.

    objective, seconds: at every iteration (E-MSA may rise, and returns the best one); final_loss:
    the mean squared error of the control returned; spread: how far its units are apart at T, at
    most; bias: its largest entry in size; gap: int (H - min H) dt of the
    differential equation, a lower bound; output: the function learned.
    """
    if not 1 <= units <= 50:
        raise ValueError(f"units must be from 1 to 50, got {units}")
    if not (effort > 0 and augmentation > 0 and strength > 0):
        raise ValueError(
            f"effort, augmentation and strength must be > 0, got {effort}, {augmentation} and "
            f"{strength}"
        )
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    problem = sine_problem(units, strength)
    space = problem.space
    begin = space.zeros() if start == "zero" else space.random(np.random.default_rng(seed), 0.3)
    found = _solve(problem, method, begin, max(1, round(effort * ITERATIONS[method])), augmentation)
    certificate = pontryagin_certificate(problem, found.control, eigenvalues=0, inner_iterations=20)
    final = _final(problem, found.control)
    output = final.mean(axis=0)
    x = problem.initial[0]
    status = found.status.value + (f" ({found.detail})" if found.detail else "")
    return xr.Dataset(
        {
            "objective": described(
                "objective", found.history["objective"], "1", "J of the ResNet", ("iteration",)
            ),
            "seconds": described(
                "seconds", found.history["seconds"], "s", "wall clock, one core", ("iteration",)
            ),
            "final_loss": described(
                "final_loss", np.mean((output - np.sin(x)) ** 2), "1", "mean squared error"
            ),
            "spread": described(
                "spread", np.max(np.ptp(final, axis=0)), "1", "largest distance of units"
            ),
            "bias": described(
                "bias", np.max(np.abs(found.control["bias"])), "1", "largest bias in size"
            ),
            "gap": described(
                "gap", certificate.total_gap, "1", "int (H - min H) dt, a lower bound"
            ),
            "output": described("output", output, "1", "function learned", ("point",)),
        },
        coords={
            "iteration": ("iteration", np.arange(len(found.history["objective"])), {"units": "1"}),
            "point": ("point", x, {"units": "rad", "long_name": "x"}),
        },
        attrs={"status": status, "certificate": str(certificate)},
    )


def _final(problem: LearningProblem, control: Control) -> np.ndarray:
    return integrate(problem.network, control, problem.initial, Euler()).trajectory.final
