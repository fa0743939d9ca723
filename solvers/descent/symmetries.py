"""Maps of controls under which a learning problem does not change, read off the maps of its chain.

A chain x_(l+1) = map_l(x_l) leads from the state through hidden layers back to the state.  Let S_l
be a signed permutation of the units of layer l, S_0 that of the state.  If every matrix b from
layer l to layer k is replaced by S_k b S_l^T and every offset a by S_l a, and S_l commutes with the
activations of layer l (all permutations do; changes of sign where the activations are odd), then
the velocity is F(S_0 f, c') = S_0 F(f, c): for S_0 = 1 nothing changes at all, and otherwise states
become S_0 f.  That leaves J as it is where S_0, with the change of outputs that follows from it,
carries the samples with their targets and weights into each other.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations, product
from typing import TypeAlias

import numpy as np

from continuum.arrays import Array, to_host
from continuum.checks import check_count
from continuum.controls import Control
from continuum.doors import checked
from continuum.endpoints import CostSum
from continuum.functional import RunningCost, Tracking, rests
from continuum.losses import AbsoluteError, Loss, SquaredError, WeightedLoss
from continuum.networks import Chain, Inputs
from continuum.networks.maps import Linear, Offset, Pointwise, Product
from continuum.problem import LearningProblem
from continuum.readouts import WEIGHT, Projection, SignedReadout, State, TrainableReadout

Symmetry: TypeAlias = Callable[[Control], Control]
"""A map of controls that leaves the objective and the admissible set as they are, and the norm of
the space.
"""

STATE = 0
"""The number of the layer that is the state; hidden layers follow in the order of the chain."""

_WHOLE = 3
"""Of states of at most so many units all signed permutations are tried."""


@checked
def symmetries(
    problem: LearningProblem,
    *,
    signs: bool = True,
    exchanges: bool = True,
    units: Mapping[int, Sequence[int]] | None = None,
) -> list[Symmetry]:
    """Generators of a group of symmetries of the problem; see above for why they are.

    Of every hidden layer: the change of sign of each unit, if its activations are odd, and the
    exchanges of units of equal weight.  Of the state: the same, and of states of at most 3 units
    all signed permutations, where they carry the set of samples (initial values, targets, weights)
    into itself, targets as the outputs change.  Generators that would change a block which is fixed
    are left out.  Penalties and admissible sets are not asked; `multistart` compares values.

    signs, exchanges : whether units change sign, and places
    units : which units of layer 0, the state, and of 1, 2, ..., the hidden layers in the order of
        the chain, may; layers not named do nothing.  All if None
    raises TypeError for a network that is no Chain of offsets, activations and matrices (Dense
        kernels on a grid), or a running cost that is not the loss of a readout; ValueError for
        units that do not exist
    """
    layers = _Layers.of(problem.network)
    chosen = _chosen(layers, units)
    costs = _costs(problem)
    found = []
    for layer, among in chosen.items():
        odd = signs and layers.odd[layer]
        joined = list(range(len(layers.weights[layer])))  # units that exchanges found connect
        for action in _candidates(layers, layer, among, odd, exchanges):
            pair = np.flatnonzero(action.order != np.arange(len(joined)))
            plain = len(pair) == 2 and np.all(action.sign > 0)
            if plain and joined[pair[0]] == joined[pair[1]]:
                continue  # a product of exchanges that were found
            if layer == STATE and not _carries(problem, costs, action):
                continue
            symmetry = _Image(layers, layer, action)
            if symmetry.keeps(problem):
                found.append(symmetry)
                if plain:
                    old, new = joined[pair[1]], joined[pair[0]]
                    joined = [new if label == old else label for label in joined]
    return found


@dataclass(frozen=True, eq=False)
class _Signed:
    """(S x)_i = sign_i x_(order_i)."""

    order: Array
    sign: Array

    def rows(self, x: Array) -> Array:
        """S x of x (n, ...)."""
        return self.sign.reshape(-1, *[1] * (x.ndim - 1)) * x[self.order]

    def columns(self, x: Array) -> Array:
        """x S^T of x (..., n)."""
        return x[..., self.order] * self.sign

    def filled(self, count: int) -> "_Signed":
        """The same, and the identity on further units."""
        more = count - len(self.order)
        order = np.concatenate([self.order, np.arange(len(self.order), count)])
        return _Signed(order, np.append(self.sign, np.ones(more)))


@dataclass(frozen=True, eq=False)
class _Layers:
    """Which blocks of a chain see which layer.

    matrices : block -> (layer it leads to, layer it comes from); offsets : block -> layer
    odd : layer -> whether all its activations are;  weights : layer -> the weights of its units
    """

    matrices: Mapping[str, tuple[int, int]]
    offsets: Mapping[str, int]
    odd: Mapping[int, bool]
    weights: Mapping[int, Array]

    @staticmethod
    def of(network: object) -> "_Layers":
        """Those of a chain.  Raises TypeError for other networks, and kernels that are no
        matrices.
        """
        if not isinstance(network, Chain) or not network.derived:
            raise TypeError(f"symmetries are read off the maps of a Chain, got {network!r}")
        return _Reader(network).layers()


class _Reader:
    """Walks along a chain.  A space after a linear map is a new layer, unless the chain ends there
    or a block that was used before says that it is an old one.
    """

    def __init__(self, network: Chain) -> None:
        self.parent = [STATE]
        self.weights = [network.weights]
        self.matrices: dict[str, tuple[int, int]] = {}
        self.offsets: dict[str, int] = {}
        self.even: set[int] = set()  # layers with an activation that is not odd
        here = STATE
        for one in network.maps:
            if isinstance(one, Product):
                here = self._crossed(one, here)
            elif isinstance(one, Offset):
                self._same(self.offsets.setdefault(one.block, here), here)
            elif isinstance(one, Pointwise):
                self.even |= set() if one.activation.odd else {here}
            elif not isinstance(one, Inputs):  # their further rows stay in their places
                raise TypeError(f"no symmetries of {one!r} are known")
        self._same(here, STATE)

    def layers(self) -> _Layers:
        roots = sorted({self._root(n) for n in range(len(self.parent))})
        number = {root: n for n, root in enumerate(roots)}

        def of(n: int) -> int:
            return number[self._root(n)]

        even = {of(n) for n in self.even}
        return _Layers(
            {name: (of(a), of(b)) for name, (a, b) in self.matrices.items()},
            {name: of(n) for name, n in self.offsets.items()},
            {n: n not in even for n in number.values()},
            {number[root]: self.weights[root] for root in roots},
        )

    def _crossed(self, one: Product, here: int) -> int:
        """The layer that a linear map or an adjoint leads to."""
        linear = one if isinstance(one, Linear) else one.of  # type: ignore[attr-defined]
        if not linear.operator.is_matrix:
            raise TypeError(
                f"symmetries are known of matrices and Dense() kernels, block {one.block!r} is "
                f"{linear.operator!r}"
            )
        if one.block not in self.matrices:
            target = linear.target
            self.parent.append(len(self.parent))
            self.weights.append(np.ones(target) if isinstance(target, int) else target.weights)
            self.matrices[one.block] = (len(self.parent) - 1, here)
        after, before = self.matrices[one.block]
        if not isinstance(one, Linear):
            after, before = before, after
        self._same(before, here)
        return after

    def _root(self, n: int) -> int:
        return n if self.parent[n] == n else self._root(self.parent[n])

    def _same(self, a: int, b: int) -> None:
        low, high = sorted((self._root(a), self._root(b)))
        self.parent[high] = low


@dataclass(frozen=True, eq=False)
class _Image:
    """The map of controls of one signed permutation of one layer."""

    layers: _Layers
    layer: int
    action: _Signed

    def __call__(self, control: Control) -> Control:
        return control.replaced(**{n: self.block(n, to_host(x)) for n, x in control.items()})

    def keeps(self, problem: LearningProblem) -> bool:
        """True if it does not change the blocks that are fixed."""
        fixed = ((n, to_host(x)) for n, x in problem.space.fixed.items())
        return all(np.array_equal(self.block(n, x), x) for n, x in fixed)

    def block(self, name: str, x: Array) -> Array:
        """The image of a block's coefficients, (..., *block.shape)."""
        if name in self.layers.matrices:
            after, before = self.layers.matrices[name]
            if before == self.layer:
                x = self.action.filled(x.shape[-1]).columns(x)
            if after == self.layer:
                turned = np.swapaxes(x, -1, -2)
                x = np.swapaxes(self.action.filled(x.shape[-2]).columns(turned), -1, -2)
            return x
        if self.layers.offsets.get(name) == self.layer:
            return self.action.filled(x.shape[-1]).columns(x)
        return self.action.columns(x) if name == WEIGHT and self.layer == STATE else x


def _candidates(
    layers: _Layers, layer: int, among: Sequence[int], odd: bool, exchanges: bool
) -> Iterator[_Signed]:
    """Signed permutations of these units of a layer that keep their weights, but for the
    identity.
    """
    weights = layers.weights[layer]
    every, plain = np.arange(len(weights)), np.ones(len(weights))
    if layer == STATE and len(among) <= _WHOLE:
        moves = permutations(among) if exchanges else [tuple(among)]
        for order, sign in product(moves, product((1.0, -1.0), repeat=len(among))):
            action = _Signed(every.copy(), plain.copy())
            action.order[list(among)], action.sign[list(among)] = order, sign
            flips, moved = np.any(action.sign < 0), np.any(action.order != every)
            keeps = _alike(weights, weights[action.order])
            if keeps and (moved or flips) and (odd or not flips):
                yield action
        return
    for unit in among if odd else ():
        sign = plain.copy()
        sign[unit] = -1.0
        yield _Signed(every, sign)
    for i, j in combinations(among, 2) if exchanges else ():
        if _alike(weights[i], weights[j]):
            order = every.copy()
            order[[i, j]] = j, i
            yield _Signed(order, plain)


def _alike(a: Array | float, b: Array | float) -> bool:
    return bool(np.allclose(a, b, rtol=1e-12, atol=0.0))


def _costs(problem: LearningProblem) -> list[Tracking]:
    """The terminal and the running cost, and the square of the distance from the endpoint, which
    has the same symmetries.  Raises TypeError for one that is not the loss of a readout with a
    target that stands still.
    """
    found: list[RunningCost] = []
    if problem.constraint is not None:
        end = problem.constraint
        found.append(Tracking(SquaredError(), end.readout, end.target))
    for given in (problem.functional.terminal, problem.functional.running):
        if given is not None:
            found += given.costs if isinstance(given, CostSum) else [given]
    for cost in found:
        if not rests(cost):
            raise TypeError(
                f"symmetries are known for losses of a readout, with a target that stands still, "
                f"got {cost!r}"
            )
    return found  # type: ignore[return-value]


def _carries(problem: LearningProblem, costs: Sequence[Tracking], action: _Signed) -> bool:
    """True if S_0 carries the samples into each other, their targets with their outputs."""
    here, there = [to_host(problem.initial)], [action.rows(to_host(problem.initial))]
    for cost in costs:
        target = to_host(cost.target)  # type: ignore[arg-type]  # the costs are completed
        outputs = _outputs(problem, cost, action)
        if outputs is None:
            return False
        here.append(target)
        there.append(outputs.rows(target))
    first = problem.network.maps[0]  # type: ignore[attr-defined]  # it is a Chain
    data = first.data if isinstance(first, Inputs) and first.data is not None else None
    beside = [problem.sample_weights[None]]
    if data is not None and data.shape[1] > 1:
        beside.append(to_host(data))
    one, other = np.concatenate([*here, *beside]) + 0.0, np.concatenate([*there, *beside]) + 0.0
    return np.array_equal(one[:, np.lexsort(one)], other[:, np.lexsort(other)])


def _outputs(problem: LearningProblem, cost: Tracking, action: _Signed) -> _Signed | None:
    """The signed permutation Q of the outputs with readout(S f) = Q readout(f), under which the
    loss does not change, targets changing as outputs do; None if there is none.
    """
    readout, network = cost.readout, problem.network
    if isinstance(readout, SignedReadout):  # its signs are fixed
        signs = to_host(readout.signs)
        if not np.array_equal(signs[:, action.order], signs):
            return None
    if isinstance(readout, TrainableReadout):  # its matrix becomes W S^T, or is fixed and must be
        count = len(readout.measure(network))
        return _Signed(np.arange(count), np.ones(count))
    if isinstance(readout, State):
        found = action
    elif isinstance(readout, Projection):
        matrix = to_host(readout.matrix)
        found = _matched(action.columns(matrix), matrix)
    else:
        return None
    if found is None or not _keeps_loss(cost.loss, found):
        return None
    measure = readout.measure(network)
    return found if _alike(measure, measure[found.order]) else None


def _keeps_loss(loss: Loss, outputs: _Signed) -> bool:
    if np.any(outputs.sign < 0):
        return isinstance(loss, SquaredError | AbsoluteError)
    return isinstance(loss, WeightedLoss) or bool(np.all(np.diff(outputs.order) == 1))


def _matched(changed: Array, matrix: Array) -> _Signed | None:
    """The Q with changed = Q matrix, if there is one."""
    order, sign = [], []
    for row in changed:
        for s, q in product((1.0, -1.0), range(len(matrix))):
            if q not in order and np.array_equal(s * matrix[q] + 0.0, row + 0.0):
                order.append(q)
                sign.append(s)
                break
        else:
            return None
    return _Signed(np.array(order), np.array(sign))


def _chosen(layers: _Layers, units: Mapping[int, Sequence[int]] | None) -> dict[int, list[int]]:
    if units is None:
        return {n: list(range(len(w))) for n, w in layers.weights.items()}
    found: dict[int, list[int]] = {}
    for layer, given in units.items():
        if layer not in layers.weights:
            raise ValueError(
                f"units must name layers 0, ..., {len(layers.weights) - 1} (0 is the state), got "
                f"{layer!r}"
            )
        count = len(layers.weights[layer])
        for unit in given:
            if check_count("unit", unit, 0) >= count:
                raise ValueError(f"units of layer {layer} must be 0, ..., {count - 1}, got {unit}")
        found[layer] = sorted({int(unit) for unit in given})
    return found
