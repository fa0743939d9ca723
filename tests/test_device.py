"""Where the numbers live: the whole forward path on another device, and what happens where there is
none.

Three stand for a GPU: array-api-strict's second device, which mixes with no other array; a stand-in
with CuPy's own ways; and a real GPU, where CuPy finds one.
"""

import sys
import warnings

import array_api_strict
import cupy_stand_in
import numba
import numpy as np
import pytest

from continuum import (
    Bottleneck,
    FeedForward,
    Interval,
    NeuralODE,
    NeuralODE2,
    Projection,
    ResNet,
    SymmetricLayer,
    TimeMesh,
    WidthDepth,
    arrays,
    gauss_legendre,
    gelu,
    midpoint,
    relu,
    softplus,
    tanh,
)
from continuum.arrays import find_gpu, is_array, like, namespace, to_host
from continuum.kernels import Convolution, Dense, LowRank, OnTheFly
from continuum.transfers import change_depth
from solvers import (
    DOP853,
    RK4,
    SDIRK3,
    Auto,
    BackwardEuler,
    DormandPrince,
    Euler,
    EverySteps,
    ExplicitMidpoint,
    Heun,
    ImplicitMidpoint,
    Monitor,
    Newton,
    RadauIIA5,
    Record,
    architecture,
    integrate,
)

ELSEWHERE = array_api_strict.Device("device1")
MESH = TimeMesh(0.7, 2)
SAVE = [0.0, 0.1, 0.35, 0.5, 0.7]
GRID, EVEN = gauss_legendre(Interval(0, 1), 4), midpoint(Interval(0, 1), 4)
STEPPERS = [
    Euler(),
    Heun(),
    ExplicitMidpoint(),
    RK4(),
    DormandPrince(rtol=1e-5, atol=1e-7),
    DOP853(rtol=1e-5, atol=1e-7),
    ImplicitMidpoint(),
    BackwardEuler(),
    SDIRK3(),
    RadauIIA5(),
    Auto(rtol=1e-4, atol=1e-6),
    BackwardEuler(newton=Newton(krylov_above=0)),
]


def bias(y, t):
    return y - t if y.ndim == 1 else y[0] - t


def smooth(y, z):
    return 1.0 / (1.0 + (y - z) ** 2)


def moving(y, z, t):
    return (1.0 + t) / (1.0 + (y - 2 * z) ** 2)


def apart(y, z, t):
    return (y[0, ...] - z[1, ...]) / (1 + t + z[0, ...])


def difference(s):
    return 1.0 / (1.0 + (s - 0.1) ** 2)


def square(n, m, t=1.0):
    return t * np.linspace(-1.0, 1.0, n * m).reshape(n, m)


RANK_TWO = ((lambda y: y, lambda y: 1 - y * y), (lambda z: 1 + z, lambda z: z * z))
COMPILED = numba.njit(error_model="numpy", forceinline=True)(smooth)
CASES = {
    f"{kind.__name__} {name}": (kind(grid, activation, kernel), {"bias": bias, "kernel": function})
    for kind in (WidthDepth, SymmetricLayer)
    for name, grid, activation, kernel, function in (
        ("Dense", GRID, tanh, Dense(), smooth),
        ("Dense of t", GRID, softplus, Dense(), moving),
        ("LowRank", GRID, gelu, LowRank(2), RANK_TWO),
        ("Convolution", EVEN, relu, Convolution(), difference),
        ("OnTheFly", GRID, tanh, OnTheFly(), COMPILED),
        ("OnTheFly of t", GRID * EVEN, tanh, OnTheFly(compiled=False), apart),
    )
} | {
    "NeuralODE": (
        NeuralODE(4, gelu),
        {"weight": square(4, 4), "bias": lambda t: t * np.arange(4.0)},
    ),
    "NeuralODE2": (NeuralODE2(4, tanh), {"weight": lambda t: square(4, 4, 1 - t), "bias": 0.5}),
    "Bottleneck": (
        Bottleneck(4, tanh, 3),
        {"weight1": square(3, 4), "weight2": lambda t: square(4, 3, t)},
    ),
}

everything = pytest.mark.parametrize("stepper", STEPPERS, ids=lambda s: repr(s)[:40])
cases = pytest.mark.parametrize(("network", "functions"), CASES.values(), ids=CASES)


def elsewhere(x):
    return array_api_strict.asarray(x, device=ELSEWHERE)


def start(network):
    return np.cos(np.arange(2.0 * len(network.weights))).reshape(-1, 2)


def is_elsewhere(x):
    return namespace(x) is array_api_strict and x.device == ELSEWHERE


def check(run, expected, there):
    """The states of a run are there, and equal to NumPy's."""
    assert there(run.trajectory.states)
    assert there(run.trajectory.final)
    assert type(run.trajectory.times) is np.ndarray
    np.testing.assert_array_equal(run.trajectory.times, expected.trajectory.times)
    np.testing.assert_allclose(
        to_host(run.trajectory.states), expected.trajectory.states, rtol=0, atol=1e-12
    )


@everything
@cases
def test_the_whole_forward_path_is_where_the_state_is(network, functions, stepper):
    control, f = network.control(MESH, **functions), start(network)
    expected = integrate(network, control, f, stepper, save=SAVE)
    seen = []
    look = Monitor(
        Record("steps", lambda moment: seen.append(moment.state) or len(seen)), EverySteps(1)
    )
    check(
        integrate(network, control, elsewhere(f), stepper, save=SAVE, monitors=[look]),
        expected,
        is_elsewhere,
    )
    assert seen
    assert all(is_elsewhere(state) for state in seen)


@everything
@cases
def test_the_whole_forward_path_in_the_ways_of_cupy(network, functions, stepper, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in.make())
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", special_functions())
    control, f = network.control(MESH, **functions), start(network)
    expected = integrate(network, control, f, stepper, save=SAVE)
    run = integrate(network, control, f, stepper, save=SAVE, device="gpu")
    check(run, expected, lambda x: isinstance(x, cupy_stand_in.ndarray))
    back = integrate(network, control, run.trajectory.final, stepper, device="cpu").trajectory.final
    assert type(back) is np.ndarray


def special_functions():
    """cupyx.scipy.special has ndtr and no spence."""
    module = type(sys)("cupyx.scipy.special")
    module.ndtr = lambda s: cupy_stand_in.wrap(arrays.scipy.special.ndtr(cupy_stand_in.unwrap(s)))
    return module


@pytest.mark.parametrize("in_time", ["layers", "nodes", "static"])
@pytest.mark.parametrize("kernel", [Dense(), LowRank(2), Convolution()], ids=repr)
@pytest.mark.parametrize(
    "stepper", [STEPPERS[3], STEPPERS[4], STEPPERS[9]], ids=lambda s: type(s).__name__
)
def test_trained_and_fixed_blocks_follow_the_state(in_time, kernel, stepper, rng):
    network = WidthDepth(EVEN, tanh, kernel)
    space = network.controls(MESH, in_time=in_time, fixed={"bias": lambda y: y})
    control, f = space.random(rng), start(network)
    expected = integrate(network, control, f, stepper, save=SAVE)
    check(integrate(network, control, elsewhere(f), stepper, save=SAVE), expected, is_elsewhere)
    carried = control.like(elsewhere(f))
    assert all(is_elsewhere(x) for x in (carried["kernel"], carried["bias"]))
    assert carried.like(elsewhere(f))["kernel"] is carried["kernel"]
    assert control.like(f)["bias"] is control["bias"]
    run = integrate(
        network, carried, f, stepper, save=SAVE
    )  # a control elsewhere follows a state on the host
    check(run, expected, lambda x: type(x) is np.ndarray)


def test_constants_are_carried_once(monkeypatch):
    count = {"bias": 0, "kernel": 0}
    shapes = {(4,): "bias", (4, 4): "kernel"}
    network = WidthDepth(GRID, tanh)
    control = network.control(MESH, bias=bias, kernel=smooth)
    real = arrays.to_host

    def counted(x):
        if type(x) is np.ndarray and x is not GRID.weights:
            count[shapes[x.shape]] += 1
        return real(x)

    f = elsewhere(start(network))
    monkeypatch.setattr(arrays, "to_host", counted)
    integrate(network, control, f, Euler(), steps_per_layer=5)
    assert count["kernel"] == 1
    assert count["bias"] >= 10  # it depends on time


@pytest.mark.parametrize(
    "stepper", [Euler(), RK4(), SDIRK3(), RadauIIA5()], ids=lambda s: type(s).__name__
)
def test_architectures_follow_their_input(stepper):
    network = WidthDepth(GRID, tanh)
    control, f = network.control(MESH, bias=bias, kernel=smooth), start(network)
    layered = architecture(stepper, network, control)
    got = layered(elsewhere(f))
    assert is_elsewhere(got)
    np.testing.assert_allclose(to_host(got), layered(f), rtol=0, atol=1e-12)


def test_layered_networks_readouts_and_transfers_follow_their_input(rng):
    network = WidthDepth(GRID, tanh)
    control, f = network.controls(MESH).random(rng), start(network)
    readout, chain = Projection(square(3, 4)), FeedForward.random([4, 3, 2], tanh, rng)
    for apply in (
        ResNet.from_control(network, control),
        chain,
        lambda x: readout.output(network, x, {}),
    ):
        got = apply(elsewhere(f))
        assert is_elsewhere(got)
        np.testing.assert_allclose(to_host(got), apply(f), rtol=0, atol=1e-13)
    q = rng.standard_normal((3, 2))
    np.testing.assert_allclose(
        to_host(readout.vjp(network, elsewhere(f), {}, elsewhere(q))[0]),
        readout.vjp(network, f, {}, q)[0],
        atol=1e-14,
    )
    finer = TimeMesh(0.7, 5)
    got = change_depth(control.like(elsewhere(f)), finer)["kernel"]
    assert is_elsewhere(got)
    np.testing.assert_allclose(
        to_host(got), change_depth(control, finer)["kernel"], rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("adjoint", [False, True])
def test_on_the_fly_in_chunks(adjoint, monkeypatch):
    on_the_fly = sys.modules["continuum.kernels.on_the_fly"]
    monkeypatch.setattr(on_the_fly, "_ENTRIES", 21)  # three rows at a time
    grid = gauss_legendre(Interval(0, 1), 7)
    x = start(WidthDepth(grid, tanh))
    for function in (smooth, lambda y, z: 2.0, lambda y, z: z < y):
        law = OnTheFly(compiled=False).evaluate(grid, function)
        got = law.product(elsewhere(x), adjoint)
        assert is_elsewhere(got)
        matrix = OnTheFly(compiled=False).matrix(law)
        np.testing.assert_allclose(
            to_host(got), (matrix.T if adjoint else matrix) @ x, rtol=0, atol=1e-14
        )


def test_gpu_goes_where_the_finder_says(monkeypatch):
    monkeypatch.setattr(arrays, "find_gpu", lambda: (elsewhere, "a stand-in"))
    network, functions = CASES["WidthDepth Dense"]
    control, f = network.control(MESH, **functions), start(network)
    expected = integrate(network, control, f, RK4(), save=SAVE)
    run = integrate(network, control, f, RK4(), save=SAVE, device="gpu")
    check(run, expected, is_elsewhere)
    run = integrate(network, control, elsewhere(f), RK4(), save=SAVE, device="cpu")
    check(run, expected, lambda x: type(x) is np.ndarray)


@pytest.mark.parametrize(
    ("cupy", "reason"),
    [
        (None, "CuPy is not installed"),
        (
            cupy_stand_in.make(error=RuntimeError("no driver\n here")),
            "CuPy cannot use a GPU: no driver here",
        ),
        (cupy_stand_in.make(count=0), "CuPy finds no GPU"),
    ],
)
def test_one_clear_line_without_a_gpu(cupy, reason, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    network, functions = CASES["WidthDepth Dense"]
    control, f = network.control(MESH, **functions), start(network)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = integrate(network, control, f, RK4(), save=SAVE, device="gpu")
    assert [(w.category, str(w.message)) for w in caught] == [
        (RuntimeWarning, f"device='gpu': {reason}; the CPU is used")
    ]
    assert caught[0].filename == __file__
    assert type(run.trajectory.final) is np.ndarray
    np.testing.assert_array_equal(
        run.trajectory.states, integrate(network, control, f, RK4(), save=SAVE).trajectory.states
    )


def test_missing_libraries_are_met_by_the_finder(monkeypatch):
    cupy = cupy_stand_in.make()
    cupy.asarray = lambda x: 1 / 0
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert find_gpu() == (None, "CuPy cannot use a GPU: division by zero")
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in.make(count=2))
    assert find_gpu()[1] == "2 CUDA device(s), CuPy 14 (stand-in)"


def test_without_a_gpu_a_state_from_elsewhere_is_brought_to_the_host(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    network, functions = CASES["WidthDepth Dense"]
    with pytest.warns(RuntimeWarning, match="CuPy is not installed; the CPU is used"):
        run = integrate(
            network,
            network.control(MESH, **functions),
            elsewhere(start(network)),
            RK4(),
            device="gpu",
        )
    assert type(run.trajectory.final) is np.ndarray


def test_special_functions_that_cupy_lacks_cross_to_the_host(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in.make())
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", special_functions())
    s = np.linspace(-3.0, 3.0, 7)
    for function in (softplus.antiderivative, gelu.antiderivative):
        got = function(sys.modules["cupy"].asarray(s))
        assert isinstance(got, cupy_stand_in.ndarray)
        np.testing.assert_allclose(to_host(got), function(s), rtol=0, atol=1e-14)


def test_one_convolution_on_two_devices(rng):
    kernel = WidthDepth(EVEN, tanh, Convolution()).kernel
    b, f, w = rng.standard_normal(7), rng.standard_normal((4, 2)), EVEN.weights
    for there in (array_api_strict.asarray, elsewhere):
        got = kernel.apply(there(b), there(f), there(w))
        np.testing.assert_allclose(to_host(got), kernel.apply(b, f, w), rtol=0, atol=1e-14)
        np.testing.assert_array_equal(to_host(kernel.matrix(there(b))), kernel.matrix(b))


@pytest.mark.parametrize("device", ["cuda", "GPU"])
def test_bad_device(device):
    network, functions = CASES["WidthDepth Dense"]
    with pytest.raises(ValueError, match=rf"unknown device {device!r}.* Accepted: 'cpu', 'gpu'"):
        integrate(network, network.control(MESH, **functions), start(network), RK4(), device=device)


def test_like_and_to_host():
    x = np.arange(3.0)
    there = like(x, elsewhere(x))
    assert is_elsewhere(there)
    assert like(there, there) is there
    assert like(x, x) is x
    assert like(there, array_api_strict.asarray(x)).device == array_api_strict.Device("CPU_DEVICE")
    np.testing.assert_array_equal(like(there, x), x)
    assert [is_array(a) for a in (x, there, [1.0], 2.0)] == [True, True, False, False]


CARRY, FOUND = find_gpu()


@pytest.mark.gpu
@pytest.mark.skipif(CARRY is None, reason=f"no GPU: {FOUND}")
@everything
@cases
def test_on_a_gpu(network, functions, stepper):
    control, f = network.control(MESH, **functions), start(network)
    expected = integrate(network, control, f, stepper, save=SAVE)
    cupy = sys.modules["cupy"]
    check(
        integrate(network, control, f, stepper, save=SAVE, device="gpu"),
        expected,
        lambda x: type(x) is cupy.ndarray,
    )
