"""The study flow: the plane moves as the data do, and the animation is a file that can be shown."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from continuum import NeuralODE2, TimeMesh, tanh
from solvers import Euler, integrate
from studies import write_report
from studies.bench.parameters import ParameterGrid
from studies.bench.registry import Animation, find_study
from studies.bench.store import read_case
from studies.bench.sweep import run_sweep
from studies.draw.figures import new_figure, save_gif
from studies.turnpike import flow as module
from studies.turnpike.flow import cell_areas, flow

LIMIT = 3_000_000


@pytest.fixture(scope="module")
def spirals():
    return flow()


def test_the_lattice_goes_where_the_network_takes_it(spirals):
    """TP-38: spirals at T = 16, J = .2057413 and phi = .109952; the output is x_1 at T."""
    assert float(spirals["objective"]) == pytest.approx(0.2057413, abs=1e-7)
    assert float(spirals["error"]) == pytest.approx(0.109952, abs=1e-6)
    assert float(spirals["accuracy"]) == 1.0
    assert spirals.attrs["status"] == "MINIMUM"
    lattice, states = spirals["lattice"].values, spirals["states"].values
    np.testing.assert_array_equal(spirals["output"], lattice[-1, 0])
    middle = lattice.shape[-1] // 2  # the input 0 rests at 0: spirals are odd, and so is the flow
    np.testing.assert_allclose(lattice[:, :, middle, middle], 0.0, atol=1e-6)
    np.testing.assert_allclose(lattice, -lattice[:, :, ::-1, ::-1], atol=1e-6)
    samples = states.shape[2] // 2
    np.testing.assert_allclose(states[:, :, :samples], -states[:, :, samples:], atol=1e-6)
    low, high = spirals["window"].values.T
    assert np.all(states >= low[:, None])
    assert np.all(states <= high[:, None])


def test_areas_grow_as_the_divergence_says(rng):
    """d/dt log det Dx = sum_i w_ii tanh'(x_i): for x' = w x near 0 a cell grows by exp(T tr w)."""
    network, mesh = NeuralODE2(2, tanh), TimeMesh(1.0, 20_000)
    weight = rng.normal(size=(2, 2))
    control = network.control(mesh, weight=weight, bias=np.zeros(2))
    side = 1e-4 * np.arange(3)
    square = np.stack([one.ravel() for one in np.meshgrid(side, side)])
    moved = integrate(network, control, square, Euler()).trajectory.final
    before, after = (cell_areas(x.reshape(2, 3, 3)) for x in (square, moved))
    np.testing.assert_allclose(before, 1e-8, rtol=1e-12)
    np.testing.assert_allclose(after / before, np.exp(np.trace(weight)), rtol=2e-4)
    np.testing.assert_allclose(cell_areas(square.reshape(2, 3, 3)[:, ::-1]), -before)


def test_the_animation_is_written_and_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIXELS", 31)
    study = find_study("turnpike/flow")
    grids: list[ParameterGrid] = [{"horizon": [4.0], "starts": [1], "frames": [6]}]
    done = run_sweep(study, grids, tmp_path, progress="none")
    page = write_report(done.folder)
    with Image.open(done.folder / "flow.gif") as image:
        assert image.format == "GIF"
        assert image.n_frames == 6
        assert image.info["loop"] == 0
        image.seek(5)
        assert image.info["duration"] == 1100
    text = page.read_text()
    for name, mime in (("flow.gif", "image/gif"), ("strip.png", "image/png")):
        data = base64.b64encode((done.folder / name).read_bytes()).decode()
        assert f'src="data:{mime};base64,{data}"' in text
    assert study.plot is not None
    still, moving = study.plot([read_case(path) for path in done.paths])
    assert isinstance(moving, Animation)
    assert not isinstance(still, Animation)
    assert [ax.get_title() for ax in still.figure.axes] == [
        f"t = {t:.1f}" for t in (0.0, 0.8, 1.6, 2.4, 3.2, 4.0)
    ]
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in still.figure.axes)


def test_the_longest_animation_is_small(tmp_path):
    """Each frame takes at most a sixtieth of 3 MB, and there are at most 60."""
    study = find_study("turnpike/flow")
    case = flow(frames=6).assign_attrs(
        parameters='{"data": "spirals", "horizon": 16.0, "strength": 0.1, "starts": 3}'
    )
    assert study.plot is not None
    strip, moving = study.plot([case])
    moving.save(tmp_path / "flow.gif")
    assert (tmp_path / "flow.gif").stat().st_size / 6 * 60 < LIMIT
    assert "none is turned over" in strip.caption
    with pytest.raises(ValueError, match="frames"):
        flow(frames=61)


def test_frames_are_drawn_in_order(tmp_path):
    figure, axes = new_figure(width=2.0, height=2.0)
    seen: list[int] = []

    def draw(k: int) -> None:
        seen.append(k)
        axes[0, 0].clear()
        axes[0, 0].plot([0, 1], [0, k])

    save_gif(figure, draw, 3, tmp_path / "any", dpi=50)
    assert seen == [0, 1, 2]
    with Image.open(io.BytesIO((tmp_path / "any").read_bytes())) as image:
        assert (image.n_frames, image.size) == (3, (100, 100))
    with pytest.raises(ValueError, match="frames"):
        save_gif(figure, draw, 0, tmp_path / "none")


@pytest.mark.parametrize("wrong", [{"horizon": 0.0}, {"strength": 0.0}, {"frames": 1}])
def test_parameters_out_of_range_are_named(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        flow(**wrong)
