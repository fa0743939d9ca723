"""What is asked of the last state beside its cost: that it is the target; and sums of costs."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .activations import identity
from .arrays import Array, columns, is_array, like, to_host
from .blocks import Block, Coefficient
from .checks import check_array
from .controls import ControlSpace
from .doors import checked
from .functional import RunningCost, Times
from .networks import Chain, DirectSum, Inputs, Network, NormBound
from .networks.maps import Offset, Pointwise
from .networks.network import Values
from .readouts import Projection, Readout, State
from .records import short


@checked
@dataclass(frozen=True, eq=False)
class CostSum(RunningCost):
    """L = L_1 + L_2 + ...: several costs together, on different readouts and targets.

    costs : RunningCosts, such as Trackings
    raises TypeError for anything else, ValueError for none
    """

    costs: Sequence[RunningCost]

    __repr__ = short

    def __post_init__(self) -> None:
        object.__setattr__(self, "costs", tuple(self.costs))
        if not self.costs:
            raise ValueError("costs must not be empty")

    @property
    def broadcasts(self) -> bool:
        return all(cost.broadcasts for cost in self.costs)

    def density(self, network: Network, f: Array, c: Values, t: Times) -> Array:
        first, *others = (cost.density(network, f, c, t) for cost in self.costs)  # type: ignore[arg-type]
        return sum(others, first)

    def vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, dict[str, Array]]:
        return _added([cost.vjp(network, f, c, t, q) for cost in self.costs])  # type: ignore[arg-type]

    def density_and_vjp(
        self, network: Network, f: Array, c: Values, t: Times, q: Array
    ) -> tuple[Array, Array, dict[str, Array]]:
        found = [cost.density_and_vjp(network, f, c, t, q) for cost in self.costs]  # type: ignore[arg-type]
        first, *others = (costs for costs, *_ in found)
        return sum(others, first), *_added([(p, bars) for _, p, bars in found])

    def vjp_derivative(
        self, network: Network, f: Array, c: Values, t: Times, q: Array, df: Array, dc: Values
    ) -> tuple[Array, dict[str, Array]]:
        return _added(
            [cost.vjp_derivative(network, f, c, t, q, df, dc) for cost in self.costs]  # type: ignore[arg-type]
        )

    def formula(self) -> str:
        return " + ".join(cost.formula() for cost in self.costs)

    def reads(self, network: Network) -> Collection[str] | None:
        found = [cost.reads(network) for cost in self.costs]
        if any(names is None for names in found):
            return None
        return {name for names in found for name in names or ()}

    def blocks(self, network: Network) -> tuple[Block, ...]:
        return tuple({b.name: b for c in self.costs for b in c.blocks(network)}.values())

    @property
    def fixed(self) -> Mapping[str, Coefficient]:
        return {name: x for cost in self.costs for name, x in cost.fixed.items()}

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "CostSum":
        return CostSum([c.completed(network, readout, target, samples) for c in self.costs])

    def batch(self, indices: Array) -> "CostSum":
        return CostSum([cost.batch(indices) for cost in self.costs])


def _added(
    found: Sequence[tuple[Array, dict[str, Array]]],
) -> tuple[Array, dict[str, Array]]:
    (state, blocks), *others = found
    total = dict(blocks)
    for further, bars in others:
        state = state + further
        for name, bar in bars.items():
            total[name] = total[name] + bar if name in total else bar
    return state, total


@checked
@dataclass(frozen=True, eq=False)
class TerminalEquality:
    """readout(f(T)) = target, for every sample: the endpoint of a problem.

    target, readout : the problem's unless given; the target is (P, M)
    A minimum has a multiplier p (P, M), stationary for J + sum_m s_m (p_m, readout(f_m(T)) - y_m):
    with the readout State() it is the costate at T of a problem whose terminal cost is (p_m, f).
    If J is least, V(y), then dV/dy_m = -s_m p_m.
    raises TypeError for what is no readout
    """

    target: Array | None = None
    readout: Readout | None = None

    __repr__ = short

    def __post_init__(self) -> None:
        if self.target is not None and not is_array(self.target):
            object.__setattr__(self, "target", np.asarray(self.target))

    def completed(
        self, network: Network, readout: Readout, target: Array | None, samples: int
    ) -> "TerminalEquality":
        """Itself, with what it takes from the problem put in.

        raises ValueError for a target that is missing or does not fit
        """
        readout = readout if self.readout is None else self.readout
        given = target if self.target is None else self.target
        if given is None:
            raise ValueError("target is needed by TerminalEquality(), but it is None")
        outputs = len(readout.measure(network))
        return TerminalEquality(check_array("target", given, (outputs, samples)), readout)

    def residual(self, network: Network, f: Array, c: Values) -> Array:
        """(P, M): readout(f) - target, of one that is completed."""
        if self.readout is None or self.target is None:
            raise ValueError("this TerminalEquality has no readout or target: put it in a problem")
        return self.readout.output(network, f, c) - like(self.target, f)

    def formula(self) -> str:
        """How `print(problem)` writes it."""
        output = "f" if self.readout is None else self.readout.formula()
        return f"{output}(T) = target for every sample"

    def batch(self, indices: Array) -> "TerminalEquality":
        """The same for some of the samples."""
        return self if self.target is None else replace(self, target=columns(self.target, indices))

    def check_reachable(self, network: Network, space: ControlSpace, initial: Array) -> None:
        """Raises ValueError where a conserved quantity shows that no control reaches the target.

        What is looked for, of one that is completed:

        - Equal initial values, with equal data, have equal states at all times: so their targets
          must be equal.
        - If the velocity is affine in the state (all activations the identity), every relation
          sum_m a_m f_m = 0 with sum_m a_m = 0 among initial values holds at all times, and without
          offsets every relation sum_m a_m f_m = 0.  So the targets must satisfy those of the
          initial values; there are such relations if the rank of (x_m, 1), at most d + 1, is below
          the number of samples.
        - If all activations are odd and there are no offsets, f and -f move together: initial
          values x and -x need targets y and -y.

        For other networks the rank of (sigma(x_m), 1) below the number of samples forbids nothing:
        with N <= d + 1 samples of full rank targets near x are reached by small controls (the local
        statement), with more of them through brackets of the vector fields, if at all.
        """
        x, y = to_host(initial), to_host(self.target)  # type: ignore[arg-type]  # it is completed
        data = _data(network, x.shape[1])
        pair = contradiction(network, x, y)
        if pair is not None:
            raise ValueError(
                f"no control reaches the endpoint: samples {pair[0]} and {pair[1]} have equal "
                "initial values but different targets, and so equal states at all times"
            )
        if not isinstance(network, Chain) or not network.derived or len(data):
            return
        if not isinstance(self.readout, State | Projection):
            return
        activations = [m.activation for m in network.maps if isinstance(m, Pointwise)]
        offsets = _has_offsets(network, space)
        if any(isinstance(m, Inputs) for m in network.maps):
            return
        bounded = any(isinstance(m, NormBound) for m in network.maps)  # odd, but not affine
        if not bounded and all(a is identity for a in activations):
            _check_relations(network, self.readout, x, y, offsets)
        elif all(a.odd for a in activations) and not offsets:
            first: dict[bytes, int] = {}
            for n, (own, opposite) in enumerate(zip(_keys(x), _keys(-x), strict=True)):
                m = first.get(opposite)
                if m is not None and not np.array_equal(y[:, m], -y[:, n]):
                    raise ValueError(
                        f"no control reaches the endpoint: samples {m} and {n} have opposite "
                        "initial values, and keep them where activations are odd and there are no "
                        "offsets, but their targets are not opposite"
                    )
                first.setdefault(own, n)


def contradiction(network: Network, initial: Array, target: Array) -> tuple[int, int] | None:
    """Two samples with equal initial values and data, (N, M), and different targets, (P, M): their
    states are equal at all times.  None if there are no such samples.
    """
    first: dict[bytes, int] = {}
    for n, key in enumerate(_keys(np.concatenate([initial, _data(network, initial.shape[1])]))):
        m = first.setdefault(key, n)
        if not np.array_equal(target[:, m], target[:, n]):
            return m, n
    return None


def _keys(x: Array) -> list[bytes]:
    """Of each column, the same for columns that are equal: -0.0 is 0.0."""
    return [column.tobytes() for column in x.T + 0.0]


def _data(network: Network, samples: int) -> Array:
    """(P, M): what the network holds of each sample."""
    if isinstance(network, DirectSum):
        return np.concatenate([_data(part, samples) for part in network.parts.values()])
    first = network.maps[0] if isinstance(network, Chain) else None
    if isinstance(first, Inputs) and first.data is not None and first.data.shape[1] == samples:
        return to_host(first.data)
    return np.empty((0, samples))


def _has_offsets(network: Chain, space: ControlSpace) -> bool:
    """True if some offset is trained or fixed at other values than zero."""
    names = {m.block for m in network.maps if isinstance(m, Offset)}
    return any(n not in space.fixed or np.any(to_host(space.fixed[n])) for n in names)


def _check_relations(network: Chain, readout: Readout, x: Array, y: Array, offsets: bool) -> None:
    """Raises ValueError if targets do not satisfy the relations of the initial values."""
    samples = x.shape[1]
    rows = np.vstack([x, np.ones((1, samples))]) if offsets else x
    _, sizes, vt = np.linalg.svd(rows, full_matrices=True)
    rank = int(np.sum(sizes > 1e-12 * sizes[0])) if sizes.size and sizes[0] > 0 else 0
    relations = vt[rank:]  # (samples - rank, samples), orthonormal
    left = np.linalg.norm(y @ relations.T, axis=0)
    scale = 1e-9 * max(float(np.linalg.norm(y)), 1e-300)
    if np.any(left > scale):
        what = "(x_m, 1)" if offsets else "x_m"
        dimension = f"d {'+ 1 ' if offsets else ''}= {len(rows)}"
        raise ValueError(
            f"no control reaches the endpoint: the velocity is affine in the state, so the "
            f"{samples - rank} linear relations among the {samples} vectors {what}, whose rank is "
            f"{rank} <= {dimension}, hold at all times, and the targets miss them by "
            f"{float(np.max(left)):.3g}"
        )


def no_endpoint(endpoint: TerminalEquality | None, method: str) -> None:
    """Raises TypeError in the name of a method that does not know endpoints."""
    if endpoint is not None:
        raise TypeError(
            f"{method} does not know the endpoint {endpoint.formula()!r}: use minimize, or "
            "problem.augmented(multiplier, weight), which has a terminal cost in its place"
        )
