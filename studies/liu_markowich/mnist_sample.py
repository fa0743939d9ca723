"""The training of `train_digits` on a sample of MNIST."""

from collections.abc import Sequence

import xarray as xr

from ..bench.parameters import Count, Horizon, NonNegative, Positive, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import averaged, split
from ..datasets import mnist_sample as load
from ..draw.figures import OKABE_ITO, new_figure
from .classification import (
    LINEAR,
    MethodName,
    classifier,
    history,
    starting_control,
    train,
)
from .paper import PAPER
from .train_digits import against_seconds, method_name, percent, seeds_of

MOST = 1206


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    cases = sorted(cases, key=lambda case: (method_name(case), int(case_parameters(case)["side"])))
    figure, axes = new_figure(1, 2, width=11.0, height=4.2)
    sides = [case_parameters(case)["side"] for case in cases]
    labels = [
        f"{method_name(case)}, {side} x {side}" for case, side in zip(cases, sides, strict=True)
    ]
    against_seconds(list(axes[0]), cases, labels, [OKABE_ITO[i % 7] for i in range(len(cases))])
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False
    )
    numbers = "; ".join(
        f"{label}: J = {float(case['final_objective']):.3f}, test "
        f"{percent(case['final_test_accuracy'])}, train "
        f"{percent(case['final_train_accuracy'])}, {float(case['seconds'][-1]):.1f} s"
        for label, case in zip(labels, cases, strict=True)
    )
    caption = f"A sample of MNIST, images averaged to side x side ({seeds_of(cases)}). {numbers}."
    return [Picture("mnist", caption, figure)]


@study(
    "liu_markowich/mnist_sample",
    paper=PAPER,
    figure="Section 5",
    plot=_plot,
    cases=[{"method": ["L-BFGS", "Adam", *LINEAR], "side": [7, 14]}],
)
def mnist_sample(
    method: MethodName = "L-BFGS",
    side: Count = 7,
    layers: Count = 8,
    horizon: Horizon = 8.0,
    strength: NonNegative = 3e-4,
    effort: Positive = 0.5,
    samples: Count = MOST,
    seed: Seed = 0,
) -> xr.Dataset:
    """A sample of MNIST learned by a ResNet: accuracy against seconds.

    The problem of train_digits, on 1206 images of 28 x 28 pixels averaged to side x side: f_t =
    tanh(a - int_Y b f) on side x side midpoint nodes of the square, softmax of int W f(T) + mu,
    penalised by strength. A fifth is the test. The images are a file, mnist_sample.npz, in the
    folder that CONTINUUM_DATA names.

    method: as in train_digits; effort: the share of its iterations. objective, test_accuracy,
    seconds: along the run.
    raises DataError, which says what to do, if the file is not there
    """
    if side not in (4, 7, 14, 28):
        raise ValueError(
            f"side must be 4, 7, 14 or 28, which divide the 28 pixels of an image, got {side}"
        )
    data = load()
    samples_split = split(averaged(data.inputs, side), data.labels, samples, seed)
    problem = classifier(
        side, layers, horizon, strength, samples_split.train, samples_split.train_labels
    )
    trained = train(problem, method, starting_control(problem, seed), effort=effort, seed=seed)
    answer = history(problem, trained, samples_split)
    answer.attrs["status"] = trained.status
    return answer
