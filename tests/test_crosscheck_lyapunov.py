"""Gradients of Lyapunov losses and of end-point training against PyTorch's autograd; run by `make
crosscheck`.

The field, V, its gradient, the violation and RK4 are written out here in PyTorch; from the package
come the numbers of the control and, for Tube, the points that were drawn.
"""

import numpy as np
import pytest

from continuum import Affine, CrossEntropy, LearnedField, LearningProblem, Projection, TimeMesh
from continuum.activations import sigmoid, tanh
from solvers import RK4, discretize
from solvers.lyapunov import Cube, Given, MonteCarloLyapunov, PathLyapunov, Tube

pytestmark = pytest.mark.crosscheck
CLASSES, INPUTS, SAMPLES, LAYERS, KAPPA = 4, 3, 6, 5, 2.0
FIELDS = {
    "one layer": {"hidden": (7,), "activation": tanh},
    "two layers": {"hidden": (6, 5), "activation": tanh},
    "three, centred, scaled": {
        "hidden": (5, 4, 6),
        "activation": sigmoid,
        "centred": True,
        "scale": 1.7,
    },
    "no time": {"hidden": (6,), "activation": tanh, "timed": False},
}
EVERY = pytest.mark.parametrize("options", FIELDS.values(), ids=FIELDS.keys())


class Peer:
    """The same in PyTorch, at samples that are rows."""

    def __init__(self, torch, options, problem, control, x):
        self.torch, self.options = torch, options
        self.c = {name: torch.tensor(control[name], requires_grad=True) for name in control}
        self.x = torch.tensor(x.T.copy(), requires_grad=True)
        self.labels = torch.tensor(problem.target.argmax(axis=0))
        self.start = torch.tensor(problem.initial.T.copy())

    def field(self, eta, t):
        torch, options, c = self.torch, self.options, self.c
        bend = {"tanh": torch.tanh, "sigmoid": torch.sigmoid}[options["activation"].name]
        parts = [eta, self.x]
        if options.get("timed", True):
            parts.append(torch.full((len(eta), 1), float(t)))
        h, last = torch.cat(parts, dim=1), len(options["hidden"]) + 1
        for n in range(1, last + 1):
            h = h @ c[f"weight{n}"].T + c[f"bias{n}"]
            h = bend(h) if n < last else h
        if options.get("centred"):
            h = h - h.mean(dim=1, keepdim=True)
        return options.get("scale", 1.0) * h

    def loss(self, eta):
        c = self.c
        o = eta @ c["readout.W"].T + c["readout.mu"] if "readout.W" in c else eta
        own = o.gather(1, self.labels[:, None])[:, 0]
        return self.torch.logsumexp(o, dim=1) - own

    def violation(self, eta, t):
        if not eta.requires_grad:
            eta = eta.clone().requires_grad_()
        v = self.loss(eta)
        (g,) = self.torch.autograd.grad(v.sum(), eta, create_graph=True)
        return (g * self.field(eta, t)).sum(dim=1) + KAPPA * v

    def path(self):
        eta, h, nodes = self.start, 1.0 / LAYERS, [self.start]
        for j in range(LAYERS):
            t = j * h
            k1 = self.field(eta, t)
            k2 = self.field(eta + h / 2 * k1, t + h / 2)
            k3 = self.field(eta + h / 2 * k2, t + h / 2)
            k4 = self.field(eta + h * k3, t + h)
            eta = eta + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            nodes.append(eta)
        return nodes

    def at_points(self, points):
        """The mean over points (L, N, M) and samples."""
        rows = self.torch.tensor(np.ascontiguousarray(points.of_samples(SAMPLES).swapaxes(1, 2)))
        found = [self.violation(z, t) for z, t in zip(rows, points.times, strict=True)]
        return self.torch.relu(self.torch.stack(found)).mean()

    def along(self, form, semi):
        torch, nodes, h = self.torch, self.path(), 1.0 / LAYERS
        if form == "continuous":
            nodes = [z.detach() for z in nodes] if semi else nodes
            return torch.relu(
                torch.stack([self.violation(z, j * h) for j, z in enumerate(nodes)])
            ).mean()
        v = [self.loss(z) for z in nodes]
        kept = np.exp(-KAPPA * h) if form == "discrete" else 1.0 - KAPPA * h
        before = [kept * (u.detach() if semi else u) for u in v[:-1]]
        steps = [torch.relu(u - w) for u, w in zip(v[1:], before, strict=True)]
        return torch.stack(steps).mean() / h


@pytest.fixture
def torch():
    module = pytest.importorskip("torch")
    module.set_default_dtype(module.float64)
    return module


def case(torch, options, rng, affine=False):
    """A random net and its peer."""
    units = 3 if affine else CLASSES
    field = LearnedField(units=units, inputs=INPUTS, **options)
    x = rng.standard_normal((INPUTS, SAMPLES))
    problem = LearningProblem(
        field.at(x),
        0.3 * rng.standard_normal((units, SAMPLES)),
        rng.integers(0, CLASSES, SAMPLES),
        TimeMesh(1.0, LAYERS),
        terminal=CrossEntropy(),
        **({"readout": Affine(CLASSES)} if affine else {}),
    )
    control = problem.space.random(rng, 0.8)
    return problem, control, Peer(torch, options, problem, control, x)


def agree(value, gradient, peer, loss):
    """The value, and every block of the gradient in units of the whole gradient's norm."""
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-13)
    size = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    assert size > 1e-2
    for name, ours in gradient.items():
        theirs = peer.c[name].grad
        theirs = np.zeros_like(ours) if theirs is None else theirs.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * size, err_msg=name)


@EVERY
@pytest.mark.parametrize("affine", [False, True], ids=["state", "affine"])
def test_end_points(options, affine, torch, rng):
    problem, control, peer = case(torch, options, rng, affine)
    value, gradient = discretize(problem, RK4()).value_and_gradient(control)
    agree(value, gradient, peer, peer.loss(peer.path()[-1]).mean())


@EVERY
def test_derivatives_in_the_inputs(options, torch, rng):
    problem, control, peer = case(torch, options, rng)
    x = peer.x.detach().numpy().T
    joined = LearningProblem(
        LearnedField(units=CLASSES, inputs=INPUTS, **options).with_inputs(),
        np.concatenate([problem.initial, x]),
        problem.target,
        problem.mesh,
        readout=Projection(np.eye(CLASSES, CLASSES + INPUTS)),
        terminal=CrossEntropy(),
    )
    same = joined.space.sample(**{name: control[name] for name in control})
    ours = discretize(joined, RK4()).run(same).costates[0][CLASSES:]
    peer.loss(peer.path()[-1]).sum().backward()
    theirs = peer.x.grad.numpy().T
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-13 * np.abs(theirs).max())


@EVERY
@pytest.mark.parametrize("affine", [False, True], ids=["state", "affine"])
@pytest.mark.parametrize("sampler", ["given", "cube", "tube"])
def test_monte_carlo(options, affine, sampler, torch, rng):
    problem, control, peer = case(torch, options, rng, affine)
    units = len(problem.initial)
    drawn = {
        "given": Given(rng.standard_normal((8, units, SAMPLES)), np.linspace(0, 1, 8)),
        "cube": Cube(3.0, states=9),
        "tube": Tube(noise=0.5, copies=2),
    }[sampler]
    loss = MonteCarloLyapunov(problem, KAPPA, drawn)
    assert 0.0 < loss.active_share(control) <= 1.0
    value, gradient = loss.value_and_gradient(control)
    agree(value, gradient, peer, peer.at_points(loss.points(control)))


@EVERY
@pytest.mark.parametrize("affine", [False, True], ids=["state", "affine"])
@pytest.mark.parametrize("semi", [False, True], ids=["full", "semi"])
@pytest.mark.parametrize("form", ["continuous", "discrete", "euler"])
def test_along_the_path(options, affine, semi, form, torch, rng):
    problem, control, peer = case(torch, options, rng, affine)
    loss = PathLyapunov(problem, KAPPA, form=form, semi=semi)
    value, gradient = loss.value_and_gradient(control)
    agree(value, gradient, peer, peer.along(form, semi))
