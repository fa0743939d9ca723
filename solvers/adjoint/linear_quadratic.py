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

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from continuum.arrays import Array, is_numpy
from continuum.controls import Control
from continuum.endpoints import CostSum
from continuum.functional import RunningCost, Tracking
from continuum.losses import SquaredError
from continuum.penalties import Tikhonov, terms_of
from continuum.readouts import Projection, State
from continuum.records import short

from ..flow.chain_loops import MATRIX, NOTHING, OFFSET, PRODUCT, WIDTH
from ..flow.lowering import Lowered
from ..flow.program import Loop
from . import chain_linear_quadratic as compiled
from .chain_linear_quadratic import Desk, Model
from .coefficients import Columns
from .discrete_cost import Rule
from .discretize import ReducedObjective, StagedObjective
from .tape import Seeds, Sweeps, Tape
from .unit_directions import model_of, unit_direction


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

    __repr__ = short


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

    __repr__ = short


class Linearization(NamedTuple):
    """A run with its model, made by `Linearizer`.

    value : J, without penalties that have no gradient
    gradient : (K m + p,), the derivative of the same in u_0, ..., u_{K-1}, s
    states : (K + 1, M, N), the z_k
    costates : (K + 1, M, N), the lambda_k
    model : borders apart
    borders : None where no static block is trained
    """

    value: float
    gradient: Array
    states: Array
    costates: Array
    model: LinearQuadratic
    borders: Borders | None

    __repr__ = short


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
    """(K m + p, K m + p): the Hessian of J in u_0, ..., u_{K-1}, s, dense; for small problems.

    From the last layer backwards, with P_k = Q_k + A_k^T P_{k+1} A_k, a unit of u_k changes
    lambda_{k+1} by P_{k+1} B_k, lambda_k by S_k + A_k^T P_{k+1} B_k, earlier ones by A^T; the
    gradient in u_j changes by B_j^T times the change of lambda_{j+1}.
    """
    layers, m = model.r.shape
    p = 0 if borders is None else len(borders.r)
    count, last = layers * m, model.Q[layers]
    hessian = np.zeros((count + p, count + p))
    samples, units = model.q.shape[1:]
    changes = np.zeros((samples, units, count + p))
    moved = _moved(model, borders)
    if borders is not None:
        changes[:, :, count:] = last @ moved[layers] + borders.S[layers]
        hessian[count:, count:] = borders.P + _summed(borders.S[layers], moved[layers])
    for k in range(layers - 1, -1, -1):
        own, later = slice(k * m, (k + 1) * m), slice((k + 1) * m, None)
        back, bent = model.A[k].transpose(0, 2, 1), last @ model.B[k]
        hessian[own, own] = model.R[k] + _summed(model.B[k], bent)
        hessian[own, later] = _summed(model.B[k], changes[:, :, later])
        if borders is not None:
            shared = _summed(borders.B[k], changes[:, :, count:])
            hessian[count:, count:] += shared + _summed(borders.S[k], moved[k])
            hessian[own, count:] += borders.R[k] + _summed(model.S[k], moved[k])
        changes[:, :, later] = back @ changes[:, :, later]
        changes[:, :, own] = model.S[k] + back @ bent
        if borders is not None:
            changes[:, :, count:] += model.Q[k] @ moved[k] + borders.S[k]
        last = model.Q[k] + back @ last @ model.A[k]
        hessian[later, own] = hessian[own, later].T
    return hessian


def _moved(model: LinearQuadratic, borders: Borders | None) -> Array:
    """(K + 1, M, N, p): d z_k / ds."""
    layers, samples, units = model.q[1:].shape
    found = np.zeros((layers + 1, samples, units, 0 if borders is None else len(borders.r)))
    if borders is not None:
        for k in range(layers):
            found[k + 1] = model.A[k] @ found[k] + borders.B[k]
    return found


def _summed(x: Array, y: Array) -> Array:
    """(a, b): sum_mi x_mia y_mib."""
    rows = x.shape[0] * x.shape[1]
    return x.reshape(rows, -1).T @ y.reshape(rows, -1)


class Linearizer:
    """Makes the model of one objective at any control: linearizer(control) -> Linearization.

    The arrays of a model are written again at the next call.
    raises ValueError, at once, as `check_model`
    Penalties without a gradient (L1) are left out: a proximal method adds them.
    """

    def __init__(self, objective: ReducedObjective) -> None:
        check_model(objective)
        problem, space = objective.problem, objective.space
        self.objective, self.columns = objective, Columns.of(space)
        terms = [term for term in terms_of(problem.penalty) if term.smooth]
        self.densities = [term for term in terms if type(term) is not Tikhonov]
        self.ridge = _ridge([term for term in terms if type(term) is Tikhonov], self.columns)
        u, _ = self.columns.split(self.ridge)
        self.diagonals = np.concatenate([u, np.zeros((len(u), self.columns.p))], axis=1)
        functional = problem.functional
        reads = (*functional.running_reads, *functional.terminal_reads)
        self.static = {b.name: b.shape for b in space.trained if b.name in reads}
        self.constant = all(
            has_constant_curvature(cost) for cost in (functional.terminal, functional.running)
        )
        layers, c = problem.mesh.layers, len(self.columns)
        units, samples = problem.initial.shape
        nodes = (layers + 1, samples, units)
        self.model = Model(
            np.zeros((layers, samples, units, units)),
            np.zeros((layers, samples, units, c)),
            np.zeros((*nodes, units)),
            np.zeros((*nodes, c)),
            np.zeros((layers, c, c)),
            np.zeros((layers, c)),
            np.zeros(nodes),
        )
        self._nodes: _Nodes | None = None
        self._bends: Array | None = None
        self._desk: Desk | None = None

    def __call__(self, control: Control, run: tuple[Sweeps, Tape] | None = None) -> Linearization:
        """The model at a control.

        run : what `objective.recorded` gives for this control, if it is known
        raises SolveError if the state does not stay finite, or an implicit step has no solution;
            ValueError, at the first call, for a network or a cost by which samples see each other
        """
        objective, columns, model = self.objective, self.columns, self.model
        control = objective.space.check("control", control)
        sweeps, tape = run or objective.recorded(control)
        total = {name: np.zeros(shape) for name, shape in self.static.items()}
        (costs, seeds), bends = sweeps.seeds(tape, total), self._curvature(sweeps, tape)
        nodes = self._nodes
        if nodes is None:
            _check_apart(sweeps, tape, bends)
            nodes = self._nodes = _Nodes.of(sweeps.cost.rule, objective.steps_per_layer)
        if (
            sweeps.compiled is None
            or sweeps.compiled.lowered.split
            or (nodes.inside and self.static)
        ):
            model_of(sweeps, tape, objective.steps_per_layer, seeds, columns, model)
            model.Q[nodes.rows] += bends[nodes.ends]
            a = np.arange(len(columns))
            model.R[:, a, a] += self.diagonals
        else:
            self._run(sweeps.loop, tape, seeds, bends, nodes)
        r, q = np.zeros(model.G.shape), np.zeros(model.costates.shape)
        if nodes.inside:  # what nodes inside a layer add is what is left at lambda_{k+1} = 0
            later = model.costates[1:]
            q[:-1] = model.costates[:-1] - np.einsum("kmij,kmi->kmj", model.A, later)
            q[-1] = model.costates[-1]
            r += model.G - np.einsum("kmia,kmi->ka", model.B, later)
        else:
            q[nodes.rows] = self._raw(seeds.values)
        P, direct = np.zeros((columns.p, columns.p)), np.zeros(len(columns))
        if self.static:
            columns.collect(total, 1.0, direct)
            self._add_static(sweeps, tape, P)
        further, penalty = self._add_penalties(control, P)
        gradient, parts, borders = self._split(q, r, direct, further, P)
        value = costs + penalty
        states = tape.stacked(nodes.starts).transpose(0, 2, 1)
        return Linearization(value, gradient, states, model.costates, parts, borders)

    @cached_property
    def _units(self) -> Array:
        """(N, 1): the weights of the units."""
        return self.objective.problem.network.weights[:, None]

    def _raw(self, p: Array) -> Array:
        """(n, M, N): derivatives in the entries of states, from representers (n, N, M)."""
        return (self._units * p).transpose(0, 2, 1)

    def _curvature(self, sweeps: Sweeps, tape: Tape) -> Array:
        """(n, M, N, N): the second derivatives of the costs in each state that costs something."""
        if self._bends is not None:
            return self._bends
        cost, problem = sweeps.cost, self.objective.problem
        units, samples = problem.initial.shape
        numbers, none = cost.rule.states, self.columns.none
        bends = np.empty((len(numbers), samples, units, units))
        for j in range(units):
            one = unit_direction(problem.initial, j)
            bends[..., j] = self._raw(
                cost.seed_derivatives(
                    numbers,
                    tape.stacked,
                    lambda some, one=one: np.broadcast_to(one, (len(some), *one.shape)),
                    none,
                    {},
                )
            )
        if self.constant:
            self._bends = bends
        return bends

    def _run(self, loop: Loop, tape: Tape, seeds: Seeds, bends: Array, nodes: "_Nodes") -> None:
        """The compiled pass."""
        lowered, samples = loop.lowered, self.objective.samples
        if self._desk is None:
            self._desk = Desk.of(loop, samples, len(self.columns), self.objective.steps_per_layer)
            self._places, self._untouched = _places(lowered, self.columns)
        compiled.linearize(
            samples,
            self._desk,
            lowered.program,
            loop.blocks,
            loop.method,
            tape.steps.moments,
            self.objective.steps_per_layer,
            tape.record,
            self._places,
            self._untouched,
            nodes.places,
            (self._units * seeds.values).reshape(len(seeds.values), -1),
            bends,
            self.diagonals,
            self.model,
        )

    def _split(
        self, q: Array, r: Array, direct: Array, further: Array, P: Array
    ) -> tuple[Array, LinearQuadratic, Borders | None]:
        """(gradient, model, borders) from q and r of the stages, the derivatives of the costs in
        static blocks (c,), those of the penalties (K m + p,) and the second ones in static blocks.
        """
        model, m = self.model, self.columns.m
        u, s = self.columns.split(further)
        if not self.columns.p:
            r += u
            found = LinearQuadratic(model.A, model.B, model.Q, model.S[:-1], model.R, q, r)
            return (model.G + u).reshape(-1), found, None
        s = direct[m:] + s
        gradient = np.append(model.G[:, :m] + u, model.G[:, m:].sum(axis=0) + s)
        B, S, R = model.B, model.S, model.R
        P = P + R[:, m:, m:].sum(axis=0)
        own = s + r[:, m:].sum(axis=0)
        borders = Borders(B[..., m:].copy(), S[..., m:].copy(), R[:, :m, m:].copy(), P, own)
        B, S, R = (x.copy() for x in (B[..., :m], S[:-1, ..., :m], R[:, :m, :m]))
        return gradient, LinearQuadratic(model.A, B, model.Q, S, R, q, r[:, :m] + u), borders

    def _add_static(self, sweeps: Sweeps, tape: Tape, P: Array) -> None:
        """Adds the second derivatives of the costs in static blocks that they read, with states at
        the ends of layers; P (p, p) is that in these blocks.
        """
        columns, cost, per_layer = self.columns, sweeps.cost, self.objective.steps_per_layer
        numbers = cost.rule.states[cost.rule.states % per_layer == 0]
        # stretches of states that cost something: all at once if no others lie in between
        together = len(numbers) == len(cost.rule.states)
        stretches = [numbers] if together else list(numbers[:, None])
        still = np.zeros(self.objective.problem.initial.shape)
        for a, unit in enumerate(columns.units()):
            if a < columns.m:
                continue
            bar = np.zeros(len(columns))
            total = {name: np.zeros(shape) for name, shape in self.static.items()}
            for some in stretches:
                dp = cost.seed_derivatives(
                    some,
                    tape.stacked,
                    lambda chosen: np.broadcast_to(still, (len(chosen), *still.shape)),
                    unit,
                    total,
                )
                self.model.S[some // per_layer, :, :, a] += self._raw(dp)
            columns.collect(total, 1.0, bar)
            P[:, a - columns.m] += bar[columns.m :]

    def _add_penalties(self, control: Control, P: Array) -> tuple[Array, float]:
        """(the derivative of the penalties (K m + p,), their value); their second one is added to P
        and, but for the ridge, which is there already, to the model.
        """
        columns, R, m = self.columns, self.model.R, self.columns.m
        x = columns.vector(control)
        found = self.ridge * x
        value = 0.5 * float(found @ x)
        P[np.diag_indices(columns.p)] += columns.split(self.ridge)[1]
        for term in self.densities:
            value += term.value(control)
            found += columns.weights * columns.vector(term.gradient(control))
            for a, unit in enumerate(columns.units()):
                u, s = columns.split(columns.weights * columns.vector(term.hvp(control, unit)))
                if a < m:
                    R[:, :m, a] += u
                else:
                    P[:, a - m] += s
        return found, value


class _Nodes(NamedTuple):
    """Where the costs of a run are taken.

    starts : (K + 1,), the numbers of the states at the ends of layers
    rows, ends : which of them cost something, and which of the states that do they are
    places : (S + 1,), which of the states that cost something each state is, or -1
    inside : whether some lie inside a layer
    """

    starts: Array
    rows: slice
    ends: slice
    places: Array
    inside: bool

    @staticmethod
    def of(rule: Rule, per_layer: int) -> "_Nodes":
        numbers = rule.states
        count = int(np.sum(numbers % per_layer == 0))  # all ends of layers, or the last alone
        inside = count < len(numbers)
        places = np.full(rule.last + 1, -1)
        places[numbers] = np.arange(len(numbers))
        starts = np.arange(0, rule.last + 1, per_layer)
        rows = slice(len(starts) - count, len(starts))
        ends = slice(0, None, per_layer if inside else 1)
        return _Nodes(starts, rows, ends, places, inside)


def _ridge(terms: Sequence[Tikhonov], columns: Columns) -> Array:
    """(K m + p,): the diagonal second derivative of Tikhonov penalties."""
    found = np.zeros(columns.size)
    for term in terms:
        counted = term.penalised(columns.space)
        ones = {b.name: np.ones(columns.space.shape(b)) for b in counted}
        found += 2.0 * term.strength * columns.weights * columns.vector(ones)
    return found


def _check_apart(sweeps: Sweeps, tape: Tape, bends: Array) -> None:
    """Raises ValueError where the network or a cost lets samples see each other, so that it has no
    derivatives sample by sample: met by one random direction.
    """
    problem, cost = sweeps.problem, sweeps.cost
    network, f = problem.network, tape.states[len(tape.steps) // 2]
    n = min(len(tape.steps) // 2, len(tape.steps) - 1)
    t = float(tape.steps.start[n])
    values = sweeps.control.at_layer(int(tape.steps.layer[n]), t)
    d = np.random.default_rng(0).standard_normal(f.shape)
    alone = np.zeros_like(f)
    for j in range(len(f)):
        alone += d[j] * network.jvp(f, values, t, unit_direction(f, j), {})
    _compare("network", network, network.jvp(f, values, t, d, {}), alone)
    numbers, w = cost.rule.states, network.weights[:, None]
    none = Columns.of(problem.space).none
    found = cost.seed_derivatives(
        numbers, tape.stacked, lambda some: np.broadcast_to(d, (len(some), *d.shape)), none, {}
    )
    alone = np.einsum("nmij,jm->nim", bends, d)
    costs = [one for one in (problem.terminal, problem.running) if one is not None]
    _compare("cost", costs, w * found, alone)


def _compare(name: str, given: object, found: Array, alone: Array) -> None:
    """Raises ValueError if the derivatives of samples alone do not make up the whole."""
    if np.max(np.abs(found - alone)) > 1e-8 * max(np.max(np.abs(found)), np.max(np.abs(alone))):
        raise ValueError(
            f"{name} must treat samples one by one, {given!r} lets them see each other"
        )


def has_constant_curvature(cost: RunningCost | None) -> bool:
    """True where the second derivative in the state is known to be the same at all states."""
    if isinstance(cost, CostSum):
        return all(has_constant_curvature(part) for part in cost.costs)
    return cost is None or (
        isinstance(cost, Tracking)
        and type(cost.loss) is SquaredError
        and type(cost.readout) in (State, Projection)
    )


def _places(lowered: Lowered, columns: Columns) -> tuple[Array, Array]:
    """(the first column of each block of a program or -1, whether no link before a link has
    any).
    """
    places = np.full(WIDTH, -1)
    for k, part in enumerate(lowered.parts):
        places[k] = columns.places.get(part.name, -1)
    links = lowered.program.links
    own = [
        (link[PRODUCT] != NOTHING and places[link[MATRIX]] >= 0)
        or (link[OFFSET] >= 0 and places[link[OFFSET]] >= 0)
        for link in links
    ]
    return places, np.array([not any(own[:n]) for n in range(len(links))])


def check_model(objective: ReducedObjective) -> None:
    """Raises ValueError for what has no model of this kind: trained blocks that are piecewise
    linear in time (two layers share a coefficient), a running cost that reads blocks on layers,
    SobolevPenalty and other penalties that are no integral of a density, adaptive steps, arrays
    that are not NumPy's, networks whose width changes.
    """
    problem, space = objective.problem, objective.space
    if isinstance(objective, StagedObjective):
        raise ValueError(
            "network must keep its width, Staged changes it: the model has one width; take a "
            "method that asks for gradients or Hessian-vector products, LBFGS() or NewtonCG()"
        )
    if objective.stepper.adaptive:
        raise ValueError(
            f"stepper must have fixed steps, those of {objective.stepper!r} depend on the control"
        )
    if not is_numpy(problem.initial):
        raise ValueError("initial must be a NumPy array: the model is computed on the host")
    for term in terms_of(problem.penalty):
        if term.smooth and not term.pointwise:
            raise ValueError(
                f"penalty must be an integral of a density, {type(term).__name__} couples layers"
            )
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
