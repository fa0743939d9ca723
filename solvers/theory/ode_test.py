"""Is a residual network an ordinary differential equation?  What its layers say about the limit.

A network z <- z + v_k(z), k = 0, ..., L - 1, has the limit that its layers have as L grows:

- v_k = F(., k/L) / L with F continuous in depth: the equation z' = F(z, t), of which the network is
  Euler's method.
- v_k = F_k / L with F_k independent of each other, of mean F: the law of large numbers, z' = F(z).
  What the layers add to it has the variance sum |v_k|^2, of order 1/L.
- v_k = F_k / L^(1/2), independent, of mean 0: sum |v_k|^2 stays, and the limit is a diffusion.

The orders of errors under refinement of the steps do not tell these apart, because refinement keeps
each layer constant in its own interval; the order of the layers does.  With F_k the velocity, all
averages over states z and over k,

    D(m) = mean |F_(k+m)(z) - F_k(z)|^2 ~ m^(2 H):    H = 1 for smooth F, 1/2 for Brownian paths,
                                                      0 for layers independent of each other,

and for independent layers D(1) is what any other order of the layers gives: the test of von
Neumann, with random permutations.  The sum of squares of the part of v_k that is not continuous in
depth is estimated by half of the quadratic variation, 1/2 sum |v_(k+1) - v_k|^2, which has no bias
for independent layers and is of order L^-3 for smooth F.
Source: Cohen, Cont, Rossier and Xu, Scaling properties of deep residual networks (2021); Marion,
Fermanian, Biau and Vert, Scaling ResNets in the large-depth regime (2022); von Neumann (1941) for
the ratio of mean square differences.
"""

from dataclasses import dataclass
from math import inf, isnan, log2, nan, sqrt
from typing import Literal

import numpy as np

from continuum import ResNet, TimeMesh
from continuum.arrays import Array, to_host
from continuum.checks import check_array, check_rng, check_squares, check_type
from continuum.doors import checked
from continuum.sublayers import apply

Limit = Literal["ODE", "averaged ODE", "diffusion", "none", "undecided"]

_ORDERS = 999
"""Random orders of the layers that are tried."""
_FEWEST = 8
_STATES = 16
"""Samples at which layers are compared, at each of three depths."""
_NOISE, _QUIET = 0.1, 0.03
"""Shares of |z|^2 at one depth: from the first on, independent layers are called a diffusion; up to
the second, they are said to average out."""
_STAYS, _FALLS = 0.3, 0.7
"""Powers of 1/L of the noise between two depths: up to the first it stays, from the second on it
averages out."""
_UNRESOLVED = 0.25
"""By how much splitting may move the output, of its way, for an ODE to be seen."""


@dataclass(frozen=True)
class OdeTest:
    """What the layers of one network say; print(test) is the table.  |.| are root mean squares.

    limit : "ODE": layers are a continuous function of depth, and Euler's method follows it;
        "averaged ODE": they are not, but so small that they average out; "diffusion": they are
        not, and leave noise in the output that does not; "none": they are not, and leave the more
        noise the more there are; "undecided": these numbers do not tell
    sentence : the limit, and the evidence
    layers : L
    size : |v_k| / |z|, one layer's step; of an ODE, L size is of order 1 for every L, of a
        diffusion L^(1/2) size
    total_variation, quadratic_variation : sum |F_(k+1) - F_k| / |F| and the same with squares
    sum_of_squares : sum |v_k|^2 / |z|^2, of order 1/L for an ODE, 1 for a diffusion
    noise : 1/2 sum |v_(k+1) - v_k|^2 / |z|^2: the share of `sum_of_squares` that would be left by
        layers independent of each other
    chance : the share of random orders of the layers of which the quadratic variation is as small
    regularity : H of D(m) ~ m^(2 H) at m = 1, 2; nan for layers that are all the same, or fewer
        than three
    splitting : by how much the output moves, of its way |z_L - z_0|, if every layer becomes two
        layers of half its length
    merging : the same, if every second layer takes the place of two
    merging_order : log2 of the ratio of the changes from L/2 to L/4 layers and from L to L/2: 1 for
        an ODE, 1/2 for independent layers
    decay : q of noise ~ L^-q, from this network and a shallower one; 3 for smooth F, 1 and 0 for
        independent layers of size 1/L and L^(-1/2); nan without a shallower one
    """

    limit: Limit
    sentence: str
    layers: int
    size: float
    total_variation: float
    quadratic_variation: float
    sum_of_squares: float
    noise: float
    chance: float
    regularity: float
    splitting: float
    merging: float
    merging_order: float
    decay: float

    def __str__(self) -> str:
        rows = (
            ("layers", f"{self.layers}"),
            ("one layer's step", f"{self.size:.3g} of the state"),
            ("  times L", f"{self.layers * self.size:.3g}, of order 1 for an ODE"),
            ("  times L^(1/2)", f"{sqrt(self.layers) * self.size:.3g}, of order 1 for a diffusion"),
            ("total variation", f"{self.total_variation:.3g} of the velocity"),
            ("quadratic variation", f"{self.quadratic_variation:.3g}"),
            ("sum of squares", f"{self.sum_of_squares:.3g}, of it noise {self.noise:.3g}"),
            ("chance", f"{self.chance:.3g} of random orders vary as little"),
            ("regularity", f"{self.regularity:.2f} (1 smooth, 1/2 Brownian, 0 independent)"),
            ("splitting", f"moves the output by {self.splitting:.3g} of its way"),
            (
                "merging",
                f"by {self.merging:.3g}, order {self.merging_order:.2f} (1 ODE, 1/2 noise)",
            ),
            ("decay of the noise", f"L^-{self.decay:.2f} (3 smooth, 1 averaged, 0 diffusion)"),
        )
        rows = rows[:-1] if isnan(self.decay) else rows
        return "\n".join([f"{name:<20} {text}" for name, text in rows] + [self.sentence])


@checked
def ode_test(
    resnet: ResNet,
    initial: Array | None = None,
    *,
    shallower: ResNet | None = None,
    rng: np.random.Generator | None = None,
) -> OdeTest:
    """Which limit in depth, if any, the layers of a network point to, and with which evidence.

    "ODE" : neighbouring layers are more alike than in random orders (at most 1 of 100 is as good)
        and D(m) grows (H >= 0.3), or all are the same; and splitting every layer moves the output
        by at most a quarter of its way
    "diffusion", "averaged ODE" : D(m) does not grow (H <= 0.15) or the order of the layers does not
        matter (more than 5 of 100 are as good); and the noise is at least 0.1, or at most 0.03.
        With a shallower network: the noise is within L^0.3 and L^-0.3, or falls like L^-0.7 at
        least
    "none" : the same, and the noise grows, by L^0.7 at least
    "undecided" : everything else, and fewer than 8 layers

    One depth does not tell a constant from a power of L: without a shallower network the verdict on
    independent layers is what they do at this depth, and says so.

    resnet : `ResNet.from_control(network, control)`, or `from_torch(model).resnet`
    initial : (N, M) inputs, as the network sees them; 16 standard normal ones if None
    shallower : a network of the same kind (trained, or drawn, in the same way) with fewer layers
    rng : for these inputs and the random orders; the Generator of seed 0 if None
    raises TypeError for what is no ResNet, ValueError for inputs that do not fit, and a network
        that is not shallower
    """
    check_type("resnet", resnet, ResNet)
    rng = check_rng("rng", rng)
    if initial is None:
        z = rng.standard_normal((resnet.units, _STATES))
    else:
        z = to_host(check_array("initial", initial, (resnet.units, "M")))
    states, steps = np.stack(resnet.outputs(z)), resnet.mesh.steps
    check_squares("initial, or the states that it gives,", states)
    scale = _mean_square(states)
    moved = np.diff(states, axis=0)
    velocities = _velocities(resnet, states)
    speed, d = _mean_square(velocities), _distances(velocities)
    neighbours = np.diagonal(d, 1)
    half, quarter = _merged(resnet, 2)(z), _merged(resnet, 4)(z)
    way = sqrt(_mean_square(states[-1] - states[0]))
    first, second = (sqrt(_mean_square(x)) for x in (half - states[-1], quarter - half))
    found = {
        "layers": len(steps),
        "size": _ratio(sqrt(_mean_square(moved)), sqrt(scale)),
        "total_variation": _ratio(float(np.sum(np.sqrt(neighbours))), sqrt(speed)),
        "quadratic_variation": _ratio(float(np.sum(neighbours)), speed),
        "sum_of_squares": _ratio(len(steps) * _mean_square(moved), scale),
        "noise": _ratio(_noise(resnet, neighbours), scale),
        "chance": _chance(d, rng),
        "regularity": _regularity(d, speed),
        "splitting": _ratio(sqrt(_mean_square(_split(resnet)(z) - states[-1])), way),
        "merging": _ratio(first, way),
        "merging_order": log2(second / first) if first > 0.0 < second else nan,
        "decay": nan,
    }
    if shallower is not None:
        found["decay"] = _decay(resnet, shallower, z)
    limit, why = _verdict(found)
    return OdeTest(limit, why[0].upper() + why[1:], **found)


def _verdict(found: dict[str, float]) -> tuple[Limit, str]:
    """The limit, and the sentence with what it rests on."""
    chance, h, noise = found["chance"], found["regularity"], found["noise"]
    order = f"{chance:.3g} of random orders vary as little, regularity in depth {h:.2f}"
    splitting = f"splitting layers moves the output by {found['splitting']:.2g} of its way"
    merging = f"merging pairs by {found['merging']:.2g}"
    if found["layers"] < _FEWEST:
        return "undecided", f"Undecided: it takes {_FEWEST} layers, here are {found['layers']:g}."
    constant = isnan(h)
    if constant or (chance <= 0.01 and h >= 0.3):
        how = "all layers are the same" if constant else f"layers vary continuously ({order})"
        if found["splitting"] <= _UNRESOLVED:
            return "ODE", f"An ODE: {how}; {splitting}, {merging}."
        return "undecided", f"Undecided: {how}, but are too long for Euler's method: {splitting}."
    if not (h <= 0.15 or chance > 0.05):
        return "undecided", f"Undecided whether layers vary continuously: {order}."
    rough = f"layers do not vary continuously ({order})"
    left = f"they leave noise of {sqrt(noise):.2g} of the state (half the quadratic variation"
    left += f" is {noise:.2g})"
    decay, where = found["decay"], "At this depth "
    diffuses, averages = noise >= _NOISE, noise <= _QUIET
    if not isnan(decay):
        diffuses, averages, where = abs(decay) <= _STAYS, decay >= _FALLS, ""
        left += f", which goes like L^{-decay:.2f}"
    if decay <= -_FALLS:
        return "none", f"No limit, layers are too large for so many: {rough}, and {left}."
    if diffuses:
        return "diffusion", f"{where}a diffusion, no ODE: {rough}, and {left}; {splitting}."
    if averages:
        return "averaged ODE", (
            f"{where}an ODE on average, none with weights that are functions of depth: {rough}; "
            f"{left}; {splitting}, {merging}."
        )
    return "undecided", f"Undecided between averaging and a diffusion: {rough}, and {left}."


def _decay(resnet: ResNet, shallower: ResNet, z: Array) -> float:
    """q of noise ~ L^-q, of two networks at the same states, their inputs."""
    fewer, layers = len(check_type("shallower", shallower, ResNet).layers), len(resnet.layers)
    if not fewer < layers:
        raise ValueError(f"shallower must have fewer layers than resnet, {layers}, it has {fewer}")
    check_array("initial", z, (shallower.units, "M"))
    sums = []
    for one in (shallower, resnet):
        neighbours = np.diagonal(_distances(_velocities(one, z[None])), 1)
        sums.append(_noise(one, neighbours))
    return float(np.log(sums[0] / sums[1]) / np.log(layers / fewer)) if min(sums) > 0.0 else nan


def _noise(resnet: ResNet, neighbours: Array) -> float:
    """1/2 sum |v_(k+1) - v_k|^2."""
    steps = resnet.mesh.steps
    return 0.5 * float(np.sum(steps[1:] * steps[:-1] * neighbours))


def _velocities(resnet: ResNet, states: Array) -> Array:
    """(L, n): F_k of all layers at the same states: of the start, the middle and the end."""
    points = [states[0], states[len(states) // 2], states[-1]]
    found = [[to_host(apply(layer, z))[:, :_STATES] for z in points] for layer in resnet.layers]
    return np.reshape(found, (len(found), -1))


def _distances(f: Array) -> Array:
    """(L, L): mean squares of F_k - F_l."""
    f = f - f.mean(axis=0)
    gram = f @ f.T / f.shape[1]
    squares = np.diagonal(gram)
    d = np.maximum(squares[:, None] + squares - 2.0 * gram, 0.0)
    np.fill_diagonal(d, 0.0)
    return d


def _chance(d: Array, rng: np.random.Generator) -> float:
    """The share of random orders of which the neighbours differ no more than in the given one."""
    orders = np.argsort(rng.random((_ORDERS, len(d))), axis=1)
    sums = d[orders[:, 1:], orders[:, :-1]].sum(axis=1)
    given = float(np.diagonal(d, 1).sum())
    return (1 + int(np.count_nonzero(sums <= given))) / (1 + _ORDERS)


def _regularity(d: Array, speed: float) -> float:
    """H from D(1) and D(2); nan where layers differ by rounding only, or there are fewer than 3."""
    if len(d) < 3 or float(d.max()) <= 1e-20 * speed:
        return nan
    near, far = (float(np.mean(np.diagonal(d, m))) for m in (1, 2))
    if far == 0.0:
        return -inf
    return 0.5 * log2(far / near) if near > 0.0 else 1.0


def _split(resnet: ResNet) -> ResNet:
    """Every layer twice, with half its length."""
    nodes = resnet.mesh.nodes
    ends = np.sort(np.concatenate([nodes, 0.5 * (nodes[1:] + nodes[:-1])]))
    layers = [layer for layer in resnet.layers for _ in range(2)]
    return ResNet(TimeMesh.through(ends), layers, resnet.units)


def _merged(resnet: ResNet, count: int) -> ResNet:
    """The first of every `count` layers, in place of all of them."""
    nodes = resnet.mesh.nodes
    ends = np.append(nodes[:-1][::count], nodes[-1])
    return ResNet(TimeMesh.through(ends), list(resnet.layers)[::count], resnet.units)


def _mean_square(x: Array) -> float:
    return float(np.mean(x * x))


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0.0 else 0.0
