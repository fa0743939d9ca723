"""How far proofs reach: radii that are proved, that are estimated, and at which attacks succeed."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import Control, LearningProblem
from continuum.checks import check_count
from solvers.lyapunov import breaking_radius, certify, estimated_radii
from solvers.lyapunov.bounds import Layers

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, ORANGE, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .planar import Name, check_planar, plane, train

Certified: TypeAlias = Literal["MC s=3", "NODE", "path continuous", "tube"]
LARGEST = 1.5
"""The largest radius that is attacked."""
CURVES = {
    "breaking": ("broken by an attack", BLACK, "-"),
    "linear": ("estimated, f linear in x", ORANGE, "--"),
    "grid": ("estimated, Lipschitz constant of a grid", VERMILION, ":"),
    "proved": ("proved", BLUE, "-"),
}


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, len(cases), width=4.6 * len(cases), height=4.0)
    highest = max(
        float(case[name].where(np.isfinite(case[name])).max()) for case in cases for name in CURVES
    )
    for n, (case, ax) in enumerate(zip(cases, np.ravel(axes), strict=True)):
        share = 100.0 * (np.arange(case.sizes["point"]) + 0.5) / case.sizes["point"]
        for name, (label, color, line) in CURVES.items():
            radii = np.sort(case[name].values)  # infinite ones, never broken, are not drawn
            ax.plot(share, radii, line, color=color, label=label, linewidth=1.6)
        of = case_parameters(case)
        ax.set(xlabel="test points, sorted [%]", title=f"{of['contender']}, {of['data']}")
        ax.set(xlim=(0.0, 100.0), ylim=(0.0, 1.05 * highest))
        ax.grid(True)
        ax.set_ylabel(r"radius in $\ell_\infty$, units of the data")
        if n == 0:
            ax.legend(loc="upper left")
    caption = (
        "Radii of perturbations of the test points, sorted for each curve on its own: proved by "
        "the barrier and interval branch and bound, estimated in two ways, and broken by projected "
        f"gradient. {' '.join(_note(case) for case in cases)}"
    )
    return [Picture("certificate", caption, figure)]


def _note(case: xr.Dataset) -> str:
    given, count = case_parameters(case), case.sizes["point"]
    proved, breaking = case["proved"].values, case["breaking"].values
    held = proved > 0.0
    middle = f"{np.median(proved[held]):.2g}" if held.any() else "none"
    reach = f"{np.median(breaking[np.isfinite(breaking)]):.2g}"
    return (
        f"{given['contender']} on {given['data']}: {held.sum()} of {count} points have a proof, "
        f"median radius {middle}; median radius broken {reach}; proved radii beyond a breaking "
        f"one: {int(case['proved_beyond'])}; estimated ones, linear {int(case['linear_beyond'])}, "
        f"grid {int(case['grid_beyond'])}. A bound of the Lipschitz constant in x by products of "
        f"norms is {float(case['product'] / case['slope']):.2g} times that of the grid."
    )


@study(
    "lyanet/certificate",
    paper=PAPER,
    figure="section 4",
    plot=_plot,
    cases=[{"contender": ("MC s=3", "NODE"), "data": ("rings",)}],
)
def certificate(
    contender: Certified = "MC s=3",
    data: Name = "rings",
    samples: Count = 400,
    epochs: Count = 143,
    width: Count = 32,
    kappa: Positive = 3.0,
    points: Count = 150,
    rounds: Count = 8,
    seed: Seed = 0,
) -> xr.Dataset:
    """How far does a proof of robustness reach, and how far the estimates that pass for one?

    A centred field with two hidden layers of `width` units, trained on two classes in the plane.
    With eta(0) = 0 the face between the classes is the point 0, where f_y - f_j > 0 for all times
    and all inputs of a box is proved by branch and bound: the inputs may even move in time.

    points : test points that are looked at;  rounds : of attacks, see `breaking_radius`
    proved: the largest radius proved, 0 for none; linear, grid: estimates from the values and
    gradients of f at the face, at x and on a grid of inputs; breaking: the smallest perturbation
    found that changes the class, infinite for none, 0 for points that are wrong anyway.  The
    attacks run with two steps of RK4 on each of ten layers: what is proved is proved of the
    differential equation.  The *_beyond count radii that are not below a breaking one.
    """
    check_planar(samples, epochs, kappa, width, 1, seed)
    check_count("points", points)
    sets = plane(data, samples, seed)
    x, labels = sets.test[:, :points], sets.test_labels[:points]
    trained = train(
        contender, sets, epochs=epochs, kappa=kappa, width=width, centred=True, seed=seed
    )
    problem = trained.problem(x, labels, np.zeros_like(x))
    found = radii(problem, trained.control, rounds)
    layers = Layers.of(problem, trained.control)
    values = {
        **{name: described(name, found[name], "1", CURVES[name][0], ("point",)) for name in CURVES},
        "product": described("product", layers.lipschitz_product(), "1", "bound of |D_x f|"),
        "slope": described("slope", grid_slope(layers, sets.train), "1", "|D_x f| on a grid"),
    }
    for name in ("proved", "linear", "grid"):
        count = int(np.sum((found[name] > 0.0) & (found[name] >= found["breaking"])))
        said = "radii that are not below a breaking one"
        values[f"{name}_beyond"] = described(f"{name}_beyond", count, "1", said)
    return xr.Dataset(values, attrs={"status": trained.status})


def radii(problem: LearningProblem, control: Control, rounds: int) -> dict[str, np.ndarray]:
    """(M,) by the names of CURVES."""
    layers = Layers.of(problem, control)
    return {
        "proved": certify(problem, control).radii,
        "linear": estimated_radii(problem, control),
        "grid": grid_radii(layers, problem),
        "breaking": breaking_radius(problem, control, LARGEST, rounds=rounds, steps_per_layer=2),
    }


def face_points(x: np.ndarray, times: int = 101) -> np.ndarray:
    """(2 + n + 1, times M): eta = 0, the inputs x (n, M), times in [0, 1], sample by sample."""
    t = np.linspace(0.0, 1.0, times)
    inputs = np.repeat(x, times, axis=1)
    return np.concatenate([np.zeros((2, inputs.shape[1])), inputs, np.tile(t, x.shape[1])[None]])


def grid_slope(layers: Layers, x: np.ndarray, cells: int = 41, times: int = 21) -> float:
    """The largest |D_x f|, maximum norm, at eta = 0 on a grid about the data x (2, M): an
    estimate, as a ledger of such radii would use it.
    """
    sides = [np.linspace(np.min(row), np.max(row), cells) for row in x]
    grid = np.stack([side.ravel() for side in np.meshgrid(*sides)])
    z = face_points(grid, times)
    row = layers.row(np.array([0.5, -0.5]))
    low, high = row.slopes(z, np.zeros_like(z))
    return float(np.max(np.sum(np.abs(0.5 * (low + high))[2:-1], axis=0)))


def grid_radii(layers: Layers, problem: LearningProblem) -> np.ndarray:
    """(M,): min over t of (f_y - f_j) / (2 L) at eta = 0 and x, L from a grid; 0 where negative."""
    x, target = layers.inputs, problem.target
    if target is None:
        raise ValueError("the problem has no classes")
    z = face_points(x)
    low, high = layers.row(np.array([0.5, -0.5])).between(z, np.zeros_like(z))
    speed = (0.5 * (low + high)).reshape(x.shape[1], -1) * (target[0] - target[1])[:, None]
    return np.maximum(np.min(speed, axis=1), 0.0) / grid_slope(layers, x)
