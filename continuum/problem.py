"""The learning problem: what is wanted of a network, continuous in time."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .admissible import AdmissibleSet
from .arrays import Array, to_host
from .checks import check_array, check_name
from .controls import Control, ControlSpace
from .losses import Loss, SquaredError
from .meshes import TimeMesh
from .networks import Network
from .penalties import Penalty, restricted
from .readouts import Readout, State


@dataclass(frozen=True, eq=False)
class LearningProblem:
    """minimise  sum_m s_m [ terminal(o_m(T), y_m) + int_0^T running(o_m(t), y_m) dt ] + penalty(c)

    over controls c in the admissible set, where f' = velocity(f, c(t), t), f(0) = initial, o =
    readout(f).

    initial : (N, M), one sample per column
    target : (P, M), P the number of outputs; CrossEntropy() takes labels (M,) too
    controls : a ControlSpace, or a TimeMesh, short for network.controls(mesh); the blocks of the
        readout join it
    readout, terminal : State() and SquaredError() unless said otherwise
    running : a loss on the same readout, or None; its integral is the trapezoid rule on the ends of
        the layers
    penalty, admissible : None for none
    sample_weights : (M,), any positive numbers; the problem holds s_m, which sum to 1; None for the
        mean
    raises ValueError or TypeError for arguments that do not fit each other
    """

    network: Network
    initial: Array
    target: Array
    controls: ControlSpace | TimeMesh
    readout: Readout = field(default_factory=State)
    terminal: Loss = field(default_factory=SquaredError)
    running: Loss | None = None
    penalty: Penalty | None = None
    admissible: AdmissibleSet | None = None
    sample_weights: Array = None  # type: ignore[assignment]  # the constructor makes it an array

    def __post_init__(self) -> None:
        controls = self.controls
        if not isinstance(controls, ControlSpace | TimeMesh):
            raise TypeError(
                f"controls must be a ControlSpace or a TimeMesh, got {type(controls).__name__}"
            )
        space = self.network.controls(controls) if isinstance(controls, TimeMesh) else controls
        self.network.check_blocks("controls", space.blocks)
        controls = space.joined(self.readout.blocks(self.network), self.readout.fixed)
        initial = self.network.check_state("initial", self.initial)
        samples = initial.shape[1]
        outputs = len(self.readout.measure(self.network))
        target = self.terminal.check_target(self.target, outputs, samples)
        if self.running is not None:
            self.running.check_target(target, outputs, samples)
        weights = np.full(samples, 1.0 / samples)
        if self.sample_weights is not None:
            given = to_host(check_array("sample_weights", self.sample_weights, (samples,)))
            if np.any(given < 0) or given.sum() == 0:
                raise ValueError("sample_weights must be >= 0 and not all zero")
            weights = given / given.sum()
        if self.admissible is not None:
            self.admissible.check(controls)
        if self.penalty is not None:
            self.penalty.formula(controls)  # so that names that are no block are met here
        for name, value in (
            ("controls", controls),
            ("initial", initial),
            ("target", target),
            ("sample_weights", weights),
        ):
            object.__setattr__(self, name, value)

    @property
    def space(self) -> ControlSpace:
        """The space of its controls."""
        if isinstance(self.controls, TimeMesh):
            raise TypeError("the problem was not made by its constructor")
        return self.controls

    @property
    def mesh(self) -> TimeMesh:
        """Horizon and layers."""
        return self.space.mesh

    def batch(self, indices: Sequence[int] | Array) -> "LearningProblem":
        """The problem on some of the samples: initial, target and weights are sliced together."""
        chosen = np.asarray(indices)
        return replace(
            self,
            network=self.network.batch(chosen),
            initial=self.initial[:, chosen],
            target=self.target[:, chosen],
            sample_weights=self.sample_weights[chosen],
        )

    def holding(
        self, control: Control, names: Collection[str]
    ) -> "tuple[LearningProblem, Control]":
        """The problem in which the blocks named stay what they are in `control`, and the rest of
        that control.

        raises TypeError for sets and penalties that couple them to others
        """
        space = self.space
        for name in names:
            check_name("block", name, [b.name for b in space.trained])
        free = [b.name for b in space.trained if b.name not in names]
        held = replace(space, fixed={**space.fixed, **{name: control[name] for name in names}})
        rest = replace(
            self,
            controls=held,
            penalty=restricted(self.penalty, free, space),
            admissible=None if self.admissible is None else self.admissible.only(free),
        )
        return rest, Control(held, {name: control[name] for name in free}, trusted=True)

    def __str__(self) -> str:
        space, mesh, network = self.space, self.mesh, self.network
        samples = self.initial.shape[1]
        even = np.allclose(self.sample_weights, 1 / samples, rtol=1e-12, atol=0.0)
        average = "sum_m s_m " if not even else f"1/{samples} sum_m " if samples > 1 else ""
        output = self.readout.formula()
        lines = [f"minimise  J = {average}{self.terminal.formula(f'{output}(T)')}"]
        if self.running is not None:
            lines.append(
                f"            + {average}int_0^T {self.running.formula(f'{output}(t)')} dt"
                f"   (trapezoid on the {mesh.layers + 1} ends of layers)"
            )
        if self.penalty is not None:
            lines.append(f"            + {self.penalty.formula(space)}")
        lines.append("over      " + ", ".join(_describe(space, b.name) for b in space.blocks))
        if self.admissible is not None:
            lines.append(f"in        {self.admissible}")
        lines.append(f"where     {network.formula()}, f(0) = initial,")
        lines.append(
            f"          T = {mesh.horizon:g}, {mesh.layers} layers, {len(network.weights)} "
            f"units, {samples} samples"
        )
        weights = (
            "|g|^2 = sum_i w_i g_i^2" if not np.all(network.weights == 1) else "|g|^2 = sum_i g_i^2"
        )
        lines.append(
            f"norms     {weights} over units, the same with w_i w_j over pairs of units; "
            f"{space.time_norm} in time"
        )
        return "\n".join(lines)


def _describe(space: ControlSpace, name: str) -> str:
    block = next(b for b in space.blocks if b.name == name)
    how = (
        "fixed"
        if name in space.fixed
        else {"layers": "constant on layers", "nodes": "linear on layers"}.get(
            block.time, "constant in time"
        )
    )
    return f"{name} {block.shape} {how}"
