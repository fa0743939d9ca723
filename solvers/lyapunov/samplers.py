"""Where Lyapunov losses look at a field: points drawn from a set, or about the paths of a run."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from continuum.arrays import Array, like, namespace, to_host
from continuum.callers import callers_level
from continuum.checks import check_array, check_count, check_positive, store
from continuum.doors import checked
from continuum.losses import CrossEntropy
from continuum.problem import LearningProblem
from continuum.readouts import State
from continuum.records import short

from .pointwise import Points, lyapunov_function

Run = Callable[[], tuple[Array, Array]]
"""The times (S + 1,) and states (S + 1, N, M) of the run of the control at hand."""


class Sampler(ABC):
    """How the points of a Lyapunov loss are drawn.

    semi_gradient : True if the points depend on the control, which the gradient does not see
    """

    semi_gradient: ClassVar[bool] = False

    @abstractmethod
    def draw(self, problem: LearningProblem, rng: np.random.Generator, run: Run) -> Points:
        """New points."""

    def batch(self, indices: Sequence[int] | Array) -> "Sampler":
        """The sampler for some of the samples; itself where it holds nothing of each."""
        return self

    def check(self, problem: LearningProblem, kappa: float) -> None:  # noqa: B027 - most sets hold all starts
        """Raises ValueError, naming the sampler, if it cannot hold the paths of the problem."""


@dataclass(frozen=True)
class SetSampler(Sampler):
    """States drawn from a set, each shared by all samples, with one time each, uniform in (0, T).

    states : how many points
    """

    states: int = field(default=32, kw_only=True)

    def __post_init__(self) -> None:
        store(self, check_count, "states")

    @abstractmethod
    def contains(self, states: Array) -> Array:
        """(...,): which of the states (..., N, M) lie in the set, for every sample (..., M)."""

    @abstractmethod
    def drawn(self, units: int, count: int, rng: np.random.Generator) -> Array:
        """(count, N): states of the set."""

    @abstractmethod
    def deepest(self, labels: Array) -> Array:
        """(m, M): the states of the set with the least cross-entropy, for targets that are unit
        vectors (m, M).
        """

    def check_starts(self, problem: LearningProblem) -> None:
        """Raises ValueError if a start lies outside."""
        outside = ~to_host(self.contains(problem.initial))
        if outside.any():
            raise ValueError(
                f"sampler {self!r} cannot hold the path: the start of sample "
                f"{int(np.flatnonzero(outside)[0])} lies outside"
            )

    def draw(self, problem: LearningProblem, rng: np.random.Generator, run: Run) -> Points:
        states = self.drawn(len(problem.network.weights), self.states, rng)
        times = rng.uniform(0.0, problem.mesh.horizon, self.states)
        return Points.at(like(states, problem.initial)[:, :, None], times, problem.mesh)

    def check(self, problem: LearningProblem, kappa: float) -> None:
        """Raises ValueError if a start lies outside.

        Warns (RuntimeWarning) where no path that decays at the rate kappa stays inside: for the
        cross-entropy of the state, V(0) exp(-kappa T) is less than V anywhere in the set.
        """
        self.check_starts(problem)
        cost = lyapunov_function(problem)
        if not isinstance(cost.loss, CrossEntropy) or not isinstance(cost.readout, State):
            return
        labels = to_host(cost.target)  # type: ignore[arg-type]  # it rests, so it is an array
        if len(labels) < 2 or not np.all((labels == 0.0) | (labels == 1.0)):
            return
        start = to_host(problem.functional.terminal_costs(problem.initial))
        best = to_host(
            problem.functional.terminal_costs(like(self.deepest(labels), problem.initial))
        )
        needed = start * np.exp(-kappa * problem.mesh.horizon)
        if np.any(needed < best):
            warnings.warn(
                f"{self!r}: a loss of {needed.min():.3g}, which decay at the rate "
                f"kappa = {kappa:g} asks for at the end, is less than anywhere in the set, "
                f"{best.max():.3g}",
                RuntimeWarning,
                stacklevel=callers_level(),
            )


@checked
@dataclass(frozen=True)
class Cube(SetSampler):
    """States uniform in [-half_width, half_width]^N, shared by all samples; times uniform in
    (0, T).

    half_width : > 0;  states : how many
    Source: Jimenez Rodriguez et al., LyaNet, appendix B.
    """

    half_width: float

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "half_width")

    def contains(self, states: Array) -> Array:
        xp = namespace(states)
        return xp.max(xp.abs(states), axis=-2) <= self.half_width

    def drawn(self, units: int, count: int, rng: np.random.Generator) -> Array:
        return rng.uniform(-self.half_width, self.half_width, (count, units))

    def deepest(self, labels: Array) -> Array:
        return self.half_width * (2.0 * labels - 1.0)


@checked
@dataclass(frozen=True)
class Sphere(SetSampler):
    """States r d, the direction d uniform on the unit sphere, r uniform in (0, radius), so denser
    near 0 than the uniform ones of the ball; shared by all samples; times uniform in (0, T).

    radius : > 0;  states : how many
    Source: the program of Jimenez Rodriguez et al., LyaNet.
    """

    radius: float

    def __post_init__(self) -> None:
        super().__post_init__()
        store(self, check_positive, "radius")

    def check_starts(self, problem: LearningProblem) -> None:
        """Raises ValueError for states on a grid, whose lengths depend on the mesh, and if a start
        lies outside.
        """
        if problem.network.grid is not None:
            raise ValueError("sampler Sphere needs states in R^k, not on a grid: take a Cube")
        super().check_starts(problem)

    def contains(self, states: Array) -> Array:
        xp = namespace(states)
        return xp.sqrt(xp.sum(states * states, axis=-2)) <= self.radius

    def drawn(self, units: int, count: int, rng: np.random.Generator) -> Array:
        directions = rng.standard_normal((count, units))
        directions /= np.sqrt(np.sum(directions**2, axis=1, keepdims=True))
        return rng.uniform(0.0, self.radius, (count, 1)) * directions

    def deepest(self, labels: Array) -> Array:
        away = labels - np.mean(labels, axis=0)
        return self.radius * away / np.sqrt(np.sum(away**2, axis=0))


@checked
@dataclass(frozen=True)
class Tube(Sampler):
    """The states at all nodes of the run of the control at hand, each with `copies` of normal noise
    of standard deviation `noise` added, drawn for every sample.

    The gradient does not see that the run moves with the control: it is a semi-gradient.
    noise : > 0;  copies : how many points for each node
    """

    semi_gradient: ClassVar[bool] = True
    noise: float = 1.0
    copies: int = 3

    def __post_init__(self) -> None:
        store(self, check_positive, "noise")
        store(self, check_count, "copies")

    def draw(self, problem: LearningProblem, rng: np.random.Generator, run: Run) -> Points:
        times, states = run()
        many = namespace(states).concat([states] * self.copies, axis=0)
        noise = like(rng.standard_normal(tuple(many.shape)), many)
        return Points.at(many + self.noise * noise, np.tile(times, self.copies), problem.mesh)


@checked
@dataclass(frozen=True, eq=False)
class Given(Sampler):
    """States and times as they are, nothing drawn: a grid, or what another program drew.

    points : (L, N), shared by all samples, or (L, N, M);  times : (L,), in [0, T]
    raises ValueError for shapes that do not fit
    """

    points: Array
    times: Array

    __repr__ = short

    def __post_init__(self) -> None:
        shape = ("L", "N", "M") if np.ndim(self.points) == 3 else ("L", "N")
        object.__setattr__(self, "points", check_array("points", self.points, shape))
        times = to_host(check_array("times", self.times, (self.points.shape[0],)))
        object.__setattr__(self, "times", times)

    def draw(self, problem: LearningProblem, rng: np.random.Generator, run: Run) -> Points:
        states = like(self.points, problem.initial)
        if len(states.shape) == 2:
            states = states[:, :, None]
        return Points.at(states, self.times, problem.mesh)

    def batch(self, indices: Sequence[int] | Array) -> "Given":
        if len(self.points.shape) == 2:
            return self
        xp, chosen = namespace(self.points), like(np.asarray(indices), self.points)
        return Given(xp.take(self.points, chosen, axis=2), self.times)

    def check(self, problem: LearningProblem, kappa: float) -> None:
        """Raises ValueError for states of another network or number of samples, and for times
        outside [0, T].
        """
        if np.min(self.times) < 0.0 or np.max(self.times) > problem.mesh.horizon:
            raise ValueError(
                f"times of {type(self).__name__} must be in [0, {problem.mesh.horizon:g}], they go "
                f"from {np.min(self.times):g} to {np.max(self.times):g}"
            )
        wanted = (len(problem.network.weights), problem.initial.shape[1])
        if self.points.shape[1:] not in (wanted, wanted[:1]):
            raise ValueError(
                f"points has shape {tuple(self.points.shape)}, expected (L, {wanted[0]}) or "
                f"(L, {wanted[0]}, {wanted[1]})"
            )
