"""Results as labelled arrays, tables and JSON: what is in them, and the way to a file and back."""

import json
import pickle

import numpy as np
import pytest
import xarray as xr
from halving import halving
from matplotlib.figure import Figure

from continuum import (
    Interval,
    LearningProblem,
    NeuralODE2,
    Staged,
    Tikhonov,
    TimeMesh,
    WidthDepth,
    gauss_legendre,
    identity,
    tanh,
)
from solvers import (
    LBFGS,
    RK4,
    DormandPrince,
    EverySteps,
    Monitor,
    Record,
    compare,
    discretize,
    evaluate,
    explain,
    integrate,
    integrate_stages,
    minimize,
    multistart,
    pontryagin_certificate,
    refine,
    shoot,
)
from solvers.hjb import StateGrid, closed_loop, optimality_gap, solve_hjb
from solvers.linear_networks import step_report
from solvers.lyapunov import ScalarCertificate
from studies import plot_extremal, plot_solution, to_dataframe, to_xarray
from studies.draw.figures import new_figure
from studies.liu_markowich.paper import boxed

GRID = gauss_legendre(Interval(0, 1), 3)
INITIAL = GRID.sample(lambda y: y, lambda y: 1.0 - y)
PROBLEM = halving(GRID, INITIAL, layers=4)


@pytest.fixture(scope="module")
def switching():
    """LM-54, whose control switches."""
    return shoot(boxed([0.5, 0.5], [4.0, 0.0], layers=10), atol=1e-11)


@pytest.fixture(scope="module")
def trained():
    return minimize(discretize(PROBLEM, RK4()), LBFGS(gtol=1e-6))


def there_and_back(data: xr.Dataset, tmp_path) -> xr.Dataset:
    data.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "result.nc", engine="h5netcdf") as read:
        return read.load()


def described(data: xr.Dataset) -> bool:
    return all({"units", "long_name"} <= set(x.attrs) for x in data.variables.values())


def test_a_run(tmp_path):
    control = PROBLEM.network.control(PROBLEM.mesh, bias=1.0)
    norm = Record("norm", lambda s: float(np.max(np.abs(s.state))))
    run = integrate(
        PROBLEM.network,
        control,
        INITIAL,
        DormandPrince(rtol=1e-8, atol=1e-10),
        save=[0.0, 0.3, 1.0],
        monitors=[Monitor(norm, EverySteps(1))],
    )
    data = to_xarray(run)
    assert data["state"].dims == ("time", "unit", "sample")
    np.testing.assert_array_equal(data["state"], run.trajectory.states)
    np.testing.assert_array_equal(data["time"], [0.0, 0.3, 1.0])
    assert data["norm"].dims == data["norm.times"].dims == ("norm_record",)
    assert (data.attrs["status"], data.attrs["steps"]) == ("FINISHED", run.statistics["steps"])
    assert described(data)
    xr.testing.assert_identical(there_and_back(data, tmp_path), data)
    xr.testing.assert_identical(to_xarray(run.trajectory), data[["state"]].drop_attrs(deep=False))
    assert list(to_dataframe(run).columns) == ["norm", "norm.times"]


def test_a_control_and_its_history(trained, tmp_path):
    data = to_xarray(trained)
    np.testing.assert_array_equal(data["kernel"], trained.control["kernel"])
    assert data["kernel"].dims == ("layer", "kernel_row", "kernel_column")
    np.testing.assert_array_equal(data["layer_start"], PROBLEM.mesh.nodes[:-1])
    np.testing.assert_array_equal(data["layer_end"], PROBLEM.mesh.nodes[1:])
    np.testing.assert_array_equal(data["objective"], trained.history["objective"])
    assert data.attrs["objective"] == trained.objective
    assert described(data)
    xr.testing.assert_identical(there_and_back(data, tmp_path), data)

    times = [0.0, 0.25, 0.6, 1.0]
    at = to_xarray(trained.control, times=times)
    assert at["bias"].dims == ("time", "bias_row")
    np.testing.assert_array_equal(at["bias"], trained.control["bias"][[0, 1, 2, 3]])
    table = to_dataframe(trained)
    assert table.index.name == "iteration"
    np.testing.assert_array_equal(table["gradient_norm"], trained.history["gradient_norm"])


def test_blocks_of_any_time(tmp_path):
    space = NeuralODE2(2, tanh).controls(TimeMesh(2.0, 3), in_time="static")
    data = to_xarray(space.random(np.random.default_rng(1)))
    assert data["weight"].dims == ("weight_row", "weight_column")
    nodes = NeuralODE2(2, tanh).controls(TimeMesh(2.0, 3), in_time="nodes").zeros()
    data = to_xarray(nodes)
    assert data["bias"].dims == ("node", "bias_row")
    np.testing.assert_array_equal(data["node_time"], nodes.mesh.nodes)
    moving = NeuralODE2(2, tanh).control(TimeMesh(1.0, 1), bias=lambda t: np.array([t, 2 * t]))
    data = to_xarray(moving, times=[0.0, 0.5])
    np.testing.assert_array_equal(data["bias"], [[0.0, 0.0], [0.5, 1.0]])
    with pytest.raises(ValueError, match="times must be given"):
        to_xarray(moving)
    with pytest.raises(ValueError, match=r"times must be in \[0, 1\]"):
        to_xarray(moving, times=[2.0])


def test_an_extremal_at_any_time(switching, tmp_path):
    """LM-54: before t_s block 2 is pushed up, m = 1.5 e^t - 1; H is constant."""
    ts = float(switching.switching_times()[0])
    times = np.array([0.0, 0.123, ts - 1e-6, ts + 1e-6, 0.77, 1.0])
    data = to_xarray(switching, times=times)
    np.testing.assert_allclose(
        data["state"].mean("unit")[:3, 0], 1.5 * np.exp(times[:3]) - 1.0, atol=1e-9
    )
    np.testing.assert_array_equal(data["bias"][:, 1], [1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    np.testing.assert_array_equal(np.sign(data["switching_bias"]), data["bias"])
    np.testing.assert_allclose(data["hamiltonian"], switching.hamiltonian[0], atol=1e-9)
    assert data["switching_kernel"].dims == ("time", "kernel_row", "kernel_column")
    assert described(data)
    xr.testing.assert_identical(there_and_back(data, tmp_path), data)
    # the costate is the derivative of the cost: p(T) = weights-free difference from the target
    target = boxed([0.5, 0.5], [4.0, 0.0]).target
    np.testing.assert_allclose(data["costate"][-1], data["state"][-1] - target, atol=1e-8)

    ends = to_xarray(switching)
    np.testing.assert_array_equal(ends["time"], switching.state.times)
    np.testing.assert_allclose(ends["state"], switching.state.states, atol=1e-12)
    again = pickle.loads(pickle.dumps(switching)).at(times)
    np.testing.assert_array_equal(again.states, data["state"])
    with pytest.raises(ValueError, match=r"times must be in \[0, 1\]"):
        switching.at([1.5])
    assert [*to_dataframe(switching.switches).columns] == ["time", "block", "index"]


def test_an_extremal_as_a_table(switching):
    """Every number of the arrays, in columns named as entries are in Python."""
    points = switching.at(np.linspace(0.0, 1.0, 5))
    table = to_dataframe(points)
    assert len(table) == 5
    assert [*table.columns[:4]] == ["time", "state[0, 0]", "state[1, 0]", "costate[0, 0]"]
    assert table.shape[1] == 1 + 2 + 2 + 2 * (2 + 4) + 1
    np.testing.assert_array_equal(table["kernel[1, 0]"], points.control["kernel"][:, 1, 0])
    np.testing.assert_array_equal(table["switching_bias[1]"], points.switching["bias"][:, 1])
    np.testing.assert_array_equal(table["costate[1, 0]"], points.costates[:, 1, 0])
    np.testing.assert_array_equal(table["hamiltonian"], points.hamiltonian)


def test_an_extremal_without_switches():
    problem = LearningProblem(
        WidthDepth(GRID, identity),
        INITIAL[:, :1],
        3 * INITIAL[:, :1],
        TimeMesh(1.0, 4),
        penalty=Tikhonov(0.1),
    )
    found = shoot(problem)
    data = to_xarray(found, times=[0.0, 0.4])
    assert not any(str(name).startswith("switching") for name in data.data_vars)
    # by the closed form of a Tikhonov term the control is -gradient / (2 strength)
    np.testing.assert_allclose(data["state"][0], problem.initial)
    np.testing.assert_allclose(data["bias"], -data["costate"][:, :, 0] / 0.2, atol=1e-9)
    figure = plot_extremal(found)
    assert "does not switch" in figure.axes[3].get_title()


def test_where_there_is_nothing_between_the_steps():
    found = shoot(boxed([0.5, 0.5], [0.5, 0.5], layers=4), raise_on_failure=False)
    assert found.dense is None
    assert to_xarray(found)["state"].dims == ("time", "unit", "sample")
    with pytest.raises(ValueError, match="the control that started the search"):
        to_xarray(found, times=[0.5])


def test_stages_at_requested_times():
    """Each stage has the states at the times that lie in it, as the whole run would have them."""
    stage = NeuralODE2(2, tanh)
    network = Staged((stage, stage), (0.5,), (np.eye(2),))
    mesh = TimeMesh(1.0, 4)
    control = network.controls(mesh).random(np.random.default_rng(0))
    alone = {
        n.split(".")[1]: np.concatenate([control[f"stage{s}." + n.split(".")[1]] for s in (0, 1)])
        for n in control
        if n.startswith("stage0")
    }
    whole = stage.controls(mesh).sample(**alone)
    method, start = DormandPrince(rtol=1e-10, atol=1e-12), np.array([[0.3], [-0.2]])
    times = [0.1, 0.2, 0.5, 1.0]
    first, second = integrate_stages(network, control, start, method, save=times)
    np.testing.assert_allclose(first.trajectory.times, times[:2])
    np.testing.assert_allclose(second.trajectory.times, times[2:])
    expected = integrate(stage, whole, start, method, save=times).trajectory.states
    found = np.concatenate([first.trajectory.states, second.trajectory.states])
    np.testing.assert_allclose(found, expected, atol=1e-8)
    first, second = integrate_stages(network, control, start, method, save=[0.7])
    assert (len(first.trajectory.times), len(second.trajectory.times)) == (0, 1)
    with pytest.raises(ValueError, match=r"^this trajectory has no states: none of the times that"):
        _ = first.trajectory.final
    assert to_xarray(first)["state"].shape == (0, *start.shape)
    with pytest.raises(ValueError, match="solution has no states at any time"):
        plot_solution(first)
    np.testing.assert_array_equal(second.trajectory.final, second.trajectory.states[0])


@pytest.fixture(scope="module")
def value():
    problem = boxed([0.5], [2.0], grid=gauss_legendre(Interval(0, 1), 1), layers=8)
    return problem, solve_hjb(problem, StateGrid([(-1.0, 4.0)], 41))


def test_a_value_function_and_its_feedback(value, tmp_path):
    problem, found = value
    data = to_xarray(found)
    assert data["value"].dims == ("time", "x1")
    np.testing.assert_array_equal(data["x1"], found.grid.axes[0])
    np.testing.assert_array_equal(data["value"], found.values)
    xr.testing.assert_identical(there_and_back(data, tmp_path), data)
    loop = closed_loop(problem, found)
    data = to_xarray(loop)
    np.testing.assert_array_equal(data["state"], loop.state.states)
    assert data["partials"].dims == ("layer", "unit")
    assert described(data)
    xr.testing.assert_identical(there_and_back(data, tmp_path), data)


def test_tables(trained, switching):
    sizes = to_dataframe(refine(lambda n: 1.0 + 1.0 / n**2, [4, 8, 16], exact=1.0))
    np.testing.assert_allclose(sizes["order"][1:], 2.0)
    starts = to_dataframe(
        multistart(discretize(PROBLEM, RK4()), LBFGS(gtol=1e-5), 2, np.random.default_rng(3))
    )
    assert starts["starts"].sum() == 2
    judged = to_dataframe(pontryagin_certificate(PROBLEM, trained.control, eigenvalues=0))
    assert [*judged.columns] == ["layer", "time", "hamiltonian", "gap"]
    assert len(judged) == 4 * 5
    theorems = to_dataframe(explain(PROBLEM.network, trained.control))
    assert {"theorem", "applies", "hypothesis", "verdict"} <= set(theorems.columns)
    steps = to_dataframe(step_report(2.0, 3, 0.01))
    assert "Proposition 1" in set(steps["theorem"])
    ranked = to_dataframe(compare(PROBLEM, {"L-BFGS": LBFGS(gtol=1e-6)}))
    assert ranked.loc[0, "method"] == "L-BFGS"
    assert to_dataframe({"a": np.arange(3), "b": np.ones(3)}).shape == (3, 2)
    with pytest.raises(TypeError, match="columns of one length"):
        to_dataframe({"a": np.arange(3), "b": np.ones(2)})
    for wrong in (3.0, "text", PROBLEM):
        with pytest.raises(TypeError, match="table must be"):
            to_dataframe(wrong)
        with pytest.raises(TypeError, match="result must be"):
            to_xarray(wrong)  # type: ignore[arg-type]


def test_certificates_as_dictionaries(trained, value, switching):
    problem, found = value
    loop = closed_loop(problem, found)
    records = [
        pontryagin_certificate(PROBLEM, trained.control),
        evaluate(PROBLEM, trained.control),
        explain(PROBLEM.network, trained.control),
        step_report(2.0, 3, 0.01),
        ScalarCertificate("sharp", 1.0, 2.0),
        optimality_gap(problem, loop.control, 0.0),
    ]
    for record in records:
        told = json.loads(json.dumps(record.to_dict(), allow_nan=False))
        assert told
    told = records[0].to_dict()
    np.testing.assert_array_equal(told["gap"], records[0].gap)
    assert told["curvature"]["morse_index"] == records[0].curvature.morse_index
    same = boxed([0.5, 0.5], [4.0, 0.0], layers=10)
    unknown = pontryagin_certificate(same, switching.control * 0.0)
    assert json.dumps(unknown.to_dict(), allow_nan=False)


def test_pictures_of_results(trained, switching):
    run = integrate(PROBLEM.network, trained.control, INITIAL, RK4(), save="layers")
    figure = plot_solution(run, sample=1)
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), run.trajectory.states[:, 2, 1])
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert ax.get_legend() is not None
    _, axes = new_figure(1, 2, width=9)
    assert plot_solution(trained, axes[0, 1], legend=False) is axes[0, 1].get_figure()
    assert axes[0, 1].get_legend() is None
    assert axes[0, 1].get_yscale() == "log"
    plot_solution(trained, axes[0, 0])
    canvas = axes[0, 0].get_figure()
    canvas.draw_without_rendering()
    inner, legend = axes[0, 0].get_window_extent(), axes[0, 0].get_legend().get_window_extent()
    assert inner.x0 <= legend.x0 < legend.x1 <= inner.x1
    assert inner.y0 <= legend.y0 < legend.y1 <= inner.y1

    shown = plot_extremal(switching)
    assert isinstance(shown, Figure)
    assert len(shown.axes) == 4
    for picture in (shown, figure):  # the legends of our own figures are below the labels
        picture.draw_without_rendering()
        for ax in picture.axes:
            assert ax.get_legend().get_window_extent().y1 < ax.xaxis.label.get_window_extent().y0
    ts = switching.switching_times()[0]
    entries = {text.get_text() for text in shown.axes[2].get_legend().get_texts()}
    assert entries == {"bias[0]", "bias[1]", *(f"kernel[{i}, {j}]" for i in (0, 1) for j in (0, 1))}
    assert shown.axes[0].get_legend().get_texts()[0].get_text() == "unit 0"
    dotted = [line for line in shown.axes[2].lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(dotted[0].get_xdata(), ts, atol=1e-9)
    _, four = new_figure(2, 2)
    plot_extremal(switching, four, legend=False)
    assert all(ax.get_legend() is None for ax in four.flat)
    with pytest.raises(ValueError, match="ax must be four axes, got 1"):
        plot_extremal(switching, axes[0, 0])
    with pytest.raises(ValueError, match="sample must be below 1"):
        plot_extremal(switching, sample=3)
    with pytest.raises(TypeError, match="solution must be a Solution"):
        plot_solution(run.trajectory)  # type: ignore[arg-type]
