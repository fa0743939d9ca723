"""The field f(eta, x, t) of a data-controlled neural ODE, and its two views."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..activations import Activation
from ..arrays import Array
from ..blocks import Block, Coefficient
from ..checks import check_array, check_count, check_listed, check_positive, check_type
from ..controls import Control, ControlSpace
from ..doors import checked
from ..meshes import TimeMesh
from ..time_axes import Norm, TimeKind
from .chain import Chain
from .fixed_maps import FixedLinear, Inputs, NormBound
from .maps import Linear, Map, Offset, Pointwise


@checked
@dataclass(frozen=True, eq=False)
class LearnedField:
    """f(eta, x, t) = scale C (W_(L+1) h_L + b_(L+1)),  h_l = sigma(W_l h_(l-1) + b_l),  h_0 =
    (eta, x, t),

    for states eta in R^k and inputs x in R^n; C removes the mean of the k components if `centred`
    and is 1 if not.  With a norm bound r the field is f / sqrt(1 + |f|^2 / r^2) for this f, whose
    length is less than r.  Blocks "weight1" (h_1, k + n + 1), "bias1" (h_1,), ..., constant in time
    unless controls(in_time=) says otherwise.  Cross-entropy does not see the mean.

    `at(x)` is the network eta' = f(eta, x, t), which holds the inputs of its samples;
    `with_inputs()` the network (eta, x)' = (f, 0), whose costates are gradients in the inputs too.
    Both have the same blocks, so one control steers both.

    units : k;  inputs : n;  hidden : the widths h_1, ..., h_L; () is one affine neuron per unit
    timed : whether t is an argument of f;  scale, norm_bound : > 0, None for no bound
    raises ValueError, TypeError for numbers out of range
    Source: Jimenez Rodriguez et al., LyaNet, section 2, with the data in the field.
    """

    units: int
    inputs: int
    hidden: Sequence[int]
    activation: Activation
    timed: bool = True
    scale: float = 1.0
    centred: bool = False
    norm_bound: float | None = None

    def __post_init__(self) -> None:
        for name in ("units", "inputs"):
            object.__setattr__(self, name, check_count(name, getattr(self, name)))
        check_listed("hidden", self.hidden)
        hidden = tuple(check_count("hidden", h) for h in self.hidden)
        object.__setattr__(self, "hidden", hidden)
        object.__setattr__(self, "scale", check_positive("scale", self.scale))
        if self.norm_bound is not None:
            object.__setattr__(self, "norm_bound", check_positive("norm_bound", self.norm_bound))
        check_type("activation", self.activation, Activation)
        if self.centred and self.units == 1:
            raise ValueError("a centred field of one unit is zero: units must be >= 2")

    @checked
    def at(self, x: Array) -> "FieldAt":
        """eta' = f(eta, x_m, t) for the sample m.

        x : (n, M), the input of each sample, or (n, 1), one for all states (portraits)
        raises ValueError for inputs of another shape
        """
        return FieldAt(self, check_array("x", x, (self.inputs, "M")))

    def with_inputs(self) -> Chain:
        """(eta, x)' = (f(eta, x, t), 0), states (k + n, M)."""
        return _Static(self.units + self.inputs, self._maps(None))

    @checked
    def initialise(self, space: ControlSpace, rng: np.random.Generator) -> Control:
        """A control whose weights are normal with variance 2 / (rows + columns) and whose biases
        are 0, the same at all times; other blocks of the space, a readout's, are treated alike.

        raises TypeError, ValueError for a space without this field's blocks, or another rng
        Source: Glorot and Bengio, 2010.
        """
        check_type("space", space, ControlSpace)
        check_type("rng", rng, np.random.Generator)
        shapes = {b.name: b.shape for b in space.blocks}
        for name, shape in self.with_inputs().block_shapes.items():
            if shapes.get(name) != shape:
                raise ValueError(
                    f"space must hold the blocks of this field: its {name} has shape "
                    f"{shapes.get(name)}, expected {shape}"
                )
        values = {}
        for block in space.trained:
            if len(block.shape) == 2:
                spread = np.sqrt(2.0 / sum(block.shape))
                values[block.name] = spread * rng.standard_normal(block.shape)
        return space.sample(**values)

    def _maps(self, x: Array | None) -> tuple[Map, ...]:
        """f of the state eta and the inputs x, or (f, 0) of the state (eta, x)."""
        maps: list[Map] = [Inputs(self.timed, x)] if self.timed or x is not None else []
        for n, width in enumerate((*self.hidden, self.units), start=1):
            maps += [Linear(f"weight{n}", width), Offset(f"bias{n}")]
            if n <= len(self.hidden):
                maps.append(Pointwise(self.activation))
        k = self.units
        name = " ".join([f"{self.scale:g}"] * (self.scale != 1.0) + ["C"] * self.centred)
        if name:
            mean = np.full((k, k), 1.0 / k) * self.centred
            maps.append(FixedLinear(self.scale * (np.eye(k) - mean), name))
        if self.norm_bound is not None:
            maps.append(NormBound(self.norm_bound))
        if x is None:
            maps.append(FixedLinear(np.eye(k + self.inputs, k), "(1, 0)"))
        return tuple(maps)


class _Static(Chain):
    """A chain whose blocks are constant in time unless said otherwise."""

    def blocks(self, in_time: TimeKind = "static") -> tuple[Block, ...]:
        return super().blocks(in_time)

    def controls(
        self,
        mesh: TimeMesh,
        in_time: TimeKind = "static",
        norm: Norm = "L2",
        fixed: Mapping[str, Coefficient] | None = None,
    ) -> ControlSpace:
        return super().controls(mesh, in_time, norm, fixed)


class FieldAt(_Static):
    """eta' = f(eta, x, t): a learned field at the inputs of its samples, made by `LearnedField.at`.

    `batch(indices)` keeps the inputs of these samples.
    """

    field: LearnedField

    @checked
    def __init__(self, field: LearnedField, x: Array) -> None:
        object.__setattr__(self, "field", field)
        super().__init__(field.units, field._maps(check_array("x", x, (field.inputs, "M"))))

    @property
    def inputs(self) -> Array:
        """x (n, M), or (n, 1)."""
        first = self.maps[0]
        if not isinstance(first, Inputs) or first.data is None:
            raise TypeError("the chain does not begin with its inputs")
        return first.data
