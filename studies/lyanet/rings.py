"""Two rings: where a Lyapunov loss on states makes one basin, and on paths does not."""

from functools import partial

import xarray as xr

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import study
from .paper import PAPER
from .planar import Contender
from .planar_pictures import CASES, answer, plot


@study(
    "lyanet/rings",
    paper=PAPER,
    figure="1, 2 and 4",
    plot=partial(plot, "rings"),
    cases=CASES,
)
def rings(
    contender: Contender = "MC s=3",
    samples: Count = 400,
    epochs: Count = 286,
    kappa: Positive = 3.0,
    width: Count = 32,
    centred: bool = False,
    steps: Count = 20,
    seed: Seed = 0,
) -> xr.Dataset:
    """Does a Lyapunov loss make one basin of all states, and the boundary between classes wide?

    eta' = f(eta, x, t), eta(0) = 0 in R^2, tanh (32, 32), on rings of radii 1 and 2 with noise 0.1;
    the class of x is the larger entry of eta(1).  V = cross-entropy, and the Lyapunov losses are
    means of max(0, (grad V, f) + kappa V): over a cube of states of half width 3 or 1.49, the
    paper's, "MC"; along the path, "path" (discrete: of V_j - e^(-kappa h) V_(j-1)); over noisy
    copies of the path, "tube".  "NODE" minimises the mean of V at t = 1, as do "ResNet" (10 Euler
    layers with weights of their own, as many in all) and "MLP" (one Euler layer).

    epochs : of Adam, batches of 64; 286 make the 2000 steps of the claim LY-21
    centred : whether f is without its mean, which cross-entropy does not see
    steps : of the attack, on 500 test points

    For the results see `planar.measures` and `planar_pictures.portrait`.
    """
    return answer(
        "rings",
        contender,
        samples=samples,
        epochs=epochs,
        kappa=kappa,
        width=width,
        centred=centred,
        steps=steps,
        seed=seed,
    )
