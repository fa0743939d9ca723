"""The exact second-order model of a discretised problem at a control, layer by layer.

A layer k carries each sample's state z_k to z_{k+1} = Phi_k(z_k, u_k, s): all its steps together,
u_k the coefficients of the blocks that are constant on layers, s those that are constant in time.
With ell_k the cost of stage k (running cost, penalty; ell_K the terminal cost) and the costates

    lambda_K = d ell_K,      lambda_k = d_z ell_k + (d_z Phi_k)^T lambda_{k+1},

J has, at z_{k+1} = Phi_k, the quadratic model

    sum_k q_k.dz_k + r_k.du_k + (dz_k.Q_k dz_k + 2 dz_k.S_k du_k + du_k.R_k du_k) / 2,
    dz_{k+1} = A_k dz_k + B_k du_k,   dz_0 = 0,

A_k, B_k the derivatives of Phi_k and Q_k, S_k, R_k the second derivatives of ell_k + lambda_{k+1}.
Phi_k.  Its value, gradient and Hessian in (u_0, ..., u_{K-1}) are those of J, to rounding.

All arrays are derivatives in the coefficients themselves, so quadrature weights, weights of blocks,
lengths of layers and sample weights are inside: no product of the space is left to divide by.
Static blocks come as borders: further directions that all layers share.

Chains of dense maps with explicit tableaux run compiled (`chain_linear_quadratic.py`); every other
network, and implicit methods, take unit vectors one by one, which is the reference.
Source: Dunn and Bertsekas, Efficient dynamic programming implementations of Newton's method for
unconstrained optimal control problems, J. Optim. Theory Appl. 63 (1989).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.blocks import Block
from continuum.controls import Control, ControlSpace
from continuum.penalties import Penalty

from ..steps.embedded import AdaptiveRungeKutta
from .discretize import ReducedObjective
from .step_derivatives import Step
from .tape import Sweeps, Tape


class LinearQuadratic(NamedTuple):
    """The model in states and layers; N units, M samples, m coefficients of a layer, K layers.

    A : (K, M, N, N), d z_{k+1} / d z_k, sample by sample
    B : (K, M, N, m), d z_{k+1} / d u_k
    Q : (K + 1, M, N, N), second derivative in the state; Q[K] is that of the terminal cost
    S : (K, M, N, m), the mixed one, state first
    R : (K, m, m), that in the control, summed over samples, penalty included
    q : (K + 1, M, N), the derivative of the stage's cost in the state
    r : (K, m), that in the control, penalty included
    """

    A: Array
    B: Array
    Q: Array
    S: Array
    R: Array
    q: Array
    r: Array


class Borders(NamedTuple):
    """What static blocks s, p coefficients, add to the model:

    dz_{k+1} = A_k dz_k + B_k du_k + b_k ds, and to its value
    r.ds + sum_k (dz_k.S_k ds + du_k.R_k ds) + ds.P ds / 2.

    B : (K, M, N, p), d z_{k+1} / d s
    S : (K + 1, M, N, p), second derivative in state and s; S[K] where the terminal cost reads s
    R : (K, m, p), that in u_k and s
    P : (p, p), that in s, penalty included
    r : (p,), the derivative of the costs in s with states held, penalty included
    """

    B: Array
    S: Array
    R: Array
    P: Array
    r: Array


class Linearization(NamedTuple):
    """A run with its model, made by `Linearizer`.

    value : J, without penalties that have no gradient
    states : (K + 1, M, N), the z_k
    costates : (K + 1, M, N), the lambda_k
    model : its borders apart
    borders : None where no static block is trained
    """

    value: float
    states: Array
    costates: Array
    model: LinearQuadratic
    borders: Borders | None


def linearize(objective: ReducedObjective, control: Control) -> Linearization:
    """The model at a control, once; a `Linearizer` keeps what further controls need as well."""
    return Linearizer(objective)(control)


def reduced_gradient(model: LinearQuadratic, borders: Borders | None = None) -> Array:
    """(K m + p,): the derivative of J in u_0, ..., u_{K-1}, s, by the adjoint recursion."""
    costates = np.empty_like(model.q)
    costates[-1] = model.q[-1]
    for k in range(len(model.A) - 1, -1, -1):
        costates[k] = model.q[k] + np.einsum("mij,mi->mj", model.A[k], costates[k + 1])
    found = model.r + np.einsum("kmia,kmi->ka", model.B, costates[1:])
    if borders is None:
        return found.reshape(-1)
    own = borders.r + np.einsum("kmia,kmi->a", borders.B, costates[1:])
    return np.append(found.reshape(-1), own)


def reduced_hessian(model: LinearQuadratic, borders: Borders | None = None) -> Array:
    """(K m + p, K m + p): the Hessian of J in u_0, ..., u_{K-1}, s, dense; for small problems."""
    layers, m = model.r.shape
    p = 0 if borders is None else len(borders.r)
    size = layers * m + p
    hessian = np.zeros((size, size))
    samples, units = model.q.shape[1:]
    dz = np.zeros((samples, units, size))
    for k in range(layers + 1):
        hessian += np.einsum("mia,mij,mjb->ab", dz, model.Q[k], dz, optimize=True)
        if borders is not None:
            mixed = np.einsum("mia,mib->ab", dz, borders.S[k])
            hessian[:, layers * m :] += mixed
            hessian[layers * m :, :] += mixed.T
        if k == layers:
            break
        own = slice(k * m, (k + 1) * m)
        mixed = np.einsum("mia,mib->ab", dz, model.S[k])
        hessian[:, own] += mixed
        hessian[own, :] += mixed.T
        hessian[own, own] += model.R[k]
        dz = np.einsum("mij,mja->mia", model.A[k], dz)
        dz[:, :, own] += model.B[k]
        if borders is not None:
            dz[:, :, layers * m :] += borders.B[k]
            hessian[own, layers * m :] += borders.R[k]
            hessian[layers * m :, own] += borders.R[k].T
    if borders is not None:
        hessian[layers * m :, layers * m :] += borders.P
    return hessian


@dataclass(frozen=True, eq=False)
class Columns:
    """The coefficients as columns: those of blocks on layers first, m of them, then the static
    ones, p; in the order of the space's trained blocks.

    places : name of each trained block -> its first column
    """

    space: ControlSpace
    places: dict[str, int]
    m: int
    p: int

    @staticmethod
    def of(space: ControlSpace) -> "Columns":
        places, count = {}, {"layers": 0, "static": 0}
        for kind in count:
            for block in space.trained:
                if block.time == kind:
                    places[block.name] = sum(count.values())
                    count[kind] += prod(block.shape)
        return Columns(space, places, count["layers"], count["static"])

    def __len__(self) -> int:
        return self.m + self.p

    def part(self, block: Block) -> slice:
        """The columns of a block."""
        return slice(self.places[block.name], self.places[block.name] + prod(block.shape))

    def read(self, control: Control) -> tuple[Array, Array]:
        """(u (K, m), s (p,)): the coefficients of a control."""
        u, s = np.empty((self.space.mesh.layers, self.m)), np.empty(self.p)
        for block in self.space.trained:
            part, x = self.part(block), control[block.name]
            if block.time == "static":
                s[part.start - self.m : part.stop - self.m] = x.reshape(-1)
            else:
                u[:, part] = x.reshape(len(u), -1)
        return u, s

    def write(self, u: Array, s: Array | None = None) -> Control:
        """The control with these coefficients."""
        blocks = {}
        for block in self.space.trained:
            part = self.part(block)
            if block.time != "static":
                x = u[:, part]
            elif s is None:
                x = np.zeros(prod(block.shape))
            else:
                x = s[part.start - self.m : part.stop - self.m]
            blocks[block.name] = np.array(x).reshape(self.space.shape(block))
        return Control(self.space, blocks, trusted=True)

    def units(self) -> Iterator[Control]:
        """The directions that are 1 in one column, on all layers, and 0 elsewhere."""
        for a in range(len(self)):
            u, s = np.zeros((self.space.mesh.layers, self.m)), np.zeros(self.p)
            if a < self.m:
                u[:, a] = 1.0
            else:
                s[a - self.m] = 1.0
            yield self.write(u, s)

    @property
    def none(self) -> Control:
        """The direction 0."""
        return self.write(np.zeros((self.space.mesh.layers, self.m)))

    def collect(self, bars: Mapping[str, Array], factor: float, into: Array) -> None:
        """Adds to into (m + p,) the derivative in the coefficients that cotangents, represented in
        the blocks' weights, stand for.
        """
        for block in self.space.trained:
            if block.name in bars:
                raw = factor * block.weights * bars[block.name]
                into[self.part(block)] += np.broadcast_to(raw, block.shape).reshape(-1)


class Linearizer:
    """Makes the model of one objective at any control: linearizer(control) -> Linearization.

    raises ValueError, at once, for what has no model of this kind: trained blocks that are
        piecewise linear in time (two layers share a coefficient), a running cost that reads blocks
        on layers, SobolevPenalty and other penalties that are no integral of a density, arrays that
        are not NumPy's
    Penalties without a gradient (L1) are left out: a proximal method adds them.
    """

    def __init__(self, objective: ReducedObjective) -> None:
        self.objective = objective
        problem, space = objective.problem, objective.space
        _check(objective)
        self.columns = Columns.of(space)
        terms = () if problem.penalty is None else problem.penalty.terms
        self.penalties = [term for term in terms if term.smooth]

    def __call__(self, control: Control) -> Linearization:
        """The model at a control.

        raises SolveError if the state does not stay finite, or an implicit step has no solution
        """
        objective, columns = self.objective, self.columns
        control = objective.space.check("control", control)
        sweeps, tape = objective.recorded(control.like(objective.problem.initial))
        found = _Whole.zeros(objective, columns)
        _generic(sweeps, tape, columns, found)
        value = sweeps.value(tape) + sum(term.value(control) for term in self.penalties)
        for term in self.penalties:
            _add_penalty(term, control, columns, found)
        return found.split(value, columns)


def _check(objective: ReducedObjective) -> None:
    """Raises ValueError for what has no model; see `Linearizer`."""
    problem, space = objective.problem, objective.space
    if isinstance(objective.stepper, AdaptiveRungeKutta):
        raise ValueError(
            f"stepper must have fixed steps, those of {objective.stepper!r} depend on the control"
        )
    if not is_numpy(problem.initial):
        raise ValueError("initial must be a NumPy array: the model is computed on the host")
    shared = [b.name for b in space.trained if b.time == "nodes"]
    if shared:
        raise ValueError(
            f"controls must not be piecewise linear in time: {', '.join(shared)} with "
            "in_time='nodes' shares coefficients between layers; take in_time='layers'"
        )
    functional = problem.functional
    layered = [b.name for b in space.trained if b.time == "layers"]
    read = [name for name in functional.running_reads if name in layered]
    if read:
        raise ValueError(
            f"running must not depend on blocks that vary by layer, {functional.running!r} reads "
            f"{', '.join(read)}: where it does not, let its `reads` say so"
        )
    for term in () if problem.penalty is None else problem.penalty.terms:
        if term.smooth and not term.pointwise:
            raise ValueError(
                f"penalty must be an integral of a density, {type(term).__name__} couples layers"
            )


@dataclass(eq=False)
class _Whole:
    """The model with borders as further columns, c = m + p of them.

    G : (K, c), the derivative of J less the penalty in u_k and, layer by layer, in s; that of
        costs that read s themselves is in `direct`
    """

    A: Array
    B: Array
    Q: Array
    S: Array
    R: Array
    q: Array
    r: Array
    G: Array
    P: Array
    direct: Array
    states: Array
    costates: Array

    @staticmethod
    def zeros(objective: ReducedObjective, columns: Columns) -> "_Whole":
        units, samples = objective.problem.initial.shape
        layers, c = objective.problem.mesh.layers, len(columns)
        nodes = (layers + 1, samples, units)
        shapes = (
            (layers, samples, units, units),
            (layers, samples, units, c),
            (*nodes, units),
            (*nodes, c),
            (layers, c, c),
            nodes,
            (layers, c),
            (layers, c),
            (columns.p, columns.p),
            (columns.p,),
            nodes,
            nodes,
        )
        return _Whole(*(np.zeros(shape) for shape in shapes))

    def split(self, value: float, columns: Columns) -> Linearization:
        """The model and its borders apart."""
        m, borders = columns.m, None
        model = LinearQuadratic(self.A, self.B, self.Q, self.S[:-1], self.R, self.q, self.r)
        if columns.p:
            borders = Borders(
                self.B[..., m:].copy(),
                self.S[..., m:].copy(),
                self.R[:, :m, m:].copy(),
                self.P + self.R[:, m:, m:].sum(axis=0),
                self.direct + self.r[:, m:].sum(axis=0),
            )
            model = model._replace(
                B=self.B[..., :m].copy(),
                S=self.S[:-1, ..., :m].copy(),
                R=self.R[:, :m, :m].copy(),
                r=self.r[:, :m].copy(),
            )
        return Linearization(value, self.states, self.costates, model, borders)


def _add_penalty(term: Penalty, control: Control, columns: Columns, found: _Whole) -> None:
    """Adds the derivatives of a penalty in the coefficients."""
    space, layers = columns.space, found.R.shape[0]
    steps = space.mesh.steps[:, None]

    def add(blocks: dict[str, Array], on_layers: Array, static: Array) -> None:
        for block in space.trained:
            if block.name not in blocks:
                continue
            part, raw = columns.part(block), block.weights * blocks[block.name]
            if block.time == "static":
                static[part.start - columns.m : part.stop - columns.m] += raw.reshape(-1)
            else:
                on_layers[:, part] += steps * raw.reshape(layers, -1)

    add(term.gradient(control), found.r, found.direct)
    for a, unit in enumerate(columns.units()):
        column = np.zeros(columns.p)
        add(term.hvp(control, unit), found.R[:, :, a], column)
        if a >= columns.m:
            found.P[:, a - columns.m] += column


def _generic(sweeps: Sweeps, tape: Tape, columns: Columns, found: _Whole) -> None:
    """Everything but penalties, by unit vectors, layer by layer from the last."""
    problem, steps, rule = sweeps.problem, tape.steps, sweeps.cost.rule
    w = problem.network.weights[:, None]
    static = {
        n: x
        for n, x in problem.space.cotangents(problem.initial).items()
        if columns.places[n] >= columns.m
    }
    seeds = sweeps.seeds(tape, static)
    direct = np.zeros(len(columns))
    columns.collect(static, 1.0, direct)
    found.direct += direct[columns.m :]
    units, layers, number = list(columns.units()), len(found.A), len(steps)
    firsts = np.searchsorted(steps.layer, np.arange(layers + 1))
    inside = len(np.setdiff1d(rule.states, firsts)) > 0
    p = seeds.added(number, np.zeros_like(problem.initial))
    found.states[-1], found.costates[-1], found.q[-1] = tape.states[number].T, (w * p).T, (w * p).T
    _add_costs(_Layer(sweeps, tape, columns, [], [], number), units, found, layers)
    for k in range(layers - 1, -1, -1):
        first, stop = int(firsts[k]), int(firsts[k + 1])
        made, lams = [], []
        for n in range(stop - 1, first - 1, -1):
            p = seeds.added(n + 1, p) if n + 1 < stop else p
            at = int(steps.layer[n]), float(steps.start[n]), float(steps.size[n])
            made.insert(0, sweeps.derivatives.step(*at, tape.states[n]))
            p, lam, bars = sweeps.derivatives.adjoint(made[0], p)
            lams.insert(0, lam)
            for bar in bars:
                columns.collect(bar, made[0].h, found.G[k])
        before, p = p, seeds.added(first, p)
        found.states[k], found.costates[k] = tape.states[first].T, (w * p).T
        found.q[k] = (w * (p - before)).T
        layer = _Layer(sweeps, tape, columns, made, lams, first)
        for j in range(len(w)):
            df, dp, _ = layer.column(columns.none, _unit(p, j))
            found.A[k, :, :, j], found.Q[k, :, :, j] = df.T, (w * dp).T
        for a, unit in enumerate(units):
            df, dp, bar = layer.column(unit, np.zeros_like(p))
            found.B[k, :, :, a], found.S[k, :, :, a], found.R[k, :, a] = df.T, (w * dp).T, bar
        if inside:  # what nodes of the trapezoid rule inside the layer add, at lambda_{k+1} = 0
            later = found.costates[k + 1]
            found.q[k] += (w * before).T - np.einsum("mij,mi->mj", found.A[k], later)
            found.r[k] = found.G[k] - np.einsum("mia,mi->a", found.B[k], later)
        _add_costs(layer, units, found, k)


def _unit(f: Array, j: int) -> Array:
    """The direction in which unit j of every sample moves: samples do not see each other."""
    found = np.zeros_like(f)
    found[j] = 1.0
    return found


@dataclass(frozen=True, eq=False)
class _Layer:
    """The steps of one layer, from the state with number `first`, and their lambda_i."""

    sweeps: Sweeps
    tape: Tape
    columns: Columns
    steps: list[Step]
    lams: list[list[Array]]
    first: int

    def column(self, direction: Control, df: Array) -> tuple[Array, Array, Array]:
        """(dz after the layer, the derivative of the costate before it less the cost there, that of
        the derivative in the coefficients (c,)) in a direction, the costate after it held.
        """
        derivatives, changes, moved = self.sweeps.derivatives, [], [df]
        for step in self.steps:
            df, dstages = derivatives.tangent(step, direction, moved[-1])
            changes.append(dstages)
            moved.append(df)
        dp, bar = np.zeros_like(df), np.zeros(len(self.columns))
        for i in range(len(self.steps) - 1, -1, -1):
            if i + 1 < len(self.steps):
                dp = dp + self.cost(i + 1, direction, moved[i + 1], bar)
            step = self.steps[i]
            dp, bars = derivatives.adjoint_tangent(step, direction, changes[i], self.lams[i], dp)
            for one in bars:
                self.columns.collect(one, step.h, bar)
        return df, dp, bar

    def cost(self, i: int, direction: Control, df: Array, bar: Array) -> Array:
        """The derivative of what the costs add to the costate before the i-th step; that of what
        they add to the derivative in static blocks is added to bar.
        """
        cost, number, space = self.sweeps.cost, self.first + i, self.columns.space
        if not len(cost.rule.among(number, number)):
            return np.zeros_like(df)
        total = {b.name: np.zeros(b.shape) for b in space.trained if b.time == "static"}
        dp = cost.seed_derivatives(
            np.array([number]), self.tape.stacked, lambda _: df[None], direction, total
        )[0]
        self.columns.collect(total, 1.0, bar)
        return dp


def _add_costs(layer: _Layer, units: list[Control], found: _Whole, k: int) -> None:
    """Adds the second derivatives of the costs at the start of a layer."""
    columns = layer.columns
    w = layer.sweeps.problem.network.weights[:, None]
    zero = np.zeros(layer.sweeps.problem.initial.shape)
    for j in range(len(w)):
        dp = layer.cost(0, columns.none, _unit(zero, j), np.zeros(len(columns)))
        found.Q[k, :, :, j] += (w * dp).T
    for a in range(columns.m, len(columns)):
        bar = np.zeros(len(columns))
        found.S[k, :, :, a] += (w * layer.cost(0, units[a], zero, bar)).T
        found.P[:, a - columns.m] += bar[columns.m :]
