"""Mini-batches for deep linear networks: whitened ones, and samples that stay together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_count
from continuum.controls import Control, ControlSpace
from continuum.doors import checked
from continuum.records import short

from ..adjoint.discretize import ReducedObjective
from ..adjoint.linearised import Linearised


@checked
def whitened_batches(inputs: Array, targets: Array, size: int) -> tuple[Array, Array]:
    """(X', Y'), both (n, N): in each group J of `size` consecutive points

        X'_J = X_J C_J,   Y'_J = Y_J C_J,   (1/|J|) X'_J X'_J^T = I.

    A step on the batch J then is a step for Sigma = I, with the step sizes of that case: where Y_J
    = R X_J also Y'_J = R X'_J, so all batches have the same gradient.  (With sums instead of means,
    sum_(j in J) x_j x_j^T = I as in the paper, the gradient of the mean (4) is that divided by
    |J|.)

    With X_J = U S V^T, C_J = |J|^(1/2) V S^(-1) V^T combines the points of the batch: it changes
    the inputs by Sigma_J^(-1/2), another map for every batch.  One map x -> T x for all of them
    exists only if all Sigma_J are equal, since T Sigma_J T^T = I; two batches of one number each, 1
    and 2, have none.  The group of all N points is the whitening of the inputs.

    inputs : X (n, N);  targets : Y (n, N)
    size : of a group, at least n, a divisor of N
    raises ValueError for a size that does not divide N or is less than n, and for a group whose
        points do not span R^n
    Source: Nar and Sastry (2018), the last paragraph of section 2, which assumes such batches.
    """
    x = to_host(check_array("inputs", inputs, ("n", "N")))
    y = to_host(check_array("targets", targets, ("m", x.shape[1])))
    size = check_count("size", size)
    if x.shape[1] % size or size < len(x):
        raise ValueError(
            f"size must divide the {x.shape[1]} points and be at least {len(x)}, the number of "
            f"inputs, got {size}"
        )
    white, combined = np.empty_like(x), np.empty_like(y)
    for begin in range(0, x.shape[1], size):
        group = slice(begin, begin + size)
        u, s, vt = np.linalg.svd(x[:, group], full_matrices=False)
        if s[-1] <= size * np.finfo(float).eps * s[0]:
            raise ValueError(f"inputs {begin} to {begin + size - 1} do not span all directions")
        white[:, group] = np.sqrt(size) * u @ vt
        combined[:, group] = np.sqrt(size) * (y[:, group] @ vt.T / s) @ vt
    return white, combined


@checked
@dataclass(frozen=True, eq=False)
class Grouped:
    """An objective whose samples are groups of consecutive samples: methods that shuffle samples
    into batches shuffle the groups, whose members stay together.

    objective : of a LearningProblem, as `discretize` makes it
    size : samples in a group, a divisor of their number
    raises ValueError for a size that is none
    """

    objective: ReducedObjective
    size: int

    __repr__ = short

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_count("size", self.size))
        if self.objective.samples % self.size:
            raise ValueError(
                f"size must divide the {self.objective.samples} samples, got {self.size}"
            )

    @property
    def space(self) -> ControlSpace:
        """The space of the unknown."""
        return self.objective.space

    @property
    def samples(self) -> int:
        """How many groups."""
        return self.objective.samples // self.size

    def batch(
        self, indices: Sequence[int] | Array, rng: np.random.Generator | None = None
    ) -> "Grouped":
        """The objective on some of the groups; nothing is drawn from `rng`."""
        members = np.asarray(indices)[:, None] * self.size + np.arange(self.size)
        return replace(self, objective=self.objective.batch(members.reshape(-1)))

    def value(self, control: Control) -> float:
        """J."""
        return self.objective.value(control)

    def value_and_gradient(self, control: Control) -> tuple[float, Control]:
        """J and its gradient."""
        return self.objective.value_and_gradient(control)

    def hvp(self, control: Control, direction: Control) -> Control:
        """The derivative of the gradient in a direction."""
        return self.objective.hvp(control, direction)

    def linearised(self, control: Control) -> Linearised:
        """J at one control, for products in many directions."""
        return self.objective.linearised(control)
