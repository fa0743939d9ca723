"""A classifier of digits in a box without penalty: is its control bang-bang?"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from continuum import Control, LearningProblem
from solvers import RK4, Certificate, Euler, discretize, pontryagin_certificate
from solvers.steps.tableaux import RungeKutta

from ..bench.parameters import Count, Horizon, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import load_digits, split
from ..draw.figures import BLUE, GREEN, OKABE_ITO, ORANGE, new_figure
from ..shared import described
from .classification import INNER, READOUT, accuracy, classifier, history, train
from .paper import PAPER
from .train_digits import PIXELS, percent

NAMES = (*INNER, *READOUT)
LABELS = {"bias": "$a$", "kernel": "$b$", "readout.W": "$W$", "readout.mu": "$\\mu$"}
BINS = 20
SPREAD = 0.3
"""Standard deviation of the kernel's entries at the start, over the bound."""
NEAR = 1e-6
"""Of the bound: an entry nearer to it than this lies on it."""


def at_bounds(control: Control, bounds: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Which entries of every block lie at a bound."""
    return {name: np.abs(control[name]) >= r * (1.0 - NEAR) for name, r in bounds.items()}


def rounded(control: Control, bound: float) -> Control:
    """Entries of the kernel moved to the nearest bound, upwards from 0."""
    return control.replaced(kernel=np.where(control["kernel"] >= 0.0, bound, -bound))


def inside(problem: LearningProblem, bound: float, seed: int) -> Control:
    """Random kernels, few of their entries at a bound, all else zero."""
    rng = np.random.default_rng(seed)
    kernel = SPREAD * bound * rng.standard_normal(problem.space.zeros()["kernel"].shape)
    return problem.space.sample(kernel=np.clip(kernel, -bound, bound))


def verdict(certificate: Certificate) -> str:
    """What the certificate says of a control, in one sentence."""
    if not certificate.applies:
        return f"no certificate: {certificate.reason}"
    kind = "" if certificate.gap_exact else " at least"
    return (
        f"int (H - min H) dt is{kind} {certificate.total_gap:.2g}, the projected gradient "
        f"{certificate.projected_gradient:.2g}"
    )


def _strength(case: xr.Dataset) -> str:
    return f"{float(case_parameters(case)['strength']):g}"


def _shares(ax: Axes, cases: Sequence[xr.Dataset]) -> None:
    place, width = np.arange(len(cases)), 0.2
    for k, name in enumerate(NAMES):
        values = [100 * float(case["at_bound"].sel(block=name)) for case in cases]
        bars = ax.bar(place + (k - 1.5) * width, values, width, color=OKABE_ITO[k])
        bars.set_label(LABELS[name])
        ax.bar_label(bars, fmt="%.0f", fontsize=7)
    ax.set_xticks(place, [_strength(case) for case in cases])
    ax.set_xlabel("strength $\\lambda$ [1]")
    ax.set_ylim(0, 120)
    ax.set_yticks(np.arange(0, 101, 20))
    ax.set_ylabel("entries at a bound [%]")
    ax.set_title("share at the bounds")
    ax.legend(ncols=4, fontsize=9, loc="upper right")


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    cases = sorted(cases, key=lambda case: float(case_parameters(case)["strength"]))
    figure, axes = new_figure(1, 3, width=13.0, height=4.2)
    left, middle, right = axes[0]
    _shares(left, cases)
    lines = ("-", "--", "-.", ":")
    for k, case in enumerate(cases):
        edges = case["edge"].values
        heights = 100 * case["kernel_histogram"].values
        middle.stairs(
            heights,
            edges,
            color=OKABE_ITO[k % 7],
            linestyle=lines[k % 4],
            label=f"$\\lambda$ = {_strength(case)}",
        )
    middle.set_yscale("log")
    middle.set_xlabel("entry of $b$ over its bound [1]")
    middle.set_ylabel("share of the entries [%]")
    middle.set_title(f"kernel, {BINS} bins")
    middle.legend(fontsize=9)
    place = np.arange(len(cases))
    for shift, key, color, label in (
        (-0.27, "final_train_accuracy", BLUE, "training"),
        (0.0, "final_test_accuracy", ORANGE, "test"),
        (0.27, "rounded_test_accuracy", GREEN, "test, $b$ rounded"),
    ):
        bars = right.bar(
            place + shift, [100 * float(c[key]) for c in cases], 0.26, color=color, label=label
        )
        right.bar_label(bars, fmt="%.1f", fontsize=7)
    right.set_xticks(place, [_strength(case) for case in cases])
    right.set_xlabel("strength $\\lambda$ [1]")
    right.set_ylim(0, 150)
    right.set_yticks(np.arange(0, 101, 20))
    right.set_ylabel("accuracy [%]")
    right.set_title("accuracy, also rounded to the bounds")
    right.legend(ncols=1, fontsize=9, loc="upper right")
    right.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=""))
    notes = []
    for case in cases:
        share = case["at_bound"]
        notes.append(
            f"strength {_strength(case)}: at a bound a "
            f"{percent(share.sel(block='bias'))}, b {percent(share.sel(block='kernel'))}, W "
            f"{percent(share.sel(block='readout.W'))}; J = {float(case['final_objective']):.4f}, "
            f"test {percent(case['final_test_accuracy'])}, with b rounded to its bounds J = "
            f"{float(case['rounded_objective']):.4f}, test "
            f"{percent(case['rounded_test_accuracy'])}; {case.attrs['verdict']}"
        )
    first = percent(cases[0]["at_bound_at_start"])
    caption = (
        "Digits classified with every block in a box, with and without Tikhonov's penalty; at the "
        f"start {first} of b lie at a bound.  {'.  '.join(notes)}.  For one sample some bang-bang "
        "control minimises H; for many, through tanh, none need, and a share below 100% at a "
        "positive gap tells no more than where the search ended."
    )
    return [Picture("shares", caption, figure)]


@study(
    "liu_markowich/bang_bang_classifier",
    paper=PAPER,
    figure="Section 4.2",
    plot=_plot,
    cases=[{"strength": [0.0, 1e-4, 1e-3]}],
)
def bang_bang_classifier(
    strength: NonNegative = 0.0,
    bound: Positive = 1.0,
    readout_bound: Positive = 10.0,
    layers: Count = 8,
    horizon: Horizon = 8.0,
    effort: Positive = 4.0,
    samples: Count = 1797,
    seed: Seed = 0,
) -> xr.Dataset:
    """Is the control of a classifier without penalty bang-bang, as one for a single sample can be?

    The problem of train_digits, f_t = tanh(a - int_Y b f) on 8 x 8 nodes, J the mean of log sum_c
    exp o_c - o_label, with |a|, |b| <= bound and |W|, |mu| <= readout_bound, and strength times the
    squared norms; L-BFGS with these bounds, at most 150 iterations per unit of effort, from random
    kernels inside the box.

    at_bound: share of the entries of each block within 1e-6 of a bound, at_bound_at_start: of b at
    the start; at_bound_in_layer: of a and b by layer; kernel_histogram: shares of b / bound in
    bins; rounded_objective and rounded_test_accuracy: with b moved to the nearest bound; gap:
    int (H - min H) dt with the readout held, of the differential equation (RK4) and, gap_resnet,
    of the ResNet, lower bounds from a local search, as H has no closed minimiser with many
    samples; projected_gradient: of the ResNet, 0 at a stationary point.
    """
    if not bound > 0 or not readout_bound > 0:
        raise ValueError(f"bound and readout_bound must be > 0, got {bound} and {readout_bound}")
    digits = load_digits()
    data = split(digits.inputs, digits.labels, samples, seed)
    bounds = {**dict.fromkeys(INNER, bound), **dict.fromkeys(READOUT, readout_bound)}
    problem = classifier(PIXELS, layers, horizon, strength, data.train, data.train_labels, bounds)
    start = inside(problem, bound, seed)
    trained = train(problem, "L-BFGS", start, effort=effort, seed=seed)
    answer = history(problem, trained, data)
    nearest = rounded(trained.control, bound)
    flow, resnet = _certificates(problem, trained.control)
    numbers = {
        "rounded_objective": discretize(problem).value(nearest),
        "rounded_test_accuracy": accuracy(problem, nearest, data.test, data.test_labels),
        "at_bound_at_start": np.mean(at_bounds(start, bounds)["kernel"]),
        "gap": flow.total_gap,
        "gap_resnet": resnet.total_gap,
        "projected_gradient": resnet.projected_gradient,
    }
    held = at_bounds(trained.control, bounds)
    heights, edges = np.histogram(trained.control["kernel"] / bound, BINS, (-1.0, 1.0))
    for name, value in numbers.items():
        answer[name] = described(name, value, "1", name.replace("_", " "))
    answer["at_bound"] = described(
        "at_bound", [np.mean(held[n]) for n in NAMES], "1", "share at a bound", ("block",)
    )
    answer["at_bound_in_layer"] = described(
        "at_bound_in_layer",
        [[np.mean(held[n][k]) for k in range(layers)] for n in INNER],
        "1",
        "share at a bound",
        ("inner", "layer"),
    )
    answer["kernel_histogram"] = described(
        "kernel_histogram", heights / heights.sum(), "1", "share of b / bound", ("bin",)
    )
    answer["edge"] = described("edge", edges, "1", "ends of the bins", ("end",))
    answer = answer.assign_coords(block=list(NAMES), inner=list(INNER))
    answer.attrs.update(
        status=trained.status,
        verdict=verdict(resnet),
        certificate=f"readout held fixed\n{flow}",
        certificate_resnet=f"the ResNet itself (Euler, a step per layer)\n{resnet}",
    )
    return answer


def _certificates(problem: LearningProblem, control: Control) -> tuple[Certificate, Certificate]:
    """Of the differential equation and of the ResNet, with the readout as it is."""

    def judged(stepper: RungeKutta, steps: int) -> Certificate:
        return pontryagin_certificate(
            problem,
            control,
            stepper=stepper,
            steps_per_layer=steps,
            eigenvalues=0,
            inner_iterations=20,
        )

    return judged(RK4(), 4), judged(Euler(), 1)
