"""Bounds of settling times against measured ones, on random problems."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import Control, LearnedField, LearningProblem, TimeMesh, identity, tanh
from solvers.finite_time import (
    Law,
    PowerLaw,
    PseudoinverseLaw,
    SettlingBound,
    SignLaw,
    neuron,
    settling_bound,
    train_in_time,
)

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER

Kind: TypeAlias = Literal[
    "law (3), one sample",
    "pseudoinverse, sigmoids",
    "law (13), linear",
    "law (13), sigmoids",
    "law (13), network",
]
Posed: TypeAlias = tuple[LearningProblem, Control, Law]
"""A problem, where it starts and the law."""

LOOKS = dict(
    zip(
        Kind.__args__,
        zip((BLUE, ORANGE, GREEN, VERMILION, PURPLE), "osD^v", strict=True),
        strict=True,
    )
)


def drawn(kind: Kind, rng: np.random.Generator) -> tuple[Posed, SettlingBound]:
    """A random problem for which a time is known; those without one are drawn again."""
    for _ in range(1000):
        posed = _random(kind, rng)
        bound = settling_bound(*posed)
        if bound.time is not None:
            return posed, bound
    raise ValueError(f"no problem with a known time among 1000 of the kind {kind!r}")


def _random(kind: Kind, rng: np.random.Generator) -> Posed:
    samples = 1 if "one sample" in kind or "network" in kind else int(rng.integers(2, 5))
    inputs = int(rng.integers(samples, samples + 4))
    x, gain = rng.standard_normal((inputs, samples)), float(10.0 ** rng.uniform(-1.0, 1.0))
    alpha = float(rng.uniform(0.1, 0.9))
    law: Law = PowerLaw(alpha, float(rng.uniform(0.0, 0.9) * (1.0 - alpha)), gain)
    if kind == "law (13), network":
        width = int(rng.integers(2, 6))
        field = LearnedField(1, inputs, (width,), tanh, timed=False)
        problem = LearningProblem(
            field.at(x), np.zeros((1, 1)), rng.standard_normal((1, 1)), TimeMesh(1.0, 1)
        )
        return problem, problem.space.random(rng, 0.7), law
    if kind == "law (13), linear":
        problem = neuron(x, rng.standard_normal(samples), link=identity)
        return problem, problem.space.random(rng), law
    aim = 0.5 * rng.standard_normal(inputs)
    target = 1.0 / (1.0 + np.exp(-aim @ x))
    problem = neuron(x, target)
    if kind == "law (3), one sample":
        return problem, problem.space.random(rng), SignLaw(gain, alpha=alpha)
    if kind == "pseudoinverse, sigmoids":
        return problem, problem.space.random(rng), PseudoinverseLaw(float(0.8 * rng.random()), gain)
    near = problem.space.sample(weight1=np.concatenate([[0.0], aim])[None])
    return problem, near + problem.space.random(rng, 0.3), law


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=10.0, height=5.0)
    left, right = axes[0]
    above, total, least, longer = 0, 0, np.inf, {"(17)": [0, 0], "(18)": [0, 0]}
    for case in cases:
        kind = str(case_parameters(case)["kind"])
        color, marker = LOOKS[kind]
        look = {"color": color, "linestyle": "none", "markersize": 5}
        bound, measured = case["bound"].values, case["measured"].values
        printed = case["printed"].values
        left.loglog(bound, measured, marker, label=kind, alpha=0.8, **look)
        right.loglog(printed, measured, marker, markerfacecolor="none", **look)
        above += int(np.sum(measured > bound))
        total, least = total + len(bound), min(least, float(np.min(measured / bound)))
        count = longer["(17)" if "law (3)" in kind else "(18)"]
        count[0] += int(np.sum(measured > printed))
        count[1] += int(np.sum(np.isfinite(printed)))
    for ax, name in ((left, "known before the run"), (right, "printed, (17) and (18)")):
        ends = np.array([*ax.get_xlim(), *ax.get_ylim()])
        line = np.array([ends.min(), ends.max()])
        ax.plot(line, line, color=BLACK, linewidth=1.0)
        ax.set_xlabel(f"time {name} [pseudo-time]")
        ax.grid(True)
    level = float(case_parameters(cases[0])["level"])
    left.set_ylabel(f"measured, until $|e| \\leq {level:g}\\, |e_0|$ [pseudo-time]")
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    words = " and ".join(
        f"{many} of {of} measured times are longer than {name}"
        for name, (many, of) in longer.items()
    )
    caption = (
        f"Pseudo-time until the largest error is {level:g} of the first one, against the settling "
        f"time known before the run, on {total} random problems: {above} above the diagonal, the "
        f"least share {least:.2g}.  Right: against the printed formulas, which the pseudoinverse "
        f"and networks do not have: {words}.  Law (3) and the pseudoinverse have exact times, "
        "and stay below the diagonal only because the errors measured are not yet 0."
    )
    return [Picture("settling", " ".join(caption.split()), figure)]


@study(
    "finite_time/settling",
    paper=PAPER,
    figure="Theorems 1 and 2",
    plot=_plot,
    cases=[{"kind": list(Kind.__args__)}],
)
def settling(
    kind: Kind = "law (13), linear",
    problems: Count = 40,
    steps: Count = 1000,
    level: Positive = 1e-3,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does training settle within the time that is known before the run?

    Random inputs (normal), gains in [0.1, 10], alpha in [0.1, 0.9], alpha + beta < 1; one neuron or
    a network with one hidden layer of tanh.  Steps of a `steps`-th of the known time: exact where
    the errors close, else semi-implicit.

    bound: the time known; measured: the pseudo-time of the first step after which max |e| <= level
    max |e_0|, infinite if there is none; left: max |e| / max |e_0| at the end of the run, which is
    the known time or when max |e| <= 1e-12; printed: (17) or (18), NaN for networks; exact: 1 where
    the time is that of the errors, 0 where it is a bound; lambda_min: of J J^T in the bound.
    """
    if problems < 1 or steps < 10 or not 0.0 < level < 1.0:
        raise ValueError(
            f"problems must be >= 1, steps >= 10 and level in (0, 1), got {problems}, {steps}, "
            f"{level}"
        )
    rng = np.random.default_rng([seed, list(Kind.__args__).index(kind)])
    rows = []
    for _ in range(problems):
        (problem, start, law), bound = drawn(kind, rng)
        time = bound.time or np.nan
        exact = bound.kind == "exact"
        closes = exact and kind != "law (13), network"
        scheme = "exact" if closes else "semi-implicit"
        run = train_in_time(problem, law, time, time / steps, scheme, start)
        e, t = run.history["error"], run.history["pseudo_time"]
        reached = np.flatnonzero(e <= level * e[0])
        measured = t[reached[0]] if len(reached) else np.inf
        known = np.nan if bound.lambda_min is None else bound.lambda_min
        printed = np.nan if bound.printed is None else bound.printed
        rows.append((time, measured, e[-1] / e[0], printed, float(exact), known))
    columns = np.array(rows).T
    names = {
        "bound": ("pseudo-time", "time known before the run"),
        "measured": ("pseudo-time", "time of max |e| <= level max |e_0|"),
        "left": ("1", "max |e| / max |e_0| at the end"),
        "printed": ("pseudo-time", "(17) or (18)"),
        "exact": ("1", "1 where the time is exact"),
        "lambda_min": ("1", "lambda_min(J J^T) in the bound"),
    }
    return xr.Dataset(
        {
            name: described(name, column, *words, ("problem",))
            for (name, words), column in zip(names.items(), columns, strict=True)
        },
        coords={"problem": np.arange(problems)},
    )
