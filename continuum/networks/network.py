"""What every network answers."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Self, TypeAlias, get_args

from ..arrays import Array, like
from ..blocks import Block, Coefficient
from ..checks import check_array, check_name, check_positive, check_type
from ..controls import Control, ControlPath, ControlSpace, FunctionControl
from ..doors import checked
from ..meshes import TimeMesh
from ..quadrature import Grid
from ..time_axes import Norm, TimeKind

Values = Mapping[str, Array]
"""The value of every block at one time."""

Time: TypeAlias = float | Array
"""A time for all samples; or (M,), one for each, which networks that read it take."""


class Network(ABC):
    """A vector field: d/dt f = velocity(f, c(t), t), f of shape (N, M), N units x M samples.

    `velocity` and its derivatives know nothing of time stepping; c maps block names to values at
    one time. Adjoints are with respect to (f, g) = sum_m sum_i w_i f_im g_im on states and each
    block's weights on controls, and are checked by that identity.
    """

    @property
    @abstractmethod
    def weights(self) -> Array:
        """(N,): the measure of the units, w_i on a grid, 1 for a Euclidean state."""

    @property
    def grid(self) -> Grid | None:
        """The grid that the units stand on, None where the state is a vector of R^d."""
        return None

    @property
    def affine_in_control(self) -> bool:
        """c -> velocity(f, c, t) is affine, so that the Hamiltonian is."""
        return False

    @property
    def broadcasts(self) -> bool:
        """velocity, vjp and vjp_derivative take states (L, N, M) with L values of the control, and
        ignore t.
        """
        return False

    @property
    def timed(self) -> bool:
        """True if the velocity is known to read the time itself."""
        return False

    @property
    def stacks(self) -> bool:
        """velocity and vjp take states (L, N, M) with L values of the control and times (L, 1)."""
        return self.broadcasts

    @abstractmethod
    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        """The blocks that steer this network."""

    @abstractmethod
    def velocity(self, f: Array, c: Values, t: Time) -> Array:
        """F(f, c, t): (N, M)."""

    @abstractmethod
    def jvp(self, f: Array, c: Values, t: Time, df: Array, dc: Values) -> Array:
        """D_f F df + D_c F dc: (N, M).  Blocks missing from dc are not varied."""

    @abstractmethod
    def vjp(self, f: Array, c: Values, t: Time, p: Array) -> tuple[Array, dict[str, Array]]:
        """The adjoints (D_f F)* p and (D_c F)* p, the latter by block, summed over samples."""

    @abstractmethod
    def vjp_derivative(
        self, f: Array, c: Values, t: Time, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        """The derivative of `vjp` at (f, c, p) in the direction (df, dc, dp)."""

    @abstractmethod
    def formula(self) -> str:
        """The equation, as `print(problem)` writes it."""

    def batch(self, indices: Sequence[int] | Array) -> Self:
        """This network for some of the samples, where it holds data of each; itself where not."""
        return self

    def weights_like(self, example: Array) -> Array:
        """The weights in the library, and on the device, of `example`."""
        return like(self.weights, example)

    def controls(
        self,
        mesh: TimeMesh,
        in_time: TimeKind = "layers",
        norm: Norm = "L2",
        fixed: Mapping[str, Coefficient] | None = None,
    ) -> ControlSpace:
        """The space of this network's controls on a mesh.

        fixed : values, constant in time, of blocks that are not to be trained
        raises ValueError for unknown names, or values that do not fit or depend on time; TypeError
            if a block is never stored as numbers (OnTheFly kernels)
        """
        check_name("in_time", in_time, get_args(TimeKind))
        return self._space(mesh, self.blocks(in_time), norm, fixed)

    def _space(
        self,
        mesh: TimeMesh,
        given: tuple[Block, ...],
        norm: Norm,
        fixed: Mapping[str, Coefficient] | None,
    ) -> ControlSpace:
        """The space of controls with these blocks."""
        check_type("mesh", mesh, TimeMesh)
        check_name("norm", norm, get_args(Norm))
        if fixed is not None:
            check_type("fixed", fixed, Mapping)
        for block in given:
            if block.prepare is not None:
                raise TypeError(
                    f"block {block.name!r} of this network is a function that is never stored, "
                    f"so it has no controls "
                    "to train: simulate with network.control(...), or take a kernel that is "
                    "stored, such as Dense()"
                )
        values = {}
        blocks = []
        for name in fixed or {}:
            check_name("block", name, [b.name for b in given])
        for block in given:
            if fixed and block.name in fixed:
                constant, value = block.function(fixed[block.name])
                if not constant:
                    raise ValueError(f"fixed block {block.name!r} must not depend on t")
                values[block.name] = value(0.0)
                block = replace(block, time="static")
            blocks.append(block)
        space = ControlSpace(mesh, tuple(blocks), values, norm)
        space.axes  # noqa: B018 - an impossible pair of time and norm is met here
        return space

    @checked
    def control(
        self, mesh: TimeMesh, *, breakpoints: Sequence[float] = (), **coefficients: Coefficient
    ) -> FunctionControl:
        """A control for simulation, from functions of position and time; blocks not named are zero.

        Functions are evaluated at stage times, once if they take no t.  Such a control cannot be
        trained.

        breakpoints : increasing times in (0, T) at which a function of time jumps or has a kink: no
            step crosses them, and each piece between them sees the limits from inside
        raises ValueError for unknown names or values that do not fit, or such breakpoints
        """
        blocks = self.blocks()
        for name in coefficients:
            check_name("block", name, [b.name for b in blocks])
        values = {b.name: b.function(coefficients.get(b.name, 0.0)) for b in blocks}
        control = FunctionControl(mesh, blocks, values, _breakpoints(mesh, breakpoints))
        control.at_layer(0, 0.0)  # so that values which do not fit are met here
        return control

    @property
    def block_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every block, by its name."""
        return {b.name: b.shape for b in self.blocks()}

    def check_blocks(self, name: str, blocks: tuple[Block, ...]) -> None:
        """Raises ValueError, naming the argument, if `blocks` are not this network's; a readout's
        may be there.
        """
        given = {b.name: b.shape for b in blocks if not b.name.startswith("readout.")}
        wanted = self.block_shapes
        if given != wanted:
            raise ValueError(
                f"{name} was made for another network: its blocks are {given}, this one needs "
                f"{wanted}"
            )

    def check_control(self, name: str, control: ControlPath) -> None:
        """Raises TypeError for what is no control, ValueError for one of another network."""
        if not isinstance(control, Control | FunctionControl):
            raise TypeError(
                f"{name} must be made by network.control or network.controls, got {control!r}"
            )
        self.check_blocks(name, control.blocks)

    def check_state(self, name: str, state: Array) -> Array:
        """`state` as (N, M) float64.  Raises ValueError if it does not fit this network."""
        return check_array(name, state, (len(self.weights), "M"))


def _breakpoints(mesh: TimeMesh, given: Sequence[float]) -> tuple[float, ...]:
    """`given` as floats, if they increase inside (0, T).  Raises ValueError, TypeError."""
    times = tuple(check_positive("breakpoints", t) for t in given)
    ends = (0.0, *times, mesh.horizon)
    if any(not later > earlier for earlier, later in pairwise(ends)):
        raise ValueError(
            f"breakpoints must be increasing times in (0, {mesh.horizon:g}), got {list(given)}"
        )
    return times
