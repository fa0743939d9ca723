"""Networks whose width changes: one network after the other, with linear transfers in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, NoReturn, Self

import numpy as np

from ..arrays import Array, like
from ..blocks import Block, Coefficient
from ..checks import check_array, check_count, check_positive
from ..controls import Control, ControlPath, ControlSpace, FunctionControl
from ..doors import checked
from ..meshes import TimeMesh
from ..quadrature import Grid
from ..time_axes import Norm, TimeKind
from .network import Network, Time, Values


@checked
@dataclass(frozen=True, eq=False)
class Staged(Network):
    """f' = F_s(f, c, t) on (t_s, t_(s+1)), f(t_s+) = R_s f(t_s-), in discrete form

        f^(k+1) = R_k f^k + h F_s(R_k f^k, c^k),  R_k = R_s where a stage begins, else 1.

    A run is a sequence of ordinary runs, one for each stage, from the state that the transfer
    gives; the adjoint of a transfer, in the weights of the stages, is R* = W_(s-1)^(-1) R^T W_s.
    Block b of the network of stage s is called "stages.b", s = 0, 1, ...: "stage0.kernel"; it lives
    on the layers of that stage.  `weights` and `grid` are those of the last stage, where a terminal
    cost is taken.
    Source: Geshkovski, Large-time asymptotics in deep learning, variable width.

    stages : the networks; they see the time since their stage began
    changes : t_1 < ... < t_(S-1), times in (0, T) at which stages 1, ..., S - 1 begin: nodes of
        every mesh the network is used on
    transfers : R_1, ..., R_(S-1), R_s of shape (units of stage s, units of stage s - 1);
        `prolongation`, `restriction`, `padding` make some
    raises ValueError or TypeError for stages, changes and transfers that do not fit each other, for
        weights that are zero, and for chains that read the time
    """

    shared: ClassVar[tuple[str, ...]] = ()
    """Blocks that all stages have in common, called by their own names."""

    stages: tuple[Network, ...]
    changes: tuple[float, ...]
    transfers: tuple[Array, ...]

    def __post_init__(self) -> None:
        stages, count = tuple(self.stages), len(self.stages)
        if not count:
            raise ValueError("stages must not be empty")
        for s, stage in enumerate(stages):
            if not isinstance(stage, Network) or isinstance(stage, Staged):
                raise TypeError(f"stages must be networks, none of them staged, got {stage!r}")
            if stage.timed:
                raise ValueError(f"stage {s} reads the time, which begins anew in each stage")
            if np.any(stage.weights == 0):
                raise ValueError(f"stage {s} has nodes of weight zero")
        changes = tuple(check_positive("changes", t) for t in self.changes)
        if len(changes) != count - 1 or any(not s < t for s, t in pairwise(changes)):
            raise ValueError(f"changes must be {count - 1} increasing times, got {list(changes)}")
        if len(self.transfers) != count - 1:
            raise ValueError(f"transfers must be {count - 1} matrices, got {len(self.transfers)}")
        transfers = tuple(
            check_array(f"transfer {s + 1}", r, (len(after.weights), len(before.weights)))
            for s, (r, (before, after)) in enumerate(
                zip(self.transfers, pairwise(stages), strict=True)
            )
        )
        for name, value in (("stages", stages), ("changes", changes), ("transfers", transfers)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(repr(stage) for stage in self.stages)})"

    @property
    def weights(self) -> Array:
        return self.stages[-1].weights

    @property
    def grid(self) -> Grid | None:
        return self.stages[-1].grid

    def check_state(self, name: str, state: Array) -> Array:
        """`state` as a state of the first stage."""
        return self.stages[0].check_state(name, state)

    def batch(self, indices: Sequence[int] | Array) -> Self:
        return replace(self, stages=tuple(stage.batch(indices) for stage in self.stages))

    def blocks(self, in_time: TimeKind = "layers") -> tuple[Block, ...]:
        found = {
            name: replace(block, name=name)
            for s, stage in enumerate(self.stages)
            for block in stage.blocks(in_time)
            for name in (self.name(s, block.name),)
        }
        return tuple(found.values())

    def name(self, stage: int, block: str) -> str:
        """What a block of the network of a stage is called here."""
        return block if block in self.shared else f"stage{stage}.{block}"

    def controls(
        self,
        mesh: TimeMesh,
        in_time: TimeKind = "layers",
        norm: Norm = "L2",
        fixed: Mapping[str, Coefficient] | None = None,
    ) -> ControlSpace:
        """As of any network; each block lives on the layers of its stage.

        raises also ValueError for a mesh without nodes at `changes`
        """
        space, cuts = super().controls(mesh, in_time, norm, fixed), self.cuts(mesh)
        spans = {
            self.name(s, name): cuts[s : s + 2]
            for s, stage in enumerate(self.stages)
            for name in stage.block_shapes
            if name not in self.shared
        }
        blocks = tuple(replace(b, span=spans.get(b.name)) for b in space.blocks)
        return ControlSpace(mesh, blocks, space.fixed, norm)

    def cuts(self, mesh: TimeMesh) -> tuple[int, ...]:
        """(S + 1,): the numbers of the nodes at 0, t_1, ..., T.  Raises ValueError for a mesh
        without them.
        """
        found = [int(np.argmin(np.abs(mesh.nodes - t))) for t in self.changes]
        for t, k in zip(self.changes, found, strict=True):
            if abs(mesh.nodes[k] - t) > 1e-12 * mesh.horizon:
                raise ValueError(
                    f"the mesh has no node at t = {t:g}, where the width changes: take other "
                    f"layers, or TimeMesh.through"
                )
        cuts = (0, *found, mesh.layers)
        if any(not k < after for k, after in pairwise(cuts)):
            raise ValueError(f"changes must lie in (0, {mesh.horizon:g}), got {self.changes}")
        return cuts

    def space(self, whole: ControlSpace, stage: int) -> ControlSpace:
        """The space of the controls of one stage, on its own mesh, which starts at 0; static blocks
        that are no stage's, of a readout, are in it.
        """
        span, prefix = self.cuts(whole.mesh)[stage : stage + 2], self.name(stage, "")
        blocks = tuple(
            replace(b, name=b.name.removeprefix(prefix), span=None)
            for b in whole.blocks
            if b.span in (None, span)
        )
        if not any(b.span == span for b in whole.blocks):
            raise ValueError(f"controls have no blocks on the layers {span} of stage {stage}")
        fixed = {
            b.name.removeprefix(prefix): whole.fixed[b.name]
            for b in whole.blocks
            if b.name in whole.fixed and b.span in (None, span)
        }
        return ControlSpace(whole.mesh.part(*span), blocks, fixed, whole.time_norm)

    def part(
        self, control: ControlPath, stage: int, space: ControlSpace | None = None
    ) -> ControlPath:
        """The control of one stage, its time counted from the beginning of the stage.

        space : `space(control.space, stage)` where it is known
        """
        if isinstance(control, Control):
            own = self.space(control.space, stage) if space is None else space
            return Control(own, self.own(own, control, stage), trusted=True)
        if isinstance(control, FunctionControl):
            return _part(self, control, stage)
        raise TypeError(f"a Staged network takes a Control or functions of time, got {control!r}")

    def own(self, space: ControlSpace, whole: Mapping[str, Array], stage: int) -> dict[str, Array]:
        """What belongs to the trained blocks of a stage, by their names there: the same arrays."""
        named = ((b.name, self.name(stage, b.name)) for b in space.trained)
        return {name: whole[longer if longer in whole else name] for name, longer in named}

    def transfer(self, stage: int, f: Array) -> Array:
        """R_s f: the state with which `stage` >= 1 begins, of the last one before it."""
        return like(self.transfers[stage - 1], f) @ f

    def transfer_adjoint(self, stage: int, p: Array) -> Array:
        """R_s* p in the weights of the two stages: the costate at the end of the stage before."""
        before, after = (self.stages[s].weights_like(p) for s in (stage - 1, stage))
        return (like(self.transfers[stage - 1], p).T @ (after[:, None] * p)) / before[:, None]

    def formula(self) -> str:
        ends = ("0", *(f"{t:g}" for t in self.changes), "T")
        return "; ".join(
            f"{stage.formula()} on ({start}, {end})"
            for stage, (start, end) in zip(self.stages, pairwise(ends), strict=True)
        )

    def velocity(self, f: Array, c: Values, t: Time) -> Array:
        self._refuse()

    def jvp(self, f: Array, c: Values, t: Time, df: Array, dc: Values) -> Array:
        self._refuse()

    def vjp(self, f: Array, c: Values, t: Time, p: Array) -> tuple[Array, dict[str, Array]]:
        self._refuse()

    def vjp_derivative(
        self, f: Array, c: Values, t: Time, p: Array, df: Array, dc: Values, dp: Array
    ) -> tuple[Array, dict[str, Array]]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise TypeError(
            "a Staged network has one velocity for each stage: integrate, discretize and minimize "
            "go through its stages, others do not"
        )


def _part(network: Staged, control: FunctionControl, stage: int) -> FunctionControl:
    """The functions of one stage; at its ends they are taken by their limits from inside."""
    cuts, nodes = network.cuts(control.mesh), control.mesh.nodes
    mesh = control.mesh.part(cuts[stage], cuts[stage + 1])
    start, end = float(nodes[cuts[stage]]), float(nodes[cuts[stage + 1]])
    blocks = network.stages[stage].blocks()

    def later(name: str):  # noqa: ANN202 - (float) -> Array
        constant, value = control.values[network.name(stage, name)]
        return constant, lambda t: value(t + start)

    return FunctionControl(
        mesh,
        blocks,
        {b.name: later(b.name) for b in blocks},
        tuple(t - start for t in control.breakpoints if start < t < end),
        (0.0, mesh.horizon),
    )


@checked
def padding(units: int, wider: int) -> Array:
    """(wider, units): the states of R^units as states of R^wider, zeros below; the first `wider`
    coordinates where it is smaller.
    """
    return np.eye(check_count("wider", wider), check_count("units", units))
