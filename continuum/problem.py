"""The learning problem: what is wanted of a network, continuous in time."""

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property

import numpy as np

from .admissible import AdmissibleSet
from .arrays import Array, Device, columns, like, on_device, to_host
from .checks import check_array, check_indices, check_name, check_positive, check_type
from .controls import Control, ControlSpace
from .doors import checked
from .endpoints import CostSum, TerminalEquality
from .functional import Functional, RunningCost, Tracking
from .losses import Loss, SquaredError
from .meshes import TimeMesh
from .networks import Network
from .penalties import Penalty, restricted
from .readouts import Readout, State
from .records import short


@checked
@dataclass(frozen=True, eq=False)
class LearningProblem:
    """minimise  sum_m s_m [ terminal(o_m(T), y_m) + int_0^T running_m(f, c, t) dt ] + penalty(c)

    over controls c in the admissible set, where f' = velocity(f, c(t), t), f(0) = initial, o =
    readout(f), and o(T) = y for every sample if there is an endpoint.

    initial : (N, M), one sample per column
    target : (P, M), P the number of outputs; CrossEntropy() takes labels (M,) too.  None if neither
        terminal nor running cost needs it
    controls : a ControlSpace, or a TimeMesh, short for network.controls(mesh); the blocks of the
        readout join it
    readout, terminal : State() and SquaredError() unless said otherwise; terminal=None for a cost
        along the way alone, or a RunningCost, taken at T
    running : a RunningCost, or a loss, short for Tracking(loss): on the same readout, with the same
        target; None for none.  Its integral is the trapezoid rule on the ends of the layers, with
        the control continued from inside each layer to both its ends
    penalty, admissible : None for none
    endpoint : TerminalEquality(), what the last state must be; None for none
    sample_weights : (M,), any positive numbers; the problem holds s_m, which sum to 1; None for the
        mean
    raises ValueError or TypeError for arguments that do not fit each other, if there is neither a
        terminal nor a running cost nor an endpoint, and for an endpoint that no control reaches
    """

    network: Network
    initial: Array
    target: Array | None
    controls: ControlSpace | TimeMesh
    _: KW_ONLY
    readout: Readout = field(default_factory=State)
    terminal: RunningCost | Loss | None = field(default_factory=SquaredError)
    running: RunningCost | Loss | None = None
    penalty: Penalty | None = None
    admissible: AdmissibleSet | None = None
    sample_weights: Array = None  # type: ignore[assignment]  # the constructor makes it an array
    endpoint: TerminalEquality | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        self._check_kinds()
        space = self._joined()
        initial = self.network.check_state("initial", self.initial)
        samples = initial.shape[1]
        weights = np.full(samples, 1.0 / samples)
        if self.sample_weights is not None:
            given = to_host(check_array("sample_weights", self.sample_weights, (samples,)))
            if np.any(given < 0) or given.sum() == 0:
                raise ValueError("sample_weights must be >= 0 and not all zero")
            weights = given / given.sum()
        if self.admissible is not None:
            self.admissible.check(space)
        if self.penalty is not None:
            self.penalty.formula(space)  # so that names that are no block are met here
        for name, value in (
            ("controls", space),
            ("initial", initial),
            ("sample_weights", weights),
            ("target", self._checked_target(samples)),
        ):
            object.__setattr__(self, name, value)
        self.functional  # noqa: B018 - so that running costs that do not fit are met here
        if self.constraint is not None:
            self.constraint.check_reachable(self.network, space, initial)

    def _check_kinds(self) -> None:
        if not isinstance(self.controls, ControlSpace | TimeMesh):
            raise TypeError(
                f"controls must be a ControlSpace or a TimeMesh, got {type(self.controls).__name__}"
            )
        if self.terminal is None and self.running is None and self.endpoint is None:
            raise ValueError("terminal and running are both None: the problem has no cost")
        for name, cost in (("terminal", self.terminal), ("running", self.running)):
            if cost is not None and not isinstance(cost, Loss | RunningCost):
                raise TypeError(f"{name} must be a Loss, a RunningCost or None, got {cost!r}")
        if self.endpoint is not None and not isinstance(self.endpoint, TerminalEquality):
            raise TypeError(f"endpoint must be TerminalEquality() or None, got {self.endpoint!r}")

    def _joined(self) -> ControlSpace:
        """The space of the controls, with the blocks of the readouts."""
        network, controls = self.network, self.controls
        space = network.controls(controls) if isinstance(controls, TimeMesh) else controls
        network.check_blocks("controls", space.blocks)
        space = space.joined(self.readout.blocks(network), self.readout.fixed)
        for cost in (self.terminal, self.running):
            if isinstance(cost, RunningCost):
                space = space.joined(cost.blocks(network), cost.fixed)
        if self.endpoint is not None and self.endpoint.readout is not None:
            readout = self.endpoint.readout
            space = space.joined(readout.blocks(network), readout.fixed)
        return space

    def _checked_target(self, samples: int) -> Array | None:
        outputs = len(self.readout.measure(self.network))
        if self.target is None:
            return None
        for cost in (self.terminal, self.running):
            loss = cost.loss if isinstance(cost, Tracking) else cost
            if isinstance(loss, Loss) and getattr(cost, "target", None) is None:
                return loss.check_target(self.target, outputs, samples)
        return check_array("target", self.target, (outputs, samples))

    @cached_property
    def functional(self) -> Functional:
        """Its cost as a function of states and control values, with derivatives."""
        network, samples = self.network, self.initial.shape[1]

        def completed(cost: RunningCost | Loss | None) -> RunningCost | None:
            if cost is None:
                return None
            given = Tracking(cost) if isinstance(cost, Loss) else cost
            return given.completed(network, self.readout, self.target, samples)

        return Functional(
            network,
            self.space,
            completed(self.terminal),
            completed(self.running),
            self.penalty,
            self.sample_weights,
        )

    @cached_property
    def constraint(self) -> TerminalEquality | None:
        """The endpoint, with what it takes from the problem put in."""
        if self.endpoint is None:
            return None
        samples = self.initial.shape[1]
        return self.endpoint.completed(self.network, self.readout, self.target, samples)

    @checked
    def residual(self, f: Array, control: Control) -> Array:
        """(P, M): readout(f) - target of the endpoint at last states f (N, M).  Raises ValueError
        if the problem has none.
        """
        if self.constraint is None:
            raise ValueError("the problem has no endpoint")
        mesh = self.mesh
        values = control.at_layer(mesh.layers - 1, mesh.horizon)
        return self.constraint.residual(self.network, f, values)

    @checked
    def augmented(self, multiplier: Array, weight: float) -> "LearningProblem":
        """The problem without its endpoint whose J is J + sum_m s_m [(p_m, e_m) + weight |e_m|^2 /
        2] + const, e = readout(f(T)) - target; const = sum_m s_m |p_m|^2 / (2 weight).

        multiplier : p (P, M);  weight : > 0
        It is the loss weight |readout(f(T)) - (target - p / weight)|^2 / 2, beside the terminal
        cost.
        raises ValueError for a problem without an endpoint
        """
        end, weight = self.constraint, check_positive("weight", weight)
        if end is None or end.target is None:
            raise ValueError("the problem has no endpoint")
        p = like(check_array("multiplier", multiplier, end.target.shape), end.target)
        pulled = Tracking(SquaredError(0.5 * weight), end.readout, end.target - p / weight)
        terminal = self.functional.terminal
        whole = pulled if terminal is None else CostSum((terminal, pulled))
        return replace(self, terminal=whole, endpoint=None)

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

    @checked
    def starting_from(self, initial: Array) -> "LearningProblem":
        """The same problem from other initial states (N, M), as many as before; none is checked, so
        that it may be asked for at every evaluation of an objective.
        """
        moved = copy(self)
        object.__setattr__(moved, "initial", initial)
        return moved

    @checked
    def batch(self, indices: Sequence[int] | Array) -> "LearningProblem":
        """The problem on some of the samples: initial, target, weights and the data of the running
        cost are sliced together.
        """
        chosen = check_indices("indices", indices, self.initial.shape[1])
        running, terminal = self.running, self.terminal
        return replace(
            self,
            network=self.network.batch(chosen),
            initial=columns(self.initial, chosen),
            target=None if self.target is None else columns(self.target, chosen),
            running=running.batch(chosen) if isinstance(running, RunningCost) else running,
            terminal=terminal.batch(chosen) if isinstance(terminal, RunningCost) else terminal,
            endpoint=None if self.endpoint is None else self.endpoint.batch(chosen),
            sample_weights=self.sample_weights[chosen],
        )

    def part(self, indices: Array) -> "LearningProblem":
        """The problem on some of the samples, with the weights s_m that they have here, which then
        need not sum to 1: the costs of parts add up to those of the whole.  None is checked.
        """
        part, own, network = copy(self), self.functional, self.network.batch(indices)
        given = {
            "network": network,
            "initial": columns(self.initial, indices),
            "target": None if self.target is None else columns(self.target, indices),
            "sample_weights": self.sample_weights[indices],
            "functional": replace(
                own,
                network=network,
                terminal=None if own.terminal is None else own.terminal.batch(indices),
                running=None if own.running is None else own.running.batch(indices),
                sample_weights=self.sample_weights[indices],
            ),
        }
        for name, value in given.items():
            object.__setattr__(part, name, value)
        part.__dict__.pop("constraint", None)
        return part

    def on_device(self, device: Device | None) -> "LearningProblem":
        """The problem with initial, target and the blocks that are not trained as NumPy arrays
        ("cpu") or as CuPy arrays ("gpu"); as it is for None.

        Where there is no GPU, "gpu" gives NumPy arrays and one RuntimeWarning that says why.
        raises ValueError for another device
        """
        if device is None:
            return self
        check_name("device", device, ("cpu", "gpu"))
        initial, space = on_device(self.initial, device), self.space
        target = None if self.target is None else like(self.target, initial)
        fixed = {name: like(x, initial) for name, x in space.fixed.items()}
        controls = replace(space, fixed=fixed)
        return replace(self, initial=initial, target=target, controls=controls)

    @checked
    def holding(
        self, control: Control, names: Collection[str]
    ) -> "tuple[LearningProblem, Control]":
        """The problem in which the blocks named stay what they are in `control`, and the rest of
        that control.

        raises TypeError for sets and penalties that couple them to others
        """
        space = self.space
        for name in names:
            check_name("block", check_type("names", name, str), [b.name for b in space.trained])
        free = [b.name for b in space.trained if b.name not in names]
        held = replace(space, fixed={**space.fixed, **{name: control[name] for name in names}})
        rest = replace(
            self,
            controls=held,
            penalty=restricted(self.penalty, free, space),
            admissible=None if self.admissible is None else self.admissible.only(free, space),
        )
        return rest, Control(held, {name: control[name] for name in free}, trusted=True)

    def __str__(self) -> str:
        space, mesh, network = self.space, self.mesh, self.network
        samples = self.initial.shape[1]
        even = np.allclose(self.sample_weights, 1 / samples, rtol=1e-12, atol=0.0)
        average = "sum_m s_m " if not even else f"1/{samples} sum_m " if samples > 1 else ""
        terms = []
        if isinstance(self.terminal, Loss):
            terms.append(f"{average}{self.terminal.formula(f'{self.readout.formula()}(T)')}")
        elif self.terminal is not None:
            terms.append(f"{average}({self.terminal.formula()}) at t = T")
        if self.functional.running is not None:
            terms.append(
                f"{average}int_0^T {self.functional.running.formula()} dt"
                f"   (trapezoid on the {mesh.layers + 1} ends of layers)"
            )
        if self.penalty is not None:
            terms.append(self.penalty.formula(space))
        lines = ["minimise  J = " + "\n            + ".join(terms or ["0"])]
        lines.append("over      " + ", ".join(_describe(space, b.name) for b in space.blocks))
        if self.admissible is not None:
            lines.append(f"in        {self.admissible}")
        if self.constraint is not None:
            lines.append(f"with      {self.constraint.formula()}")
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
