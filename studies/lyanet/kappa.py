"""The rate that is asked for: what it does to the loss, the active share and the escapes."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import xarray as xr

from continuum.checks import check_positive
from solvers.lyapunov import MonteCarloLyapunov, escape_time, exact_loss
from solvers.lyapunov.samplers import SetSampler

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..draw.figures import BLACK, BLUE, GREEN, VERMILION, new_figure
from ..shared import described
from .paper import PAPER
from .planar import (
    ATTACKED,
    HALF_WIDTH,
    SAMPLERS,
    Name,
    Plane,
    Trained,
    check_planar,
    measures,
    plane,
    train,
)

Sampled: TypeAlias = Literal["MC s=3", "MC sphere", "tube"]
RATES = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0])
CURVES = {
    "objective": "Lyapunov loss of the test points",
    "active": "share of pairs of a test point and a state with r > 0",
    "escapes": "share of roll-outs that leave the cube",
    "met": "share of test points whose V decays at the rate kappa",
    "loss": "mean V(1) of the test points",
    "error": "share of test points",
    "basin": "share of random states that end right",
}


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(2, 2, width=9.6, height=7.0)
    loss, active, escapes, end = axes.flat
    styles = {"MC s=3": (BLUE, "o"), "MC sphere": (VERMILION, "D"), "tube": (GREEN, "s")}
    for case in cases:
        of = case_parameters(case)["contender"]
        color, marker = styles[str(of)]
        style = {"color": color, "marker": marker, "fillstyle": "none", "label": of}
        rates = case["kappa"].values
        loss.loglog(rates, case["objective"], **style)
        for ax, name in ((active, "active"), (escapes, "escapes")):
            ax.semilogx(rates, 100.0 * case[name], **style)
        end.loglog(rates, case["loss"], **style)
    rates = cases[0]["kappa"].values
    whole = np.geomspace(rates[0], rates[-1], 101)
    law = exact_loss(whole, 1.0, 2)  # V(1) at the rate `whole` is V(whole) at the rate 1
    end.loglog(whole, law, "--", color=BLACK, linewidth=1.0, label=r"$\log 2\; e^{-\kappa}$")
    loss.set_ylabel(r"mean of $\max(0,\; \nabla V\cdot f + \kappa V)$")
    active.set(ylabel="active share [%]", ylim=(0.0, None))
    escapes.set(ylabel=f"paths leaving the cube s = {HALF_WIDTH:g} [%]", ylim=(-3.0, 103.0))
    end.set_ylabel("mean $V(1)$ of the test points")
    for ax in axes.flat:
        ax.set_xlabel(r"rate $\kappa$")
        ax.set_xticks(rates, [f"{k:g}" for k in rates])
        ax.minorticks_off()
        ax.grid(True)
    end.legend(loc="lower left", frameon=False)
    given, rate = case_parameters(cases[0]), escape_time(HALF_WIDTH, 1.0, 2)
    caption = (
        f"Monte Carlo training on {given['data']} at rates kappa from {rates[0]:g} to "
        f"{rates[-1]:g}, {given['epochs']} epochs each: the loss at states drawn anew, the share "
        "of pairs of a test point and a state that violate the decay, the roll-outs that leave the "
        f"cube, V at the end. {' '.join(_note(case) for case in cases)} The cube holds no state "
        f"with V below {float(exact_loss(rate, 1.0, 2)):.3g}, so decay at a rate above "
        f"{float(rate):.3g} must leave it."
    )
    return [Picture("kappa", caption, figure)]


def _note(case: xr.Dataset) -> str:
    """How the numbers of one sampler change from the least rate to the largest."""

    def span(name: str, factor: float = 1.0, unit: str = "") -> str:
        values = factor * case[name].values
        return f"{values[0]:.3g} to {values[-1]:.3g}{unit}"

    of = str(case_parameters(case)["contender"])
    rates, escapes = case["kappa"].values, 100.0 * case["escapes"].values
    most = int(np.argmax(escapes))
    kept = rates[case["loss"].values <= np.log(2.0) * np.exp(-rates)]
    below = f"up to kappa = {kept[-1]:g}" if len(kept) else "nowhere"
    return (
        f"{of}: loss {span('objective')}, active {span('active', 100.0, ' %')}, escapes at most "
        f"{escapes[most]:.3g} %, at kappa = {rates[most]:g}, test points that keep the rate "
        f"{span('met', 100.0, ' %')}, mean V(1) below V(0) exp(-kappa) {below}, test error at "
        f"most {100.0 * float(case['error'].max()):.2g} %."
    )


@study(
    "lyanet/kappa",
    paper=PAPER,
    figure="section 3.3",
    plot=_plot,
    cases=[{"contender": get_args(Sampled)}],
)
def kappa(
    contender: Sampled = "MC s=3",
    data: Name = "rings",
    samples: Count = 400,
    epochs: Count = 143,
    width: Count = 32,
    centred: bool = False,
    largest: Positive = 8.0,
    seed: Seed = 0,
) -> xr.Dataset:
    """What does the rate kappa do that a Lyapunov loss asks for?

    Monte Carlo training of eta' = f(eta, x, t), two hidden layers of `width` units, tanh, on two
    classes in the plane, for kappa from 0.5 to `largest`; the states are those of a cube of half
    width 3, of a ball whose radius is the distance of its corners, or noisy copies of the path
    ("tube").  The weights start the same at every rate.

    epochs : 143, 1001 steps of Adam with batches of 64
    objective, active: the loss of the test points and the share of pairs of a test point and a
    state with r > 0, at states drawn anew; escapes: the share of roll-outs that leave the cube, for
    any sampler; met, loss, error, basin: see `planar.measures`.
    """
    check_planar(samples, epochs, largest, width, 1, seed)
    points = plane(data, samples, seed)
    rates = RATES[check_positive("largest", largest) >= RATES]
    if not len(rates):
        raise ValueError(f"largest must be at least {RATES[0]:g}, got {largest:g}")
    rows: dict[str, list[float]] = {name: [] for name in CURVES}
    endings = []
    for rate in rates:
        trained = train(
            contender,
            points,
            epochs=epochs,
            kappa=float(rate),
            width=width,
            centred=centred,
            seed=seed,
        )
        found = measures(trained, points, float(rate), seed)
        found["objective"], found["active"] = anew(trained, points, contender, float(rate), seed)
        for name, row in rows.items():
            row.append(found[name])
        endings.append(trained.status)
    return xr.Dataset(
        {name: described(name, row, "1", CURVES[name], ("kappa",)) for name, row in rows.items()},
        coords={"kappa": ("kappa", rates, {"units": "1/time", "long_name": "rate"})},
        attrs={"status": ", ".join(sorted(set(endings)))},
    )


def anew(
    trained: Trained, points: Plane, contender: Sampled, rate: float, seed: int, copies: int = 8
) -> tuple[float, float]:
    """The loss and the active share of the first 500 test points at `copies` times as many states
    as in training, drawn with another seed.
    """
    x, labels = points.test[:, :ATTACKED], points.test_labels[:ATTACKED]
    problem = trained.problem(x, labels, np.zeros_like(x))
    sampler = SAMPLERS[contender]
    if isinstance(sampler, SetSampler):
        sampler = replace(sampler, states=copies * sampler.states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        rng = np.random.default_rng([seed, 2])
        loss = MonteCarloLyapunov(problem, rate, sampler, rng=rng)
    return loss.value(trained.control), loss.active_share(trained.control)
