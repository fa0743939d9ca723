"""`check_derivatives` names the part that is wrong, and no other."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from test_chain import chains

from continuum import (
    Affine,
    Block,
    CrossEntropy,
    Interval,
    Network,
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
    relu,
    sigmoid,
    tanh,
    trapezoid,
)


class Gains(Network):
    """x' = (1 - t) g tanh(x), with one term of a derivative wrong by a factor 1 + error."""

    def __init__(self, wrong="", error=1e-3):
        self.wrong, self.error = wrong, error

    def factor(self, part):
        return 1.0 + self.error * (part == self.wrong)

    @property
    def weights(self):
        return np.array([0.5, 2.0])

    def blocks(self, in_time="layers"):
        return (Block("gain", (2,), in_time, self.weights), Block("tilt", (), in_time, np.ones(())))

    def formula(self):
        return "f_t = (1 - t) gain tanh(f) + tilt"

    def velocity(self, f, c, t):
        return (1 - t) * c["gain"][:, None] * np.tanh(f) + c["tilt"]

    def jvp(self, f, c, t, df, dc):
        result = self.factor("jvp f") * (1 - t) * c["gain"][:, None] * tanh.derivative(f) * df
        if "gain" in dc:
            result = result + self.factor("jvp gain") * (1 - t) * dc["gain"][:, None] * np.tanh(f)
        return result + dc["tilt"] if "tilt" in dc else result

    def vjp(self, f, c, t, p):
        back = (1 - t) * c["gain"][:, None] * tanh.derivative(f) * p
        bars = {
            "gain": self.factor("vjp gain") * (1 - t) * np.sum(np.tanh(f) * p, axis=1),
            "tilt": np.sum(self.weights[:, None] * p),
        }
        if self.wrong == "no tilt":
            del bars["tilt"]
        return self.factor("vjp f") * back, bars

    def vjp_derivative(self, f, c, t, p, df, dc, dp):
        if self.wrong == "not written":
            raise NotImplementedError("later")
        slope = tanh.derivative(f)
        back = (1 - t) * c["gain"][:, None] * (tanh.second(f) * df * p + slope * dp)
        if "gain" in dc:
            back = back + self.factor("second gain f") * (1 - t) * dc["gain"][:, None] * slope * p
        total = self.factor("second f gain") * slope * df * p + np.tanh(f) * dp
        return back, {
            "gain": (1 - t) * np.sum(total, axis=1),
            "tilt": np.sum(self.weights[:, None] * dp),
        }


def test_a_network_that_is_right():
    report = check_derivatives(Gains(), rng=np.random.default_rng(3))
    assert report.ok, str(report)
    assert "derivatives of Gains: 19 of 19 checks passed" in str(report)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ("jvp f", {"jvp in the state", "vjp in the state, the adjoint of jvp"}),
        (
            "jvp gain",
            {"jvp in block 'gain'", "vjp in block 'gain', the adjoint of jvp"},
        ),
        ("second gain f", {"vjp_derivative in block 'gain', the state's part"}),
        ("second f gain", {"vjp_derivative in the state, the part of block 'gain'"}),
    ],
)
@pytest.mark.parametrize("error", [1.0, 1e-5])
def test_the_part_that_is_wrong_is_named(wrong, names, error):
    report = check_derivatives(Gains(wrong, error))
    assert {c.what for c in report.failures} == names
    assert re.search(r"order (0\.9|1\.)\d", str(report))


@pytest.mark.parametrize("wrong", ["vjp f", "vjp gain"])
def test_a_wrong_adjoint(wrong):
    report = check_derivatives(Gains(wrong))
    name = "the state" if wrong == "vjp f" else "block 'gain'"
    assert f"vjp in {name}, the adjoint of jvp" in {c.what for c in report.failures}
    assert "jvp in the state" not in {c.what for c in report.failures}
    assert "(jvp, p) is" in str(report)
    with pytest.raises(ValueError, match=r"wrong  vjp in .*, the adjoint of jvp"):
        check_derivatives(Gains(wrong), raise_on_failure=True)


def test_what_is_missing_is_said():
    report = check_derivatives(Gains("no tilt"))
    assert "it has no part of block 'tilt'" in str(report)
    report = check_derivatives(Gains("not written"))
    assert all(c.what.startswith("vjp_derivative") for c in report.failures)
    assert "it raises NotImplementedError: later" in str(report)


def test_shapes_and_claims_about_stacking_and_affinity():
    class Claims(Gains):
        broadcasts = True
        affine_in_control = True

        def velocity(self, f, c, t):
            return super().velocity(f, c, t) * np.tanh(c["gain"])[:, None]

    found = {c.what for c in check_derivatives(Claims()).failures}
    assert {"broadcasts", "affine_in_control"} <= found

    class Flat(Gains):
        def velocity(self, f, c, t):
            return super().velocity(f, c, t)[:, 0]

    assert "velocity has shape (2,), expected (2, 3)" in str(check_derivatives(Flat()))


@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(chains)
def test_random_chains_pass(chain):
    report = check_derivatives(
        chain, state=np.random.default_rng(1).standard_normal((chain.units, 3))
    )
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "network",
    [
        WidthDepth(trapezoid(Interval(0, 1), 5), relu),
        SymmetricLayer(trapezoid(Interval(0, 1), 5), sigmoid),
        NeuralODE(40, tanh),
        NeuralODE2(1, tanh),
    ],
)
def test_networks_of_the_package_pass(network):
    report = check_derivatives(network, raise_on_failure=True)
    assert report.ok


class Effort(RunningCost):
    """|f_m|^2 (1 + tilt t)^2 / 2, with a term wrong by a factor."""

    def __init__(self, wrong=""):
        self.wrong = wrong

    def formula(self):
        return "|f|^2 (1 + tilt t)^2 / 2"

    def reads(self, network):
        return [] if self.wrong == "reads" else ["tilt"]

    def _sum(self, network, f, g):
        return np.sum(network.weights[:, None] * f * g, axis=0)

    def density(self, network, f, c, t):
        return 0.5 * self._sum(network, f, f) * (1 + c["tilt"] * t) ** 2

    def vjp(self, network, f, c, t, q):
        a = 1 + c["tilt"] * t
        slope = np.sum(q * self._sum(network, f, f)) * a * t
        bars = {} if self.wrong == "no tilt" else {"tilt": np.asarray(slope)}
        return q * f * a * (1.0 if self.wrong == "power" else a), bars

    def density_and_vjp(self, network, f, c, t, q):
        costs, p, bars = super().density_and_vjp(network, f, c, t, q)
        return costs, -p if self.wrong == "together" else p, bars

    def vjp_derivative(self, network, f, c, t, q, df, dc):
        a, da = 1 + c["tilt"] * t, dc.get("tilt", 0.0) * t
        own = 2 * self._sum(network, f, df) * a * t + self._sum(network, f, f) * da * t
        if self.wrong == "second":
            own = 0.0 * own
        return q * (df * a * a + 2 * f * a * da), {"tilt": np.asarray(np.sum(q * own))}


def test_running_costs():
    network = Gains()
    assert check_derivatives(Effort(), network).ok
    found = {c.what: c.wrong for c in check_derivatives(Effort("power"), network).failures}
    assert "vjp in the state" in found
    assert "not the derivative of the density" in found["vjp in the state"]
    found = {c.what: c.wrong for c in check_derivatives(Effort("no tilt"), network).failures}
    assert found["vjp in block 'tilt'"].startswith("it is left out, but")
    found = {c.what for c in check_derivatives(Effort("second"), network).failures}
    assert found == {
        f"vjp_derivative in {d}, the part of block 'tilt'" for d in ("the state", "block 'tilt'")
    }
    found = check_derivatives(Effort("reads"), network).failures
    assert [c.what for c in found] == ["reads without block 'tilt'"]
    found = check_derivatives(Effort("together"), network).failures
    assert [c.what for c in found] == ["density_and_vjp"]


@pytest.mark.parametrize(
    "cost",
    [
        Tracking(SquaredError(), State(), np.ones((3, 3))),
        Tracking(SquaredError(), State(), lambda t: t * np.ones((3, 3))),
        Tracking(CrossEntropy(), Affine(3), np.array([0, 1, 2])),
        Tracking(SquaredError(), Projection(np.ones((2, 3))), lambda t: t * np.ones((2, 3))),
        Tracking(SquaredError(), target=np.ones((3, 3))),
    ],
)
def test_tracking_passes(cost):
    network = NeuralODE(3, tanh)
    report = check_derivatives(cost, network)
    assert report.ok, str(report)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: check_derivatives(3), TypeError, "subject must be a Network such as"),
        (lambda: check_derivatives(Effort()), TypeError, "network must be the Network"),
        (lambda: check_derivatives(Gains(), state=np.ones(3)), ValueError, "state has shape"),
        (
            lambda: check_derivatives(Gains(), values={"gian": np.ones(2)}),
            ValueError,
            "Did you mean 'gain'",
        ),
        (
            lambda: check_derivatives(WidthDepth(trapezoid(Interval(0, 1), 5), tanh, OnTheFly())),
            TypeError,
            "block 'kernel' is never stored",
        ),
        (
            lambda: check_derivatives(Tracking(SquaredError()), Gains()),
            ValueError,
            "target is needed by SquaredError",
        ),
        (lambda: check_derivatives(Gains(), t=np.nan), ValueError, "t must be finite"),
    ],
)
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()
