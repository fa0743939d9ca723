"""What the claims on this paper share."""

import numpy as np

from continuum import Control, LearningProblem

PAPER = "turnpike"


def starts(problem: LearningProblem, count: int, scale: float, seed: int) -> list[Control]:
    """Controls that are constant in time, with independent normal entries."""
    rng, d = np.random.default_rng(seed), len(problem.initial)
    return [
        problem.space.sample(
            bias=scale * rng.standard_normal(d), weight=scale * rng.standard_normal((d, d))
        )
        for _ in range(count)
    ]
