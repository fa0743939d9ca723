"""A trained readout's gradient, and a value function, against other libraries; run by `make
crosscheck`.
"""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from continuum import (
    Affine,
    Box,
    CrossEntropy,
    Interval,
    LearningProblem,
    TimeMesh,
    WidthDepth,
    from_torch,
    gauss_legendre,
    tanh,
    to_torch_state,
)
from continuum.networks import Chain, Linear, Offset, Pointwise
from solvers import Euler, discretize
from solvers.hjb import StateGrid, solve_hjb
from solvers.hjb.separable import separable


@pytest.mark.crosscheck
def test_a_classifier_against_jax(rng):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    network, layers, samples = WidthDepth(gauss_legendre(Interval(0, 1), 5), tanh), 4, 7
    initial, labels = rng.standard_normal((5, samples)), rng.integers(0, 3, samples)
    problem = LearningProblem(
        network, initial, labels, TimeMesh(1.0, layers), readout=Affine(3), terminal=CrossEntropy()
    )
    control, direction = problem.space.random(rng), problem.space.random(rng)
    w = jnp.asarray(network.weights)[:, None]

    def cost(c):
        f = jnp.asarray(initial)
        for k in range(layers):
            f = f + jnp.tanh(c["bias"][k][:, None] - c["kernel"][k] @ (w * f)) / layers
        scores = c["readout.W"] @ (w * f) + c["readout.mu"][:, None]
        return jnp.mean(jax.nn.logsumexp(scores, axis=0) - scores[labels, jnp.arange(samples)])

    here, along = ({n: jnp.asarray(x) for n, x in c.items()} for c in (control, direction))
    objective = discretize(problem, Euler())
    assert objective.value(control) == pytest.approx(float(cost(here)), rel=1e-13)
    gradient, product = jax.jvp(jax.grad(cost), (here,), (along,))
    for ours, theirs in (
        (objective.gradient(control), gradient),
        (objective.hvp(control, direction), product),
    ):
        for block in problem.space.blocks:
            share = block.weights / (layers if block.time == "layers" else 1)
            np.testing.assert_allclose(
                share * ours[block.name], np.asarray(theirs[block.name]), rtol=0, atol=1e-13
            )


@pytest.mark.crosscheck
def test_value_functions_against_hj_reachability(rng):
    """f' = tanh(a - B f), |a| <= 1, by its WENO and Lax-Friedrichs flux in double precision: the
    same Hamiltonian at random states and slopes, and values inside the grid that come together as
    both are refined.
    """
    hj, jax = pytest.importorskip("hj_reachability"), pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    jnp, horizon, kernel = jax.numpy, 0.5, rng.standard_normal((2, 2))
    network = Chain(2, (Linear("kernel", 2, sign=-1), Offset("bias"), Pointwise(tanh)))
    space = network.controls(TimeMesh(horizon, 10), fixed={"kernel": kernel})
    zero = np.zeros((2, 1))
    problem = LearningProblem(network, zero, zero, space, admissible=Box(bias=(-1, 1)))

    class Equation(hj.dynamics.Dynamics):
        def __init__(self):
            super().__init__("min", "max", None, None)

        def __call__(self, state, control, disturbance, time):
            return control

        def optimal_control_and_disturbance(self, state, time, grad_value):
            u = -jnp.asarray(kernel) @ state
            return jnp.where(grad_value < 0.0, jnp.tanh(u + 1.0), jnp.tanh(u - 1.0)), jnp.zeros(1)

        def partial_max_magnitudes(self, state, time, value, grad_value_box):
            u = -jnp.asarray(kernel) @ state
            return jnp.maximum(jnp.abs(jnp.tanh(u + 1.0)), jnp.abs(jnp.tanh(u - 1.0)))

    equation, h = Equation(), separable(problem)
    f, q = rng.standard_normal((2, 2, 30))
    theirs = [
        equation.hamiltonian(jnp.asarray(x), 0.0, 0.0, jnp.asarray(y))
        for x, y in zip(f.T, q.T, strict=True)
    ]
    np.testing.assert_allclose(h.value(f, q, 0.0), np.array(theirs), rtol=0, atol=1e-14)
    apart = []
    for nodes in (41, 81):
        grid = StateGrid([(-2, 2), (-2, 2)], nodes)
        lattice = hj.Grid.from_lattice_parameters_and_boundary_conditions(
            hj.sets.Box(jnp.full(2, -2.0), jnp.full(2, 2.0)), grid.shape
        )
        end = jnp.asarray(h.terminal(grid.states()).reshape(grid.shape))
        settings = hj.SolverSettings.with_accuracy("very_high")
        found = np.asarray(hj.step(settings, equation, lattice, 0.0, end, -horizon, False))
        inner = slice(nodes // 5, -(nodes // 5))
        ours = solve_hjb(problem, grid, times=2).values[0]
        apart.append(np.max(np.abs(ours - found)[inner, inner]))
    assert apart[1] < 7e-4  # where V begins to rise from 0: both are of first order there
    assert apart[0] > 1.9 * apart[1]


@pytest.mark.crosscheck
@pytest.mark.parametrize("kind", ["Tanh", "ReLU", "GELU", "ELU", "LeakyReLU", "Sigmoid"])
def test_residual_modules_of_pytorch(kind, rng):
    """Layers read by name give the module's own output to rounding, and go back."""
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(5, 8), getattr(nn, kind)(), nn.Linear(8, 5))

        def forward(self, x):
            return x + self.inner(x)

    torch.manual_seed(0)
    blocks = nn.Sequential(*(Block() for _ in range(12))).double()
    whole = nn.Sequential(nn.Linear(3, 5), blocks, nn.Linear(5, 2)).double()
    x = rng.standard_normal((5, 7))
    with torch.no_grad():
        wanted = blocks(torch.as_tensor(x.T)).numpy().T
    for found in (from_torch(blocks), from_torch(whole, prefix="1.")):
        np.testing.assert_allclose(found.resnet(x), wanted, rtol=1e-13, atol=1e-13)
        assert found.compared is not None
        assert found.compared < 1e-13
    found = from_torch(blocks.state_dict(), from_torch(blocks).network.activation)
    np.testing.assert_allclose(found.resnet(x), wanted, rtol=1e-13, atol=1e-13)
    names = ("{}.inner.0", "{}.inner.2")
    state = to_torch_state(found.network, found.control, names)
    blank = nn.Sequential(*(Block() for _ in range(12))).double()
    blank.load_state_dict({name: torch.as_tensor(one) for name, one in state.items()})
    with torch.no_grad():
        np.testing.assert_allclose(blank(torch.as_tensor(x.T)).numpy().T, wanted, rtol=1e-13)
    single = from_torch(blocks.float())
    assert single.compared is not None
    assert 0.0 < single.compared < 1e-5


@pytest.mark.crosscheck
def test_a_network_of_pytorch_in_looked_at_and_out_again(capsys):
    """The script: the module that takes the trained weights has the loss that was reached."""
    pytest.importorskip("torch")
    script = Path(__file__).parent.parent / "examples" / "pytorch_residual.py"
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    start, reached, own = map(float, re.findall(r"(?:loss|L-BFGS|weights) (\d\.\d+)", said))
    assert reached < 0.5 * start
    assert own == reached
    assert "No limit, layers are too large for so many" in said
    assert float(said.rsplit("before, ", 1)[1].split()[0]) > 0.85


@pytest.mark.crosscheck
def test_modules_of_pytorch_that_are_not_residual():
    torch = pytest.importorskip("torch")
    nn = torch.nn
    plain = nn.Sequential(
        *(nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4)) for _ in range(3))
    )
    with pytest.raises(ValueError, match="not residual: its layers do not add their input"):
        from_torch(plain)
    assert from_torch(nn.ModuleList(plain)).compared is None  # its forward is elsewhere
    with pytest.raises(ValueError, match="unknown activation 'SiLU' at '1'"):
        from_torch(nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 4)))
    with pytest.raises(ValueError, match=r"1\.weight of the module has shape \(6,\)"):
        from_torch(nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 4)))
