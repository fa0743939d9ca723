"""Two moons: the questions of the rings, on classes that interleave."""

from functools import partial

import xarray as xr

from ..bench.parameters import Count, Positive, Seed
from ..bench.registry import study
from .paper import PAPER
from .planar import Contender
from .planar_pictures import CASES, answer, plot


@study(
    "lyanet/moons",
    paper=PAPER,
    figure="1, 2 and 4",
    plot=partial(plot, "moons"),
    cases=CASES,
)
def moons(
    contender: Contender = "MC s=3",
    samples: Count = 400,
    epochs: Count = 286,
    kappa: Positive = 3.0,
    width: Count = 32,
    centred: bool = False,
    steps: Count = 20,
    seed: Seed = 0,
) -> xr.Dataset:
    """Do the answers of lyanet/rings hold on two interleaving half circles?

    Parameters and results are those of `rings`, on `studies.datasets.moons` with noise 0.1.
    """
    return answer(
        "moons",
        contender,
        samples=samples,
        epochs=epochs,
        kappa=kappa,
        width=width,
        centred=centred,
        steps=steps,
        seed=seed,
    )
