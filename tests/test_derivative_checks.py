"""check_derivatives passes what is right, and says which part of the rest is wrong."""

from dataclasses import dataclass

import numpy as np
import pytest

from continuum import (
    Affine,
    Bottleneck,
    Circle,
    Convolution,
    Interval,
    LowRank,
    NeuralODE,
    NeuralODE2,
    OnTheFly,
    Projection,
    RunningCost,
    SquaredError,
    State,
    SymmetricLayer,
    Tracking,
    WidthDepth,
    check_derivatives,
    periodic,
    tanh,
    trapezoid,
)

GRID = trapezoid(Interval(0, 1), 4)
NETWORKS = [
    WidthDepth(GRID, tanh),
    WidthDepth(GRID, tanh, LowRank(2)),
    WidthDepth(periodic(Circle(), 5), tanh, Convolution()),
    SymmetricLayer(GRID, tanh),
    NeuralODE(3, tanh),
    NeuralODE2(3, tanh),
    Bottleneck(3, tanh, hidden=2),
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_networks_of_the_package_are_right(network):
    check = check_derivatives(network)
    assert check.ok, str(check)
    assert max(check.errors.values()) < 1e-7
    names = [b.name for b in network.blocks()]
    assert len(check.errors) == 3 * (1 + len(names)) + 1


def wrong(network, part, make):
    """The network with one method replaced."""
    broken = type(f"Broken{type(network).__name__}", (type(network),), {part: make})
    found = object.__new__(broken)
    found.__dict__.update(network.__dict__)
    return found


def test_it_says_which_part_of_a_network_is_wrong():
    network, own = NeuralODE(3, tanh), NeuralODE

    def no_state(self, f, c, t, df, dc):
        return own.jvp(self, f, c, t, 0.999 * df, dc)

    def no_sum(self, f, c, t, p):
        back, bars = own.vjp(self, f, c, t, p)
        return back, {**bars, "bias": bars["bias"] / 3}

    def no_bend(self, f, c, t, p, df, dc, dp):
        return own.vjp(self, f, c, t, dp)

    def narrow(self, f, c, t, p):
        back, bars = own.vjp(self, f, c, t, p)
        return back[:, :1], bars

    assert check_derivatives(wrong(network, "jvp", no_state)).failed == ("jvp in the state",)
    check = check_derivatives(wrong(network, "vjp", no_sum))
    assert "vjp in bias" in check.failed
    assert "vjp in weight" not in check.failed
    assert "jvp in bias" not in check.failed
    assert check_derivatives(wrong(network, "vjp_derivative", no_bend)).failed == (
        "vjp_derivative in the state",
        "vjp_derivative in bias",
        "vjp_derivative in weight",
    )
    check = check_derivatives(wrong(network, "vjp", narrow))
    assert check.errors["vjp in the state"] == np.inf
    assert "vjp in bias               " in str(check)
    assert "WRONG" in str(check)
    assert "jvp in weight" in str(check)


@dataclass
class Energy(RunningCost):
    """t |bias|^2 / 2 + sum_i w_i f_i^4 / 4, with errors put in."""

    scale: float = 1.0
    bend: float = 3.0
    known: tuple[str, ...] | None = ("bias",)

    def density(self, network, f, c, t):
        own = 0.5 * t * np.sum(network.weights * c["bias"] ** 2)
        return own + 0.25 * np.sum(network.weights[:, None] * f**4, axis=0)

    def vjp(self, network, f, c, t, q):
        return q * f**3, {"bias": self.scale * t * np.sum(q) * c["bias"]}

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        moved = dc.get("bias", 0.0 * c["bias"])
        return self.bend * q * f**2 * df, {"bias": self.scale * t * np.sum(q) * moved}

    def reads(self, network):
        return self.known

    def formula(self):
        return "t |bias|^2 / 2 + |f|_4^4 / 4"


def test_running_costs():
    network = WidthDepth(GRID, tanh)
    target = np.ones((2, 3))
    for cost in (
        Energy(),
        Energy(known=None),
        Tracking(SquaredError(), State(), np.ones((4, 3))),
        Tracking(SquaredError(), Projection(np.ones((2, 4))), lambda t: t * target),
        Tracking(SquaredError(), Affine(2, link=tanh), target),
    ):
        check = check_derivatives(cost, network)
        assert check.ok, str(check)
    assert "reads without kernel" in check_derivatives(Energy(), network).errors
    assert check_derivatives(Energy(scale=2.0), network).failed == ("vjp in bias",)
    assert check_derivatives(Energy(bend=2.0), network).failed == ("vjp_derivative in the state",)
    assert check_derivatives(Energy(known=()), network).failed == ("reads without bias",)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: check_derivatives(3), "subject must be a Network or a RunningCost"),
        (lambda: check_derivatives(Energy()), "a running cost needs network"),
        (lambda: check_derivatives(NETWORKS[0], samples=0), "samples must be at least 1"),
        (lambda: check_derivatives(NETWORKS[0], rtol=0.0), "rtol must be finite and positive"),
        (
            lambda: check_derivatives(WidthDepth(GRID, tanh, OnTheFly())),
            "block 'kernel' is never stored",
        ),
        (
            lambda: check_derivatives(Tracking(SquaredError()), NETWORKS[0]),
            "target is needed by SquaredError",
        ),
    ],
)
def test_bad_input(ask, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ask()
