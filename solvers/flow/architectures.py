"""Every scheme is an architecture: the layers, skips and fixed points that the steps of a run are.

On f_t = F(f, c(t), t), F a chain, value 0 is the input and layer l makes value l, one of

    hidden        v = F_l(x),  x = sum_j inputs_j v_j
    sum           v = x  (the skip connections)
    equilibrium   v = x + sum_j feedback_j F_j(v_j),
                  j itself or a layer solved together with it

F_l is F at the time of the layer, as sub-layers sigma(W x + a) with the paper's sign and quadrature
weights inside: one with W = -b diag(w) for WidthDepth.

An explicit step of s stages is s hidden layers and a sum (Euler: the ResNet); an implicit one has
equilibrium layers.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np

from continuum.arrays import Array
from continuum.checks import check_array, check_count
from continuum.controls import ControlPath
from continuum.doors import checked
from continuum.networks import Network
from continuum.networks.maps import factor
from continuum.records import short
from continuum.sublayers import Frozen, Sublayer, apply, apply_tangent, carried

from ..steps.implicit import ImplicitRungeKutta
from ..steps.newton import Field, Newton
from ..steps.tableaux import RungeKutta, Stepper
from .integrate import equal_steps, integrate

Inputs = tuple[tuple[int, float], ...]
"""(which value, its coefficient)."""


@checked
@dataclass(frozen=True, eq=False)
class Layer:
    """One layer.

    kind : "hidden", "sum" or "equilibrium"; see the top of this file
    step : the step of the scheme that it belongs to
    inputs : the values before it that are added up, with coefficients
    maps : the sub-layers of F_l, empty for a sum.  Equal matrices and biases are the same array
    feedback : for an equilibrium layer, the values on both sides of its equation
    """

    kind: Literal["hidden", "sum", "equilibrium"]
    step: int
    inputs: Inputs
    maps: tuple[Sublayer, ...] = ()
    feedback: Inputs = ()


@checked
@dataclass(frozen=True, eq=False)
class Architecture:
    """A feed-forward graph with skip connections, and fixed points where the scheme was implicit.

    layers : in the order in which they are evaluated; value 0 is the input, the last layer's is the
        output
    units : N
    newton : how equilibrium layers are solved
    """

    layers: tuple[Layer, ...]
    units: int
    newton: Newton = field(default_factory=Newton)

    __repr__ = short

    @checked
    def __call__(self, initial: Array) -> Array:
        """The output for inputs (N, M), where they are: the final state of the run it was made
        from, to rounding; for an implicit method that chose its steps, to what its run left of the
        stage equations, a fraction of its tolerance.

        raises ValueError if the input does not fit, StepFailed if an equilibrium is not found
        """
        values = {0: check_array("initial", initial, (self.units, "M"))}
        maps = carried([layer.maps for layer in self.layers], values[0])
        layers = [replace(a, maps=b) for a, b in zip(self.layers, maps, strict=True)]
        last_use = {j: n for n, layer in enumerate(self.layers, 1) for j, _ in layer.inputs}
        n = 1
        while n <= len(self.layers):
            layer = layers[n - 1]
            group = [n] if layer.kind != "equilibrium" else [j for j, _ in layer.feedback]
            if layer.kind == "equilibrium":
                values.update(
                    zip(
                        group,
                        self._equilibrium([layers[j - 1] for j in group], group, values),
                        strict=True,
                    )
                )
            else:
                values[n] = apply(layer.maps, _sum(layer.inputs, values))
            n = group[-1] + 1
            values = {j: v for j, v in values.items() if j >= group[0] or last_use.get(j, 0) >= n}
        return values[len(self.layers)]

    def _equilibrium(
        self, layers: list[Layer], group: Sequence[int], values: dict[int, Array]
    ) -> list[Array]:
        gains = np.array([[dict(layer.feedback)[j] for j in group] for layer in layers])
        fields = [
            Field(partial(apply, layer.maps), partial(apply_tangent, layer.maps))
            for layer in layers
        ]
        known = [_sum(layer.inputs, values) for layer in layers]
        return self.newton.solve(fields, known, gains, values[layers[0].inputs[0][0]])

    @property
    def depth(self) -> int:
        """The number of layers with units: hidden and equilibrium ones."""
        return sum(layer.kind != "sum" for layer in self.layers)

    @property
    def products(self) -> int:
        """Products W x in one evaluation; an equilibrium layer counts once and needs one for every
        iteration.
        """
        return sum(one.matrix is not None for layer in self.layers for one in layer.maps)

    @property
    def parameters(self) -> int:
        """The numbers in matrices and biases; what layers share counts once, the matrix of an
        adjoint beside its own.
        """
        arrays = {
            id(x): x
            for layer in self.layers
            for one in layer.maps
            for x in (one.matrix, one.bias)
            if x is not None
        }
        return sum(int(np.prod(x.shape)) for x in arrays.values())

    @checked
    def table(self, rows: int | None = None) -> str:
        """The first `rows` layers (all of them, unless said otherwise), one to a line."""
        chosen = self.layers if rows is None else self.layers[: check_count("rows", rows)]
        found = [id(one.matrix) for layer in self.layers for one in layer.maps]
        found = [key for key in found if key != id(None)]
        names = {key: f"W{n}" for n, key in enumerate(dict.fromkeys(found), 1)}

        def written(layer: Layer, x: str) -> str:
            for one in layer.maps:
                x = one.formula(x, names.get(id(one.matrix), ""))
            return x

        lines = [f"{'layer':>6}  {'step':>5}  {'kind':<12} {'weights':<8} value"]
        for n, layer in enumerate(chosen, 1):
            own = " ".join(names[id(m.matrix)] for m in layer.maps if m.matrix is not None)
            x = _text([(c, f"v{j}") for j, c in layer.inputs])
            if layer.kind == "hidden":
                x = written(layer, x)
            elif layer.kind == "equilibrium":
                others = [(c, written(self.layers[j - 1], f"v{j}")) for j, c in layer.feedback]
                terms = [(c, factor(f) if c != 1.0 else f) for c, f in others]
                x = _text([(1.0, x), *terms])
            lines.append(f"{n:>6}  {layer.step + 1:>5}  {layer.kind:<12} {own:<8} {x}")
        if len(chosen) < len(self.layers):
            lines.append(f"   ... {len(self.layers) - len(chosen)} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        head = (
            f"{self.depth} layers of {self.units} units, {self.parameters} parameters, "
            f"{self.products} products"
        )
        return f"{head}\n{self.table(20)}"


@checked
def architecture(
    stepper: Stepper,
    network: Network,
    control: ControlPath,
    *,
    steps_per_layer: int = 1,
    initial: Array | None = None,
) -> Architecture:
    """The layered architecture that integrate(network, control, ., stepper) is.

    stepper : any explicit or implicit Runge-Kutta method
    network : a Chain of the package's maps; of a Staged one, each stage by itself
    initial : for an adaptive method, the state whose accepted steps are taken; with other states
        the architecture makes these same steps
    raises TypeError for another method or network, or an adaptive method without `initial`
    """
    if not isinstance(stepper, RungeKutta | ImplicitRungeKutta):
        raise TypeError(
            f"stepper must be a Runge-Kutta method such as RK4() or BackwardEuler(), got "
            f"{stepper!r}"
        )
    builder = _Builder(network, control)
    steps_per_layer = check_count("steps_per_layer", steps_per_layer)
    network.check_control("control", control)
    for layer, t, h in _steps(stepper, network, control, steps_per_layer, initial):
        builder.control = control.around(t + 0.5 * h)
        if isinstance(stepper, RungeKutta):
            builder.explicit(stepper, layer, t, h)
        else:
            builder.implicit(stepper, layer, t, h)
    newton = stepper.newton if isinstance(stepper, ImplicitRungeKutta) else Newton()
    return Architecture(tuple(builder.layers), len(network.weights), newton)


def _steps(
    stepper: Stepper,
    network: Network,
    control: ControlPath,
    per_layer: int,
    initial: Array | None,
) -> list[tuple[int, float, float]]:
    """(layer, start, length) of every step."""
    if stepper.adaptive:
        if initial is None:
            raise TypeError(
                "initial must be given for an adaptive method, whose steps depend on it"
            )
        times = integrate(network, control, initial, stepper, save="steps").trajectory.times
        return [
            (control.mesh.layer_of(0.5 * float(s + t)), float(s), float(t - s))
            for s, t in itertools.pairwise(times)
        ]
    steps = equal_steps(control, per_layer)
    return list(zip(steps.layer.tolist(), steps.start.tolist(), steps.size.tolist(), strict=True))


class _Builder:
    """Appends the layers of step after step; `at` is the value that holds the state."""

    def __init__(self, network: Network, control: ControlPath) -> None:
        self.frozen, self.control = Frozen(network), control
        self.layers: list[Layer] = []
        self.at, self.step = 0, 0

    def explicit(self, method: RungeKutta, layer: int, t: float, h: float) -> None:
        """A hidden layer for every stage that is used, and the sum."""
        where: dict[int, int] = {}
        for i in _used(method.a, method.b):
            stage = ((where[j], h * float(method.a[i, j])) for j in where if method.a[i, j])
            inputs = ((self.at, 1.0), *stage)
            where[i] = self._append("hidden", inputs, layer, t + float(method.c[i]) * h)
        total = ((where[i], h * float(method.b[i])) for i in where if method.b[i])
        self._close(((self.at, 1.0), *total))

    def implicit(self, method: ImplicitRungeKutta, layer: int, t: float, h: float) -> None:
        """An equilibrium layer for every stage, and the sum unless the last stage is the new
        state.
        """
        form, first = method.form, len(self.layers) + 1
        for group in form.groups:
            if not np.any(form.gains[group[0]]):  # an explicit first stage: its slope
                self._append("hidden", ((self.at, 1.0),), layer, t)
                continue
            for i in group:
                earlier = [(j, float(form.known[i, j])) for j in range(i) if form.known[i, j]]
                inputs = [(self.at, 1.0 - sum(x for _, x in earlier))]
                inputs += [(first + j, x) for j, x in earlier]
                if form.slope[i]:
                    inputs.append((first, h * float(form.slope[i])))
                feedback = tuple((first + j, h * float(form.gains[i, j])) for j in group)
                at = t + float(method.c[i]) * h
                self._append("equilibrium", tuple(inputs), layer, at, feedback)
        if method.stiffly_accurate:
            self.at, self.step = len(self.layers), self.step + 1
            return
        total = [(first + i, float(x)) for i, x in enumerate(form.final) if x]
        if form.final_slope:
            total.append((first, h * form.final_slope))
        self._close(((self.at, 1.0 - float(np.sum(form.final))), *total))

    def _append(
        self,
        kind: Literal["hidden", "equilibrium"],
        inputs: Inputs,
        layer: int,
        t: float,
        feedback: Inputs = (),
    ) -> int:
        maps = self.frozen.at(self.control.at_layer(layer, t), t)
        self.layers.append(Layer(kind, self.step, inputs, maps, feedback))
        return len(self.layers)

    def _close(self, inputs: Inputs) -> None:
        self.layers.append(Layer("sum", self.step, inputs))
        self.at, self.step = len(self.layers), self.step + 1


def _used(a: Array, b: Array) -> list[int]:
    """The stages that the new state depends on."""
    needed = np.asarray(b) != 0
    for i in range(len(b) - 1, -1, -1):
        if needed[i]:
            needed |= a[i] != 0
    return [int(i) for i in np.flatnonzero(needed)]


def _sum(inputs: Inputs, values: dict[int, Array]) -> Array:
    (first, share), *others = inputs
    x = values[first] if share == 1.0 else share * values[first]
    for j, coefficient in others:
        x = x + coefficient * values[j]
    return x


def _text(terms: Sequence[tuple[float, str]]) -> str:
    """v0 - 0.05 v1: without coefficients of one and terms of zero."""
    kept = [(c, term) for c, term in terms if c]
    parts = [f"{abs(c):.6g} {term}" if abs(c) != 1.0 else term for c, term in kept]
    signs = ["-" if c < 0 else "+" for c, _ in kept]
    return " ".join(f"{sign} {part}" for sign, part in zip(signs, parts, strict=True)).removeprefix(
        "+ "
    )
