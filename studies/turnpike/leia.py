"""The authors' chess board: their functional, by their method and by L-BFGS."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum import (
    Affine,
    Bottleneck,
    Control,
    LearningProblem,
    SquaredError,
    Tikhonov,
    TimeMesh,
    relu,
    user_activation,
)
from solvers import LBFGS, Adam, ExplicitMidpoint, discretize, minimize

from ..bench.parameters import Count, Horizon, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import OKABE_ITO, new_figure
from ..shared import described
from .paper import PAPER

Method: TypeAlias = Literal["Adam", "L-BFGS"]
FACTOR = 1.75
DECAY = 0.01
FIELDS = 3
EDGE = 1.5

HARD_TANH = user_activation(
    "hard tanh",
    lambda s: np.clip(s, -1.0, 1.0),
    lambda s: np.where(np.abs(s) < 1.0, 1.0, 0.0),
    lambda s: np.zeros_like(s),
    lambda s: np.where(np.abs(s) < 1.0, 0.5 * s * s, np.abs(s) - 0.5),
    lipschitz=1.0,
    smooth=False,
    supremum=1.0,
    odd=True,
)


def chess_board(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points (2, count), uniform on [-3/2, 3/2]^2, and the colours +-1 of their fields of side
    1.
    """
    points = rng.uniform(-EDGE, EDGE, (2, count))
    fields = np.minimum(np.floor(points + EDGE), FIELDS - 1)
    return points, 1.0 - 2.0 * (np.sum(fields, axis=0) % 2.0)


def posed(
    points: np.ndarray, colours: np.ndarray, layers: int, horizon: float, hidden: int
) -> LearningProblem:
    """1.75 sum_k l_k + l_(k+1), l the mean of |O - y|^2 after k layers, plus 0.01 h / 2 times the
    squares of all parameters, divided by 2 / h: so the sum is the trapezoid rule of the integral.

    x' = W2 relu(W1 x + b1) + b2 in R^3, the third coordinate 0 at first; O = hard tanh(W x + mu),
    trained.
    """
    step = horizon / layers
    # the parameters of the layers count h sum_k |u_k|^2, the readout's, without time, |u|^2
    layered = Tikhonov(0.25 * DECAY * step, ["weight1", "bias1", "weight2", "bias2"])
    fixed = Tikhonov(0.25 * DECAY * step**2, ["readout.W", "readout.mu"])
    return LearningProblem(
        Bottleneck(3, relu, hidden=hidden),
        np.concatenate([points, np.zeros((1, points.shape[1]))]),
        colours[None],
        TimeMesh(horizon, layers),
        readout=Affine(1, link=HARD_TANH),
        terminal=None,
        running=SquaredError(FACTOR),
        penalty=layered + fixed,
    )


def starting(problem: LearningProblem, rng: np.random.Generator) -> Control:
    """Uniform in +-1 / (inputs of the unit)^(1/2), as the authors' library starts."""
    d, hidden = problem.network.units, problem.network.hidden  # type: ignore[attr-defined]  # a Bottleneck
    inputs = {"weight1": d, "bias1": d, "weight2": hidden, "bias2": hidden}
    return problem.space.sample(
        **{
            b.name: rng.uniform(-1.0, 1.0, problem.space.shape(b)) / inputs.get(b.name, d) ** 0.5
            for b in problem.space.trained
        }
    )


def scores(posing: LearningProblem, control: Control) -> np.ndarray:
    """The outputs after each layer, (K + 1, M)."""
    states = discretize(posing, ExplicitMidpoint()).run(control).states
    values = {name: control[name] for name in ("readout.W", "readout.mu")}
    return np.array([posing.readout.output(posing.network, x, values)[0] for x in states])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2 + len(cases), width=3.6 * (2 + len(cases)), height=3.9)
    descent, depth, *boards = axes[0]
    notes = []
    for case, color, board in zip(cases, OKABE_ITO, boards, strict=False):
        name, t = str(case_parameters(case)["method"]), case["time"].values
        descent.semilogy(case["seconds"], case["history"], color=color, label=name)
        depth.plot(t, case["error"], color=color, label=f"{name}, training")
        depth.plot(t, case["test_error"], "--", color=color, label=f"{name}, test")
        side = case["u"].values
        board.pcolormesh(
            side, side, case["score"].values.T, cmap="coolwarm", vmin=-1, vmax=1, rasterized=True
        )
        points, y = case["points"].values, case["colour"].values
        for sign, shade in ((1.0, "#67001f"), (-1.0, "#053061")):
            board.plot(*points[:, y == sign], ".", color=shade, markersize=2)
        board.set_title(f"{name}: score at $T$")
        board.set_aspect("equal")
        board.set_xlabel("$x_1$")
        board.set_ylabel("$x_2$")
        notes.append(
            f"{name} ({case.attrs['status']}): {100 * float(case['accuracy']):.1f} % of training "
            f"and {100 * float(case['test_accuracy']):.1f} % of test points at T, J = "
            f"{float(case['objective']):.4f} after {int(case['iterations'])} iterations or "
            f"epochs, {float(case['seconds'][-1]):.0f} s"
        )
    descent.set_xlabel("wall clock [s]")
    descent.set_ylabel("objective $J$")
    depth.set_xlabel("depth $t$")
    depth.set_ylabel("mean of $|O - y|^2$")
    for ax in (descent, depth):
        ax.grid(True)
        ax.legend()
    count = cases[0].sizes["sample"]
    caption = (
        f"The authors' chess board ({count} training points, where they have 2398) with their "
        "functional, from the same start; the readout is trained, which their theorems do not "
        "cover; scores from -1, blue, to 1, red. " + "; ".join(notes) + "."
    )
    return [Picture("leia", caption, figure)]


@study(
    "turnpike/leia",
    paper=PAPER,
    figure="chess board",
    plot=_plot,
    cases=[
        {"method": ["Adam"], "iterations": [400]},
        {"method": ["L-BFGS"], "iterations": [600]},
    ],
)
def leia(
    method: Method = "L-BFGS",
    iterations: Count = 600,
    samples: Count = 500,
    hidden: Count = 50,
    layers: Count = 16,
    horizon: Horizon = 5.0,
    resolution: Count = 61,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does the authors' functional need the authors' method?

    Their board of 3 x 3 fields, a ReLU bottleneck in R^3 with 16 midpoint steps on [0, 5], trained
    readout with hard tanh, squared errors summed along the depth, weight decay 0.01 h: see `posed`.
    Adam has their step 1e-3 and batches of 150; their 2500 epochs are cut to `iterations`, and
    their 2997 points to `samples`, a fifth of them for the test.

    history, seconds: J along the run; error, test_error: mean of |O - y|^2 after each layer;
    score: O(T) on a lattice of the square; accuracy, test_accuracy: share of right signs at T.
    """
    if samples < 20 or iterations < 1 or hidden < 1 or layers < 1 or not horizon > 0.0:
        raise ValueError(
            f"samples must be >= 20, iterations, hidden and layers >= 1, horizon > 0, got "
            f"{samples}, {iterations}, {hidden}, {layers}, {horizon}"
        )
    rng = np.random.default_rng(seed)
    points, colours = chess_board(samples, rng)
    cut = samples - samples // 5
    problem = posed(points[:, :cut], colours[:cut], layers, horizon, hidden)
    start = starting(problem, rng)
    if method == "Adam":
        minimizer = Adam(
            step=1e-3, batch=min(150, cut), max_iterations=iterations, rng=rng, gtol=1e-6
        )
    else:
        minimizer = LBFGS(gtol=1e-5, max_iterations=iterations)
    side = np.linspace(-EDGE, EDGE, resolution)
    lattice = np.stack(np.meshgrid(side, side, indexing="ij")).reshape(2, -1)
    objective = discretize(problem, ExplicitMidpoint())
    best = minimize(objective, minimizer, initial=start, raise_on_failure=False)

    def along(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return scores(posed(x, y, layers, horizon, hidden), best.control)

    known, held = along(points[:, :cut], colours[:cut]), along(points[:, cut:], colours[cut:])
    field = along(lattice, np.ones(lattice.shape[1]))[-1].reshape(resolution, resolution)

    def right(outputs: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean(outputs[-1] * y > 0.0))

    return xr.Dataset(
        {
            "objective": described("objective", best.objective, "1", "J"),
            "iterations": described("iterations", best.statistics["iterations"], "1", "made"),
            "history": described("history", best.history["objective"], "1", "J", ("row",)),
            "seconds": described("seconds", best.history["seconds"], "s", "wall", ("row",)),
            "error": described(
                "error", np.mean((known - colours[:cut]) ** 2, axis=1), "1", "error", ("time",)
            ),
            "test_error": described(
                "test_error", np.mean((held - colours[cut:]) ** 2, axis=1), "1", "error", ("time",)
            ),
            "accuracy": described("accuracy", right(known, colours[:cut]), "1", "right"),
            "test_accuracy": described("test_accuracy", right(held, colours[cut:]), "1", "right"),
            "score": described("score", field, "1", "O(T)", ("u", "v")),
            "points": described("points", points[:, :cut], "1", "x", ("coordinate", "sample")),
            "colour": described("colour", colours[:cut], "1", "y", ("sample",)),
        },
        coords={"time": ("time", problem.mesh.nodes), "u": ("u", side), "v": ("v", side)},
        attrs={"status": best.status.name.lower()},
    )
