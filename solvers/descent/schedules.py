"""Steps that fall with the epochs, for `Adam`."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi

from continuum.checks import check_count, check_positive
from continuum.doors import checked


@dataclass(frozen=True)
class _Cosine:
    step: float
    epochs: int

    def __call__(self, epoch: int) -> float:
        if not 0 <= epoch < self.epochs:
            raise ValueError(
                f"this schedule has the epochs 0, ..., {self.epochs - 1}, asked for {epoch}: "
                "max_iterations must be at most its epochs"
            )
        return 0.5 * self.step * (1.0 + cos(pi * epoch / self.epochs))


@checked
def cosine(step: float, epochs: int) -> Callable[[int], float]:
    """The function epoch -> step (1 + cos(pi epoch / epochs)) / 2: from `step` at epoch 0 towards
    0 at `epochs`.

    step : > 0;  epochs : as many as the run has, its max_iterations
    raises ValueError for numbers out of range; when called, for an epoch past the last
    Source: Loshchilov and Hutter, SGDR, ICLR 2017, (5), without restarts.
    """
    return _Cosine(check_positive("step", step), check_count("epochs", epochs))
