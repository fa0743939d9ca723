"""One small valid call of every public function and class, and what is put in its place.

Required arguments come from `CALLS` by the door's name, from `BY_NAME` by their own, or from the
first thing of `World` that their annotation takes.
"""

import functools
import importlib
import importlib.util
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import continuum as c
import continuum.io as c_io
import solvers as s
import studies
from continuum.arrays import Array
from solvers import convex_fits, finite_time, hjb, linear_networks, lyapunov, planar, turnpike
from solvers.run.monitors import Snapshot
from studies.bench import registry
from studies.bench.parameters import Parameters
from studies.bench.registry import Study
from studies.liu_markowich.paper import boxed

PACKAGES = (
    "continuum",
    "continuum.kernels",
    "continuum.networks",
    "continuum.exact",
    "continuum.io",
    "solvers",
    "solvers.convex_fits",
    "solvers.finite_time",
    "solvers.hjb",
    "solvers.linear_networks",
    "solvers.lyapunov",
    "solvers.planar",
    "solvers.turnpike",
    "studies",
)
ABSTRACT = {
    "QuadraticSolution",
    "QuadraticValue",
    "Values",
    "Time",
    "KernelLaw",
    "Network",
    "Kernel",
    "KernelFormat",
    "Map",
    "InputMap",
    "RunningCost",
    "Product",
}
"""Bases of what users write; they have no arguments."""


class World:
    """A small problem of every kind, made when it is first asked for."""

    rng = np.random.default_rng(7)

    grid = functools.cached_property(lambda self: c.gauss_legendre(c.Interval(0, 1), 3))
    mesh = functools.cached_property(lambda self: c.TimeMesh(1.0, 3))
    network = functools.cached_property(lambda self: c.WidthDepth(self.grid, c.tanh))
    space = functools.cached_property(lambda self: self.network.controls(self.mesh))
    control = functools.cached_property(lambda self: self.space.random(self.rng, 0.3))
    path = functools.cached_property(lambda self: self.network.control(self.mesh, kernel=1.0))
    initial = functools.cached_property(lambda self: self.rng.standard_normal((3, 2)))
    target = functools.cached_property(lambda self: self.rng.standard_normal((3, 2)))

    # the rest, of which any will do
    activation = c.tanh
    domain = functools.cached_property(lambda self: c.Interval(0.0, 1.0))
    disc = functools.cached_property(lambda self: c.Disc())
    stepper = functools.cached_property(lambda self: s.RK4())
    implicit = functools.cached_property(lambda self: s.ImplicitMidpoint())
    adaptive = functools.cached_property(lambda self: s.DormandPrince(rtol=1e-4, atol=1e-4))
    minimizer = functools.cached_property(lambda self: s.LBFGS(max_iterations=3))
    adam = functools.cached_property(lambda self: s.Adam(max_iterations=2))
    loss = functools.cached_property(lambda self: c.SquaredError())
    readout = functools.cached_property(lambda self: c.State())
    projection = functools.cached_property(lambda self: c.Projection(np.ones((1, 3))))
    penalty = functools.cached_property(lambda self: c.Tikhonov(0.1))
    sparse = functools.cached_property(lambda self: c.L1(0.1))
    box = functools.cached_property(lambda self: c.Box(bias=(-1, 1)))
    kernel = functools.cached_property(lambda self: c.Dense())
    monitor = functools.cached_property(lambda self: s.Monitor(s.Record("x", lambda x: 1.0)))
    law = functools.cached_property(lambda self: finite_time.PowerLaw(0.5, 0.25))
    sampler = functools.cached_property(lambda self: lyapunov.Cube(1.0))
    newton = functools.cached_property(lambda self: s.Newton())
    block = functools.cached_property(lambda self: self.network.blocks()[0])
    arclength = functools.cached_property(lambda self: s.Arclength(max_points=3))
    map = functools.cached_property(lambda self: c.Pointwise(c.tanh))
    minibatch = functools.cached_property(lambda self: s.Minibatch(1))
    filters = functools.cached_property(lambda self: c.FilterBank(np.ones((2, 6, 6)), 1))

    @functools.cached_property
    def problem(self) -> c.LearningProblem:
        return c.LearningProblem(
            self.network, self.initial, self.target, self.space, penalty=c.Tikhonov(0.1)
        )

    bottleneck = functools.cached_property(lambda self: c.Bottleneck(2, c.tanh, 4))

    # other spaces
    vector = functools.cached_property(lambda self: c.NeuralODE2(2, c.tanh))
    other_space = functools.cached_property(lambda self: self.vector.controls(c.TimeMesh(2.0, 2)))
    other_control = functools.cached_property(lambda self: self.other_space.random(self.rng))
    long_control = functools.cached_property(
        lambda self: self.network.controls(c.TimeMesh(1.0, 5)).random(self.rng)
    )

    @functools.cached_property
    def other_problem(self) -> c.LearningProblem:
        return c.LearningProblem(self.vector, np.ones((2, 1)), np.zeros((2, 1)), self.other_space)

    # of the rooms
    @functools.cached_property
    def homogeneous(self) -> c.LearningProblem:
        network = c.WidthDepth(self.grid, c.identity)
        return c.LearningProblem(network, self.initial, self.target, self.mesh)

    @functools.cached_property
    def driftless(self) -> c.LearningProblem:
        network = c.NeuralODE(1, c.identity)
        space = network.controls(self.mesh, fixed={"weight": 0.0})
        penalty = c.Tikhonov(0.7)
        return c.LearningProblem(network, np.ones((1, 1)), np.zeros((1, 1)), space, penalty=penalty)

    @functools.cached_property
    def switched(self) -> c.LearningProblem:
        return c.LearningProblem(
            c.NeuralODE(1, c.identity),
            np.ones((1, 1)),
            np.full((1, 1), 2.0),
            self.mesh,
            penalty=c.L1(0.1, groups="joint"),
            admissible=c.Amplitude(1.0),
        )

    series = np.ones((3, 2, 1))
    boxed = functools.cached_property(lambda self: boxed([0.5, 0.2], [1.0, 0.0], layers=4))
    boxed_control = functools.cached_property(lambda self: self.boxed.space.zeros())

    @functools.cached_property
    def staged(self) -> c.Staged:
        wide = c.NeuralODE2(3, c.tanh)
        return c.Staged((self.vector, wide), (0.5,), (c.padding(2, 3),))

    @functools.cached_property
    def arcs(self) -> c.LearningProblem:
        network = c.WidthDepth(c.gauss_legendre(c.Interval(0, 1), 2), c.identity)
        space = network.controls(c.TimeMesh(6.0, 12), fixed={"kernel": -1.0})
        return c.LearningProblem(
            network,
            np.zeros((2, 1)),
            np.array([[1.0], [1.5]]),
            space,
            terminal=None,
            running=c.SquaredError(0.5),
            penalty=c.Tikhonov(0.3),
        )

    fit = functools.cached_property(
        lambda self: turnpike.Fit("state", 1.0, (0.0, 1.0), (0.0, 1.0), 1.0, 1.0)
    )

    @functools.cached_property
    def linear(self) -> c.LearningProblem:
        return linear_networks.deep_linear(2.0, 3)

    @functools.cached_property
    def linear_control(self) -> c.Control:
        return linear_networks.linear_start(self.linear)

    @functools.cached_property
    def smooth(self) -> c.LearningProblem:
        """Affine, with a penalty and a kernel held: what reductions and Riccati's equation take."""
        network = c.WidthDepth(self.grid, c.identity)
        space = network.controls(c.TimeMesh(1.0, 3), fixed={"kernel": 1.0})
        start = np.array([[0.1], [0.2], [0.4]])
        return c.LearningProblem(network, start, 0.0 * start, space, penalty=c.Tikhonov(0.5))

    @functools.cached_property
    def neuron(self) -> c.LearningProblem:
        return finite_time.neuron(np.array([[1.0, 0.5], [0.2, -1.0]]), [0.3, 0.6])

    @functools.cached_property
    def field(self) -> c.LearnedField:
        return c.LearnedField(3, 2, (4,), c.tanh)

    @functools.cached_property
    def classified(self) -> c.LearningProblem:
        x, labels = self.rng.standard_normal((2, 4)), np.arange(4) % 3
        mesh = c.TimeMesh(1.0, 2)
        start = np.zeros((3, 4))
        return c.LearningProblem(self.field.at(x), start, labels, mesh, terminal=c.CrossEntropy())

    classified_control = functools.cached_property(
        lambda self: self.classified.space.random(self.rng, 0.3)
    )

    @functools.cached_property
    def convex(self) -> c.LearningProblem:
        x = np.linspace(0.0, 1.0, 5)[None]
        return convex_fits.convex_problem(x, x[0] ** 2, 2)

    convex_control = functools.cached_property(lambda self: convex_fits.convex_start(self.convex))

    @functools.cached_property
    def convex_network(self) -> c.ConvexNetwork:
        ones = np.ones((2, 1, 1))
        return c.ConvexNetwork(ones, np.zeros((2, 1)), ones, np.ones(1))

    @functools.cached_property
    def planar(self) -> c.Control:
        return self.vector.control(
            self.mesh, weight=np.array([[-1.0, 0.3], [0.2, -2.0]]), bias=np.zeros(2)
        )

    ring = functools.cached_property(
        lambda self: c.WidthDepth(c.periodic(c.Circle(), 4), c.tanh, c.FractionalLaplacian(1.0))
    )
    hessian = functools.cached_property(lambda self: convex_fits.HessianBounds(0.0, -2.0))

    @functools.cached_property
    def linear_problem(self) -> c.LearningProblem:
        ones = np.ones((1, 1))
        space = c.NeuralODE(1, c.identity).controls(self.mesh)
        network = c.NeuralODE(1, c.identity)
        return c.LearningProblem(network, ones, 0.0 * ones, space, penalty=c.Tikhonov(1.0))

    @functools.cached_property
    def small(self) -> c.LearningProblem:
        network = c.WidthDepth(c.gauss_legendre(c.Interval(0, 1), 1), c.identity)
        space = network.controls(self.mesh, fixed={"kernel": 0.0})
        return c.LearningProblem(network, np.zeros((1, 1)), np.full((1, 1), 0.5), space)

    study = functools.cached_property(
        lambda self: registry._studies.setdefault(
            "fuzz/nothing",
            Study("fuzz/nothing", _case, "One.", "none", "", None, Parameters.of("x", _case), ()),
        )
    )
    claim = functools.cached_property(
        lambda self: registry.Claim(
            "F-1", dict, "s", "p", {"a": 1.0}, {"a": 0.1}, False, "r", False
        )
    )

    resnet = functools.cached_property(
        lambda self: c.ResNet.from_control(self.network, self.control)
    )

    # what takes longest comes last
    objective = functools.cached_property(lambda self: s.discretize(self.problem))
    solution = functools.cached_property(
        lambda self: s.minimize(self.problem, s.LBFGS(max_iterations=3), raise_on_failure=False)
    )

    @functools.cached_property
    def run(self) -> Any:
        return s.integrate(self.network, self.path, self.initial, s.RK4(), save="steps")

    trajectory = functools.cached_property(lambda self: self.run.value)
    certificate = functools.cached_property(
        lambda self: s.pontryagin_certificate(self.problem, self.control)
    )
    evaluation = functools.cached_property(lambda self: s.evaluate(self.problem, self.control))
    snapshot = functools.cached_property(lambda self: Snapshot(1, 3, 0.1, self.initial))

    values = functools.cached_property(
        lambda self: hjb.solve_hjb(
            self.boxed, hjb.StateGrid([(-4, 5), (-4, 5)], 9), 5, raise_on_failure=False
        )
    )
    bound = functools.cached_property(lambda self: hjb.lower_bound(self.boxed, self.values))
    extremal = functools.cached_property(
        lambda self: s.shoot(
            boxed([0.5, 0.5], [4.0, 0.0], layers=4), max_iterations=3, raise_on_failure=False
        )
    )

    static = functools.cached_property(lambda self: turnpike.static_optimum(self.arcs))
    spectrum = functools.cached_property(lambda self: turnpike.spectrum(self.arcs, self.static))
    branch = functools.cached_property(
        lambda self: s.continue_minimizers(
            self.linear_problem,
            "penalty",
            self.arclength,
            start=1.0,
            stop=0.9,
            raise_on_failure=False,
        )
    )
    layer = functools.cached_property(
        lambda self: s.architecture(s.Euler(), self.network, self.control).layers[0]
    )


def _case(a: float = 1.0) -> xr.Dataset:
    """A case."""
    return xr.Dataset({"a": a})


W = World()

BY_NAME: dict[str, Callable[[], Any]] = {
    "problem": lambda: W.problem,
    "network": lambda: W.network,
    "control": lambda: W.control,
    "initial": lambda: W.initial,
    "states": lambda: W.initial,
    "state": lambda: W.initial,
    "target": lambda: W.target,
    "stepper": lambda: W.stepper,
    "objective": lambda: W.objective,
    "horizon": lambda: 1.0,
    "layers": lambda: 3,
    "points": lambda: 3,
    "trajectory": lambda: W.trajectory,
    "t": lambda: 0.5,
    "time": lambda: 0.5,
    "times": lambda: np.array([0.0, 0.5, 1.0]),
    "kappa": lambda: 1.0,
    "classes": lambda: 3,
    "block": lambda: "kernel",
    "domain": lambda: c.Interval(0.0, 1.0),
}


def _saved(kind: str) -> Path:
    """A file, or the folder of a sweep, in the working folder."""
    return _saved_in(Path.cwd(), kind)


@functools.cache
def _saved_in(_: Path, kind: str) -> Path:
    if kind == "states":
        return c_io.save_states("kept", np.arange(3.0), np.ones((3, 2, 1)))
    if kind == "control":
        return c_io.save_control("kept_control", W.control)
    result = studies.run_sweep(W.study, None, "kept_sweep", progress="none")
    return result.folder if kind == "sweep" else result.paths[0]


def _filtered() -> c.LearningProblem:
    """A problem whose initial states have the shape that the filters give."""
    units, samples = W.filters.state(_any_values(W.filters)).shape
    network = c.NeuralODE2(units, c.tanh)
    start = np.zeros((units, samples))
    return c.LearningProblem(network, start, start, W.mesh)


def _layers(*names: str, one: bool = False) -> dict[str, Array]:
    """W1, b1, W2, b2 of layers in R^2 with 4 hidden units, by these names: three, or `one`."""
    shapes = ((4, 2), (4,), (2, 4), (2,))
    layers = () if one else (3,)
    return {
        name: W.rng.standard_normal((*layers, *shape))
        for name, shape in zip(names, shapes, strict=True)
    }


def _any_values(input_map: c.InputMap) -> dict[str, Array]:
    return {block.name: np.zeros(block.shape) for block in input_map.blocks()}


def _points() -> Array:
    return np.linspace(0.0, 1.0, 5)[None]


def _small(*names: str) -> Callable[[], dict[str, Any]]:
    """Arguments that are things of the world: "parameter=thing", or a thing of the same name."""
    pairs = [(name.split("=") * 2)[:2] for name in names]
    return lambda: {name: getattr(W, thing) for name, thing in pairs}


_PAIRS = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5)]
_BOXED = _small("problem=boxed", "control=boxed_control")
_CLASSIFIED = _small("problem=classified", "control=classified_control")
_LINEAR = _small("problem=linear", "control=linear_control")
_PLANAR = _small("network=vector", "control=planar")
_NEURON = _small("regression=neuron")

CALLS: dict[str, Callable[[], dict[str, Any]]] = {
    # continuum
    "Activation": lambda: (
        dict.fromkeys(("value", "derivative", "second", "antiderivative"), np.tanh)
        | {"lipschitz": 1.0, "name": "mine"}
    ),
    "user_activation": lambda: {
        "name": "mine",
        "value": lambda z: 0.5 * z * z,
        "derivative": lambda z: z,
        "second": np.ones_like,
        "antiderivative": lambda z: z**3 / 6.0,
        "lipschitz": float("inf"),
    },
    "Block": lambda: {"shape": (3,), "time": "layers", "weights": np.ones(3)},
    "Control": lambda: {"blocks": dict(W.control)},
    "ControlSpace": lambda: {"blocks": W.network.blocks()},
    "ConvexNetwork": lambda: {
        "weight1": np.ones((2, 1, 1)),
        "bias1": np.zeros((2, 1)),
        "weight2": np.ones((2, 1, 1)),
        "readout": np.ones(1),
    },
    "ConvexDifference": lambda: {"r": W.convex_network, "s": W.convex_network},
    "cubature": lambda: {"domain": W.disc, "degree": 3},
    "Product": lambda: {"parts": (c.Interval(0, 1), c.Circle())},
    "CostSum": lambda: {"costs": (W.problem.running or c.Tracking(W.loss),) * 2},
    "FeedForward": lambda: {
        "layers": ((c.Sublayer(c.tanh, np.eye(3)),),),
        "units": 3,
    },
    "ResNet": lambda: {"layers": ((c.Sublayer(c.tanh, np.eye(3)),),) * 3, "units": 3},
    "FilterBank": lambda: {"images": np.ones((2, 6, 6)), "filters": 1},
    "Pairs": lambda: {"pairs": _PAIRS},
    "ConvexHull": lambda: {"pairs": _PAIRS},
    "PowerError": lambda: {"alpha": 1.5},
    "LearningProblem": lambda: {"controls": W.space},
    "Grid": lambda: {"nodes": np.array([[0.2], [0.7]]), "weights": np.array([0.5, 0.5])},
    "partition": lambda: {"edges": [0.0, 0.5, 1.0]},
    "periodic": lambda: {"domain": c.Circle()},
    "point_cloud": lambda: {"nodes": np.array([[0.2], [0.7]]), "masses": np.array([0.5, 0.5])},
    "split": lambda: {"at": [0.5], "rule": lambda part: c.midpoint(part, 2)},
    "Projection": lambda: {"matrix": np.ones((1, 3))},
    "SignedReadout": lambda: {"signs": np.array([[1.0, -1.0]])},
    "Box": lambda: {"bounds": {"bias": (-1.0, 1.0)}},
    "FiniteSet": lambda: {"kernel": (0.0, 1.0)},
    "L1Ball": lambda: {"kernel": 1.0},
    "NormBall": lambda: {"kernel": 1.0},
    "Stagewise": lambda: {"parts": (c.State(), c.State())},
    "rescale": lambda: {"problem": W.homogeneous, "control": W.homogeneous.space.zeros()},
    "change_width": lambda: {
        "source": W.network,
        "target": c.WidthDepth(c.midpoint(c.Interval(0, 1), 4), c.tanh),
    },
    "FractionalLaplacian": lambda: {"s": 0.5},
    "LowRank": lambda: {"rank": 1},
    "eigenvalues": lambda: {"b": np.eye(3)},
    "singular_values": lambda: {"b": np.eye(3)},
    "operator_norm": lambda: {"b": np.eye(3)},
    "hilbert_schmidt_norm": lambda: {"b": np.eye(3)},
    "jump_kernel": lambda: {"below": 1.0, "above": 2.0, "diagonal": "average"},
    "Chain": lambda: {"space": 3, "maps": (c.Linear("weight", 3), c.Pointwise(c.tanh))},
    "DirectSum": lambda: {"one": W.vector, "two": W.vector},
    "FixedLinear": lambda: {"matrix": np.eye(3)},
    "LearnedField": lambda: {"units": 2, "inputs": 2, "hidden": (3,)},
    "FieldAt": lambda: {"x": np.ones((2, 4))},
    "Linear": lambda: {"into": 3},
    "NormBound": lambda: {"radius": 1.0},
    "Staged": lambda: {
        "stages": W.staged.stages,
        "changes": (0.5,),
        "transfers": (c.padding(2, 3),),
    },
    "Switched": lambda: {"stages": (W.vector, W.vector), "changes": (0.5,), "horizon": 1.0},
    "padding": lambda: {"units": 2, "wider": 3},
    "Bottleneck": lambda: {"units": 2},
    "check_derivatives": lambda: {"subject": W.network},
    "save_states": lambda: {
        "path": "states.h5",
        "times": np.arange(3.0),
        "states": np.ones((3, 2, 1)),
    },
    "load_states": lambda: {"path": _saved("states")},
    "save_control": lambda: {"path": "control.h5"},
    "save_onnx": lambda: {"path": "network.onnx"},
    "load_control": lambda: {"path": _saved("control"), "space": W.space},
    "from_residual_mlp": lambda: _layers("W1", "b1", "W2", "b2"),
    "from_torch": lambda: {
        "module": _layers(*(f"{n}.{part}" for n in "01" for part in ("weight", "bias")), one=True),
        "activation": c.tanh,
    },
    "to_torch_state": lambda: {
        "network": W.bottleneck,
        "control": W.bottleneck.controls(W.mesh).random(W.rng),
    },
    # solvers
    "StagedObjective": lambda: {
        "problem": c.LearningProblem(W.staged, np.ones((2, 1)), np.ones((3, 1)), c.TimeMesh(1.0, 2))
    },
    "Architecture": lambda: {"layers": (W.layer,), "units": 3},
    "Auto": lambda: {"rtol": 1e-3, "atol": 1e-3},
    "DOP853": lambda: {"rtol": 1e-3, "atol": 1e-3},
    "DormandPrince": lambda: {"rtol": 1e-3, "atol": 1e-3},
    "RadauIIA5": lambda: {"rtol": 1e-3, "atol": 1e-3},
    "KennedyCarpenter5": lambda: {"rtol": 1e-3, "atol": 1e-3},
    "Monitor": lambda: {"action": s.Stop(lambda snapshot: False)},
    "FunctionControl": lambda: {"blocks": W.network.blocks(), "values": W.path.values},
    "Factors": lambda: {"space": W.space, "arrays": dict(W.control), "pairs": {}},
    "Path": lambda: (
        dict.fromkeys(("times", "states", "costates", "remaining"), np.ones(3))
        | {"gradient": W.control}
    ),
    "TrainedInputs": lambda: {"problem": _filtered(), "input_map": W.filters},
    "trained_inputs": lambda: {"problem": _filtered(), "input_map": W.filters},
    "compare": lambda: {"methods": {"L-BFGS": W.minimizer}},
    "continue_minimizers": lambda: {
        "problem": W.linear_problem,
        "parameter": "penalty",
        "method": W.arclength,
        "start": 1.0,
        "stop": 0.9,
        "raise_on_failure": False,
    },
    "equal_values": lambda: {"branch": W.branch, "other": W.branch},
    "cosine": lambda: {"step": 0.1, "epochs": 3},
    "free_switch": lambda: {
        "problem": W.switched,
        "control": W.switched.space.sample(weight=np.array([[[1.0]], [[0.0]], [[0.0]]])),
        "layers": 2,
    },
    "symmetries": lambda: {"problem": W.other_problem},
    "integrate_stages": lambda: {
        "network": W.staged,
        "control": W.staged.controls(c.TimeMesh(1.0, 2)).zeros(),
        "initial": np.ones((2, 1)),
    },
    "exact_reduction": lambda: {"control": W.path},
    "observed_orders": lambda: {"sizes": [2, 4, 8], "errors": [0.1, 0.05, 0.02]},
    "ExactCase": lambda: {"initial": np.cos, "solution": lambda y, t: y},
    "refine": lambda: {"compute": lambda n: 1.0 / n, "sizes": [2, 4, 8], "exact": 0.0},
    "richardson": lambda: {"coarse": 1.0, "fine": 1.1, "order": 1.0},
    "width_error": lambda: {
        "case": lambda grid: (
            c.WidthDepth(grid, c.tanh),
            c.WidthDepth(grid, c.tanh).control(c.TimeMesh(1.0, 2), kernel=1.0),
            np.ones((len(grid.weights), 1)),
        ),
        "rule": lambda n: c.midpoint(c.Interval(0, 1), n),
    },
    "picard": lambda: {"control": W.path, "iterations": 2, "degree": 4},
    "spectral_preconditioner": lambda: {
        "network": W.ring,
        "control": W.ring.control(c.TimeMesh(1.0, 2), kernel=1.0),
    },
    "successive_approximation": lambda: {
        "problem": W.boxed,
        "max_iterations": 2,
        "raise_on_failure": False,
    },
    "shoot": lambda: {"problem": W.boxed, "max_iterations": 2, "raise_on_failure": False},
    "minimal_norm": lambda: {"problem": W.small, "control": W.small.space.sample(bias=0.5)},
    "Hamiltonian": lambda: {"times": 0.5, "states": W.initial[None], "costates": W.initial[None]},
    "multistart": lambda: {"starts": 2, "minimizer": W.minimizer},
    "minimize": lambda: {"minimizer": W.minimizer, "raise_on_failure": False},
    "proximal_alternating": lambda: {"max_iterations": 2, "raise_on_failure": False},
    "FixedStep": lambda: {"step": 0.1},
    **dict.fromkeys(
        (
            "explain",
            "gram_test",
            "growth_class",
            "l1_bound",
            "lyapunov_functional",
            "root_energy",
            "singular_energy",
            "operator_matrix",
            "linearized_spectrum",
            "explicit_step_limit",
            "velocity_jump",
        ),
        _small("control=path"),
    ),
    "linearize": lambda: {"perturbation": W.initial, "control": W.path},
    "energy_identity": lambda: {"perturbations": W.trajectory, "control": W.path},
    "propagator": lambda: {"s": 0.0, "t": 1.0, "control": W.path},
    "steady_state": lambda: {
        "case": lambda grid: (
            c.WidthDepth(grid, c.tanh),
            c.WidthDepth(grid, c.tanh).control(c.TimeMesh(1.0, 2), kernel=1.0),
        ),
        "rule": lambda n: c.midpoint(c.Interval(0, 1), n),
    },
    "Theorem": lambda: {"hypotheses": ()},
    "Record": lambda: {"quantity": lambda snapshot: 1.0},
    "Stop": lambda: {"condition": lambda snapshot: True},
    "Unresolved": lambda: {"control": W.path},
    "gradient_flow": lambda: {"objective": W.problem},
    "Interrupted": lambda: {"solution": W.solution},
    "Linearised": lambda: {"objective": W.objective},
    # convex fits
    "convex_hypotheses": lambda: {"gradient": np.array([0.5, 0.5]), "bounds": W.hessian},
    "decomposition": lambda: {
        "f": lambda x: x[0] * x[1],
        "gradient": np.array([0.5, 0.5]),
        "bounds": W.hessian,
    },
    "sampled_bounds": lambda: {"hessians": np.ones((4, 2, 2))},
    "fit_convex": lambda: {
        "x": _points(),
        "y": _points()[0],
        "layers": 2,
        "iterations": 3,
        "seeds": (0, 1),
    },
    "factor_floor": lambda: {"least": 0.5, "most": 2.0},
    "straight_seminorms": lambda: {"least": 0.5, "most": 2.0},
    "flow_factors": lambda: {"path": convex_fits.linear_flow(1.0)},
    "increasing_path": lambda: {"forward": lambda t, x: x * (1 + t), "low": 0.0, "high": 1.0},
    "straight_path": lambda: {"h": lambda x: 2 * x, "low": 0.0, "high": 1.0},
    "linear_flow": lambda: {"generator": 1.0},
    "spectral_margin_bound": lambda: {
        "scores": (W.convex_network,) * 2,
        "x": _points(),
        "labels": np.arange(5) % 2,
        "margin": 0.1,
    },
    "kkt_residual": _small("problem=convex", "control=convex_control"),
    "convex_problem": lambda: {"x": _points(), "y": _points()[0]},
    "convex_start": _small("problem=convex"),
    "nearest_representable": lambda: {"values": np.ones((3, 3))},
    "supermodular_floor": lambda: {"values": np.ones((3, 3))},
    # finite time
    "settling_bound": lambda: {
        "regression": W.neuron,
        "start": W.neuron.space.zeros(),
        "law": W.law,
    },
    "PowerLaw": lambda: {"alpha": 0.5, "beta": 0.25},
    "PseudoinverseLaw": lambda: {"nu": 0.5},
    "neuron": lambda: {"inputs": np.ones((2, 3)), "target": [0.1, 0.2, 0.3]},
    "output_jacobian": lambda: {"regression": W.neuron, "control": W.neuron.space.zeros()},
    "spow": lambda: {"x": np.ones(3), "power": 0.5},
    "train_in_time": lambda: {"regression": W.neuron, "law": W.law, "horizon": 1.0, "step": 0.2},
    # values
    "characteristics": lambda: {"problem": W.boxed, "ends": np.ones((2, 2)), "steps": 4},
    "values_along": lambda: {"problem": W.boxed, "extremal": W.extremal, "steps": 4},
    "closed_loop": lambda: {"problem": W.boxed, "value": W.values, "rtol": 1e-2},
    "descend_values": lambda: {
        "problem": W.boxed,
        "states": np.array([[0.5], [0.2]]),
        "starts": 2,
        "max_iterations": 3,
    },
    "proved_cost": lambda: {"problem": W.boxed, "control": W.boxed_control, "steps": 20},
    "optimality_gap": lambda: {"problem": W.boxed, "control": W.boxed_control, "bound": W.bound},
    "StateGrid": lambda: {"box": [(-1.0, 1.0)], "nodes": 9},
    "lower_bound": lambda: {"problem": W.boxed, "value": W.values},
    "merge_units": lambda: {"problem": boxed([0.5, 0.5], [1.0, 1.0], layers=4)},
    "riccati": lambda: {"problem": W.smooth},
    "galerkin": lambda: {"problem": W.smooth, "modes": 2},
    "solve_hjb": lambda: {
        "problem": W.boxed,
        "grid": hjb.StateGrid([(-2, 3), (-2, 3)], 9),
        "times": 3,
        "raise_on_failure": False,
    },
    # products of matrices
    "Grouped": lambda: {"size": 1},
    "whitened_batches": lambda: {
        "inputs": np.array([[1.0, 0.5, -1.0, 2.0]]),
        "targets": np.ones((1, 4)),
        "size": 2,
    },
    "largest_step": lambda: {"eigenvalue": 2.0},
    "monotone_rate": lambda: {"eigenvalue": 2.0, "step": 0.1},
    "monotone_step": lambda: {"eigenvalue": 2.0},
    "vanishing_step": lambda: {"eigenvalue": -2.0},
    "root_step": lambda: {"target": 2.0},
    "sharpness_bound": lambda: {"target": 2.0},
    "spectral_radius_step": lambda: {"target": 2.0},
    "step_bound": lambda: {"target": 2.0},
    "balanced_factors": lambda: {"target": 2.0},
    "disproportionate_factors": lambda: {"target": 2.0, "kappa": 2.0},
    "random_factors": lambda: {"target": 2.0, "rng": np.random.default_rng(0)},
    "root_factors": lambda: {"target": 2.0},
    "conserved": _LINEAR,
    "gradient_bound": lambda: {"problem": W.linear, "radius": 0.5},
    "as_control": lambda: {"problem": W.linear, "factors": (np.ones((3, 1, 1)),)},
    "deep_linear": lambda: {"target": 2.0},
    "deep_linear_data": lambda: {"inputs": np.ones((1, 2)), "targets": np.ones((1, 2))},
    "linear_parts": _small("problem=linear"),
    "linear_start": _small("problem=linear"),
    "matrices": _small("control=linear_control"),
    "target_and_covariance": _small("problem=linear"),
    "ProductObjective": _small("problem=linear"),
    "step_report": lambda: {"target": 2.0, "step": 0.1},
    "critical_step": _LINEAR,
    "inverse_sharpness": _small("problem=linear"),
    "product_sharpness": lambda: {"factors": np.ones((2, 1, 1))},
    "sharpness": _LINEAR,
    "NotResolved": lambda: {"value": 1.0, "products": 2},
    # Lyapunov
    "attack": lambda: _CLASSIFIED() | {"radius": 0.1, "steps": 2},
    "breaking_radius": lambda: _CLASSIFIED() | {"largest": 0.1, "steps": 2, "rounds": 2},
    "audit": _CLASSIFIED,
    "share": lambda: {"count": 1, "total": 3},
    "BarrierLoss": lambda: {"problem": W.classified, "margin": 0.1, "sampler": W.sampler},
    "MonteCarloLyapunov": lambda: {"problem": W.classified, "sampler": W.sampler},
    "PathLyapunov": _small("problem=classified"),
    "ScalarCertificate": lambda: {"kind": "additive", "start": 1.0},
    "least_kappa": lambda: {"start": 1.0},
    "moved_start": lambda: {"start": 1.0, "reach": 0.1},
    "certify": lambda: _CLASSIFIED() | {"boxes": 10},
    "estimated_radii": _CLASSIFIED,
    "escapes": lambda: _CLASSIFIED() | {"sampler": lyapunov.Sphere(1.0)},
    "MinimalNormField": lambda: {"labels": np.arange(4) % 3},
    "escape_time": lambda: {"half_width": 0.01},
    "euler_loss_bound": lambda: {"loss": 1.0, "slope": 1.0, "speed": 1.0, "step": 0.1},
    "gradient_norms": lambda: {"loss": 0.5},
    "least_speed": lambda: {"loss": 0.5},
    "wrong_corner_loss": lambda: {"half_width": 0.5},
    "violation": lambda: _CLASSIFIED() | {"states": np.zeros((3, 4)), "times": 0.5},
    "Cube": lambda: {"half_width": 1.0},
    "Sphere": lambda: {"radius": 1.0},
    "Given": lambda: {"points": np.zeros((2, 3)), "times": np.array([0.2, 0.4])},
    # planar
    "equilibria": lambda: _PLANAR() | {"box": (-1.0, 1.0, -1.0, 1.0), "starts": 2},
    "points_at_infinity": _PLANAR,
    "from_disc": lambda: {"xi": np.array([[0.2], [0.3]])},
    "to_disc": lambda: {"x": np.array([[0.2], [0.3]])},
    "manifold_from_infinity": lambda: {
        "network": W.vector,
        "values": W.planar.at(0.0),
        "point": planar.PointAtInfinity(0.5, 1.0, "source", (0.5, 0.5)),
        "rest": [np.zeros(2)],
        "scale": 1.0,
    },
    "manifolds": lambda: {
        "network": W.vector,
        "values": W.planar.at(0.0),
        "saddle": np.zeros(2),
        "box": (-1.0, 1.0, -1.0, 1.0),
    },
    "poincare_disc": lambda: _PLANAR() | {"starts": np.ones((2, 1)), "horizon": 0.1},
    "phase_portrait": lambda: (
        _PLANAR() | {"box": (-1.0, 1.0, -1.0, 1.0), "starts": np.ones((2, 1)), "horizon": 0.1}
    ),
    # turnpikes
    "linear_quadratic": _small("problem=arcs"),
    "solve_quadratic": _small("problem=arcs"),
    "linearise": _small("problem=arcs", "static"),
    "spectrum": _small("problem=arcs", "static"),
    "scheme_spectrum": lambda: {"problem": W.arcs, "static": W.static, "step": 0.5},
    "static_optimum": _small("problem=arcs"),
    "dissipativity": _small("problem=arcs", "static"),
    "turnpike": lambda: {"problem": W.arcs, "control": W.arcs.space.zeros()},
    "depth_for": lambda: {"problem": W.driftless, "eps": 0.3},
    # studies
    "find_study": lambda: {"where": W.study.name},
    "check": lambda: {"claim": W.claim},
    "read_case": lambda: {"path": _saved("case")},
    "write_report": lambda: {"folder": _saved("sweep")},
    "run_sweep": lambda: {"study": W.study, "out": "sweeps", "progress": "none"},
    "study": lambda: {"name": "fuzz/other", "paper": "none"},
    "claim": lambda: {
        "id": "FUZZ-1",
        "statement": "s",
        "paper": "p",
        "references": {"a": 1.0},
        "tolerance": 0.1,
        "reason": "r",
    },
    "plot_extremal": lambda: {"extremal": W.extremal},
    "plot_solution": lambda: {"solution": W.solution},
    "to_xarray": lambda: {"result": W.solution},
    "to_dataframe": lambda: {"table": W.solution},
    "open_sweep": lambda: {"folder": _saved("sweep")},
    "case_parameters": lambda: {"case": studies.read_case(_saved("case"))},
    # methods, after the thing whose they are
    "layer_of": lambda: {"t": 0.4},
    "stretched": lambda: {"horizon": 2.0},
    "part": lambda: {"first": 0, "last": 2},
    "through": lambda: {"nodes": [0.0, 0.3, 1.0]},
    "grid.integrate": lambda: {"values": W.initial},
    "sample": lambda: {"kernel": 1.0},
    "flatten": lambda: {"control": W.control},
    "unflatten": lambda: {"vector": W.space.flatten(W.control)},
    "random": lambda: {"rng": W.rng, "scale": 0.5},
    "inner": lambda: {"x": W.control, "y": W.control},
    "norm": lambda: {"x": W.control},
    "replaced": lambda: {"bias": W.control["bias"]},
    "controls": lambda: {"mesh": W.mesh},
    "control": lambda: {"mesh": W.mesh, "kernel": 1.0},
    "other_problem.batch": lambda: {"indices": [0]},
    "objective.batch": lambda: {"indices": [0]},
    "problem.batch": lambda: {"indices": [0]},
    "starting_from": lambda: {"initial": W.initial},
    "holding": lambda: {"control": W.control, "names": ["bias"]},
    "augmented": lambda: {"multiplier": W.initial, "weight": 1.0},
    "hvp": lambda: {"control": W.control, "direction": W.control},
    "tangent": lambda: {"control": W.control, "direction": W.control},
    "prox": lambda: {"control": W.control, "step": 0.1},
    "from_control": lambda: {"network": W.network, "control": W.control},
    "to_control": lambda: {"network": W.network},
    "staged.controls": lambda: {"mesh": c.TimeMesh(1.0, 2)},
    "staged.control": lambda: {"mesh": c.TimeMesh(1.0, 2)},
    "box.violation": lambda: {"control": W.control},
    "resnet.at": lambda: {"initial": W.initial, "times": [0.0, 1.0]},
    "control.at": lambda: {"t": 0.3},
    "field.at": lambda: {"x": np.ones((2, 4))},
    "convex_network.value": lambda: {"x": _points()},
    "convex_network.gradient": lambda: {"x": _points()},
}

METHODS: dict[str, tuple[str, ...]] = {
    "mesh": ("layer_of", "stretched", "part", "through"),
    "grid": ("integrate",),
    "space": ("sample", "flatten", "unflatten", "random", "inner", "norm", "zeros"),
    "control": ("at", "replaced"),
    "network": ("controls", "control"),
    "staged": ("controls", "control"),
    "problem": ("batch", "starting_from", "holding"),
    "objective": ("value", "gradient", "hvp", "tangent", "run", "costates", "batch"),
    "penalty": ("value", "gradient", "hvp", "prox"),
    "sparse": ("value", "prox"),
    "box": ("project", "violation", "contains"),
    "resnet": ("outputs", "at", "to_control", "from_control"),
    "convex_network": ("value", "gradient"),
    "field": ("at",),
}
"""Methods that users call, by the thing in `World` whose they are; not those that loops call."""

BAD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a string": lambda: "spam",
    "an empty string": lambda: "",
    "a number in a string": lambda: "1",
    "True": lambda: True,
    "False": lambda: False,
    "a complex number": lambda: 1j,
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: -float("inf"),
    "-1": lambda: -1,
    "0": lambda: 0,
    "1": lambda: 1,
    "2": lambda: 2,
    "-0.5": lambda: -0.5,
    "0.0": lambda: 0.0,
    "1.5": lambda: 1.5,
    "10**400": lambda: 10**400,
    "-10**400": lambda: -(10**400),
    "NumPy's nan": lambda: np.float64("nan"),
    "NumPy's True": lambda: np.bool_(True),
    "NumPy's 2": lambda: np.int64(2),
    "NumPy's 0.5": lambda: np.float32(0.5),
    "a column": lambda: pd.Series([0.5, 1.0, 2.0]),
    "a table": lambda: pd.DataFrame(np.ones((3, 2), int)).convert_dtypes(),
    "bytes": lambda: b"spam",
    "a path": lambda: Path("nowhere/file.h5"),
    "an object": object,
    "a set": lambda: {1.0, 2.0},
    "a module": lambda: np,
    "a function": lambda: print_nothing,
    "a lambda": lambda: lambda: None,
    "an empty list": list,
    "an empty tuple": tuple,
    "an empty mapping": dict,
    "a list of strings": lambda: ["a", "b"],
    "a ragged list": lambda: [1.0, [2.0, 3.0]],
    "a list of objects": lambda: [object(), None],
    "a list of numbers": lambda: [1.0, 2.0, 3.0],
    "a list with nan": lambda: [0.5, float("nan")],
    "a mapping of strings": lambda: {"a": "b"},
    "a mapping of numbers": lambda: {"kernel": 1.0, "bias": 2.0},
    "a mapping with numbers as names": lambda: {1: 2.0},
    "an empty array": lambda: np.empty(0),
    "an empty matrix": lambda: np.empty((0, 0)),
    "ones (7,)": lambda: np.ones(7),
    "ones (2, 7)": lambda: np.ones((2, 7)),
    "ones (3, 2, 2)": lambda: np.ones((3, 2, 2)),
    "a number as array": lambda: np.array(2.0),
    "outside every domain": lambda: np.full((3, 2), -7.0),
    "decreasing": lambda: np.array([3.0, 2.0, 1.0]),
    "an array of nan": lambda: np.full((3, 2), np.nan),
    "an array of inf": lambda: np.full((3, 2), np.inf),
    "a vector of nan": lambda: np.full(3, np.nan),
    "a complex array": lambda: np.ones((3, 2)) * 1j,
    "an array of strings": lambda: np.array(["a", "b"]),
    "an array of objects": lambda: np.array([None, {}]),
    "an array of booleans": lambda: np.ones((3, 2), bool),
    "an array of integers": lambda: np.ones((3, 2), int),
    "an array of float32": lambda: np.ones((3, 2), np.float32),
    "huge": lambda: np.full((3, 2), 1e308),
    "the class WidthDepth": lambda: c.WidthDepth,
    "the class TimeMesh": lambda: c.TimeMesh,
    "the class Euler": lambda: s.Euler,
    "the class LBFGS": lambda: s.LBFGS,
    "the class Control": lambda: c.Control,
    "the class Tikhonov": lambda: c.Tikhonov,
    "the class SquaredError": lambda: c.SquaredError,
    "the class float": lambda: float,
    **{
        name: functools.partial(getattr, W, name)
        for name in (
            "grid",
            "mesh",
            "network",
            "space",
            "control",
            "path",
            "problem",
            "objective",
            "solution",
            "trajectory",
            "snapshot",
            "vector",
            "other_space",
            "other_control",
            "long_control",
            "other_problem",
            "boxed",
            "staged",
            "static",
            "linear",
            "linear_control",
            "neuron",
            "classified",
            "activation",
            "domain",
            "disc",
            "stepper",
            "implicit",
            "adaptive",
            "minimizer",
            "loss",
            "readout",
            "projection",
            "penalty",
            "sparse",
            "box",
            "kernel",
            "monitor",
            "law",
            "sampler",
            "newton",
            "block",
            "rng",
        )
    },
}
"""What is put in place of a good argument.  Some of it is good for some doors."""


def print_nothing(*_: Any, **__: Any) -> None:
    """A function of anything, without result."""


def doors() -> dict[str, Callable[..., Any]]:
    """Every public function and class, by its full name; `study` and `claim` with the function they
    register.
    """
    found: dict[str, Callable[..., Any]] = {}
    for name in PACKAGES:
        package = importlib.import_module(name)
        listed = getattr(package, "__all__", None) or [
            key
            for key, value in vars(package).items()
            if getattr(value, "__module__", "") == name and not key.startswith("_")
        ]
        for key in sorted(listed):
            door = getattr(package, key)
            abstract = inspect.isabstract(door) or getattr(door, "_is_protocol", False)
            if not isinstance(door, type | types.FunctionType) or abstract or key in ABSTRACT:
                continue
            if isinstance(door, type) and issubclass(door, Enum | BaseException):
                continue
            if key == "save_onnx" and importlib.util.find_spec("onnx") is None:
                continue  # its good call needs an extra
            if door not in found.values():
                found[f"{name}.{key}"] = door
    for thing, names in METHODS.items():
        for name in names:
            found[f"{thing}.{name}"] = getattr(getattr(W, thing), name)
    return found


def good_arguments(name: str, door: Callable[..., Any]) -> dict[str, Any]:
    """Arguments with which the door opens."""
    short = name.rsplit(".", 1)[-1]
    key = next((key for key in (".".join(name.split(".")[-2:]), short) if key in CALLS), "")
    given = CALLS[key]() if key else {}
    hints = annotations_of(door)
    for parameter in parameters_of(door):
        missing = parameter.default is inspect.Parameter.empty
        if parameter.name in given or not missing or "VAR" in parameter.kind.name:
            continue
        hint = hints.get(parameter.name, object)
        found = _thing(hint) if parameter.name not in BY_NAME else BY_NAME[parameter.name]()
        given[parameter.name] = found
    return given


def parameters_of(door: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters that a caller fills."""
    return [
        parameter
        for parameter in inspect.signature(door).parameters.values()
        if not parameter.name.startswith("_")
    ]


def annotations_of(door: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of its parameters, resolved as far as they can be."""
    function = inspect.unwrap(door.__init__ if isinstance(door, type) else door)
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}


def call(door: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The door with these arguments, positional where they cannot be named."""
    ordered, named = [], dict(arguments)
    parameters = inspect.signature(door).parameters.values()
    rest = any(p.kind is p.VAR_POSITIONAL and p.name in named for p in parameters)
    for parameter in parameters:
        if parameter.name not in named:
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            value = named.pop(parameter.name)
            ordered += list(value) if isinstance(value, tuple) else [value]
        elif parameter.kind is parameter.POSITIONAL_ONLY or (
            rest and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ):
            ordered.append(named.pop(parameter.name))
    if parameters_of(door) and door is c.Box:
        return door(*ordered)
    made = door(*ordered, **named)
    if door in (studies.study, studies.claim):
        made = made(_case)
        registry._studies.pop("fuzz/other", None)
        registry._claims.pop("FUZZ-1", None)
    return made


_SIMPLE: dict[Any, Any] = {
    float: 1.0,
    int: 2,
    bool: True,
    str: "a",
    np.ndarray: np.ones((3, 2)),
    object: None,
}


def _plain_class(hint: Any) -> bool:
    return isinstance(hint, type) and not getattr(hint, "_is_protocol", False)


def _thing(hint: Any) -> Any:
    """Something that an annotation takes."""
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in _SIMPLE:
        return _SIMPLE[origin]
    if origin in (typing.Union, types.UnionType):
        return _thing(parts[0])
    if origin is typing.Literal:
        return parts[0]
    if origin is tuple:
        return () if Ellipsis in parts else tuple(_thing(part) for part in parts)
    if origin in (Sequence, Iterable, list):
        return [_thing(parts[0])]
    if origin in (Mapping, dict):
        return {}
    if origin is Callable:
        return print_nothing
    names = list(vars(World))
    for name in names[: names.index("objective")]:  # what comes later takes long to make
        if not name.startswith("_") and _plain_class(origin):
            thing = getattr(W, name)
            if isinstance(thing, origin):
                return thing
    return None
