"""The paper's claims, and its first study on a few images."""

import re

import numpy as np
import pytest

from continuum import Interval, exact, gauss_legendre, midpoint, tanh
from solvers import DormandPrince, Heun, observed_orders
from studies import catalogue, check, run_sweep, write_report
from studies.bench.registry import claims, find_study
from studies.datasets import load_digits
from studies.liu_markowich.claims import discretisation, exact_flows, stability, width
from studies.liu_markowich.claims.common import TIGHT, extrapolated, printed
from studies.liu_markowich.resnet_limit import (
    SQUARE,
    distance,
    nearest_mean_labels,
    pixel_function,
    resnet_limit,
)

catalogue.load()
CLAIMS = claims(slow=True)


def test_the_claims_of_this_paper_are_there():
    assert set(catalogue.PAPERS) >= {"finite_time", "liu_markowich", "turnpike"}
    assert {c.id for c in CLAIMS} >= {"LM-01", "LM-02", "LM-10", "LM-11", "LM-19", "LM-43", "LM-45"}


@pytest.mark.parametrize(
    "claim", [pytest.param(c, marks=[pytest.mark.slow] if c.slow else [], id=c.id) for c in CLAIMS]
)
def test_claim(claim):
    for row in check(claim):
        assert row.passed, (
            f"{row.case}: reference {row.reference}, computed {row.computed}, {row.note}"
        )


WRONG = [
    ("LM-09", discretisation, "Euler", Heun),
    ("LM-10", exact_flows, "FINEST", TIGHT),
    ("LM-13", exact_flows, "FINEST", TIGHT),
    ("LM-16", exact, "below", lambda y, z: np.heaviside(np.round(y - z, 12), 0.5 + 1e-9)),
    ("LM-19", width, "midpoint", lambda domain, n: gauss_legendre(domain, n)),
    ("LM-21", width, "FINEST", DormandPrince(rtol=1e-6, atol=1e-7)),
    ("LM-40", stability, "arctan", tanh),
]


@pytest.mark.parametrize(("id", "module", "name", "wrong"), WRONG, ids=[w[0] for w in WRONG])
def test_a_claim_fails_with_another_method(id, module, name, wrong, monkeypatch):
    monkeypatch.setattr(module, name, wrong)
    (chosen,) = (c for c in CLAIMS if c.id == id)
    assert not all(row.passed for row in check(chosen))


def test_numbers_are_judged_at_half_a_unit_of_their_last_digit():
    references, within = printed({"a": "-1.20e-3", "b": "40", "c": "0.4199"}, rounding=1e-9)
    assert references == {"a": -1.2e-3, "b": 40.0, "c": 0.4199}
    assert within == pytest.approx({"a": 5e-6 + 1e-9, "b": 0.5 + 1e-9, "c": 5e-5 + 1e-9})


def test_each_size_removes_one_power_of_the_step():
    values = [np.array([1.0 + 3.0 / n**2, 2.0 - 1.0 / n**2 + 5.0 / n**4]) for n in (4, 6, 10)]
    np.testing.assert_allclose(extrapolated((4, 6, 10), values), [1.0, 2.0], rtol=1e-14)
    np.testing.assert_allclose(extrapolated((4, 6), values[:2])[0], 1.0, rtol=1e-14)
    assert abs(extrapolated((4, 6), values[:2])[1] - 2.0) > 1e-3


def test_images_are_bilinear_on_pixels_and_keep_their_mean():
    rng = np.random.default_rng(1)
    images = rng.random((2, 8, 8))
    # pixel means of the function are averages over neighbours: in the middle of a pixel, of its
    # four corners
    flat = pixel_function(images, midpoint(SQUARE, 8).nodes)
    padded = np.pad(images[0], 1, mode="edge")
    around = padded[2:5, 4:7]
    corners = np.mean([around[i : i + 2, j : j + 2].mean() for i in (0, 1) for j in (0, 1)])
    assert flat[(2 + 0) * 8 + 4, 0] == pytest.approx(corners, rel=1e-14)
    # first coordinate down the rows
    stripes = np.zeros((1, 8, 8))
    stripes[0, 6:, :] = 1.0
    assert pixel_function(stripes, np.array([[0.9, 0.1], [0.1, 0.9]]))[:, 0] == pytest.approx(
        [1.0, 0.0]
    )
    # bilinear on pixels: two Gauss points per pixel and dimension integrate it exactly, as three do
    two, three = (gauss_legendre(SQUARE, n, panels=8) for n in (2, 3))
    integrals = [grid.integrate(pixel_function(images, grid.nodes)) for grid in (two, three)]
    np.testing.assert_allclose(*integrals, rtol=1e-13)
    # and continuous across their edges
    edge = np.array([[0.25 - 1e-12, 0.3], [0.25 + 1e-12, 0.3]])
    assert np.ptp(pixel_function(images, edge)[:, 0]) < 1e-10


def test_distance_is_the_root_mean_square_of_norms():
    grid = midpoint(Interval(0, 2), 4)
    f, g = np.ones((4, 2)), np.zeros((4, 2))
    f[:, 1] = 3.0
    assert distance(grid, f, g) == pytest.approx(np.sqrt((2 + 18) / 2))
    labels = nearest_mean_labels(grid, f, np.stack([np.full(4, 2.9), np.full(4, 0.8)], axis=1))
    np.testing.assert_array_equal(labels, [1, 0])


def test_orders_in_depth_and_width():
    depths = [16, 32, 64]
    by_depth = [resnet_limit(depth=d, width=8, images=20) for d in depths]
    np.testing.assert_allclose(
        observed_orders(depths, [float(c["depth_error"]) for c in by_depth]), 1.0, atol=0.1
    )
    assert float(by_depth[-1]["depth_reference_error"]) < 1e-6 * float(by_depth[-1]["depth_error"])
    widths = [16, 24, 32]
    by_width = [resnet_limit(depth=8, width=w, images=20) for w in widths]
    errors = [float(c["width_error"]) for c in by_width]
    np.testing.assert_allclose(observed_orders(widths, errors), 2.0, atol=0.1)
    assert float(by_width[-1]["width_reference_error"]) < 1e-2 * errors[-1]
    assert errors[-1] < 2e-4
    assert float(by_depth[-1]["labels_changed"]) <= float(by_depth[0]["labels_changed"]) <= 0.1


def test_bad_parameters():
    with pytest.raises(ValueError, match="width must be a multiple of 8"):
        resnet_limit(width=12)
    with pytest.raises(ValueError, match="images must be from 1 to 1797"):
        resnet_limit(images=0)
    assert len(load_digits().labels) == 1797


def test_the_default_sweep_has_ten_cases():
    assert len(find_study("liu_markowich/resnet_limit").expand()) == 10


def test_from_command_to_page(tmp_path):
    few = {"images": [12], "length": [0.3]}
    grids = [{"depth": [8, 16, 32], "width": [8], **few}, {"depth": [8], "width": [8, 16], **few}]
    done = run_sweep(find_study("liu_markowich/resnet_limit"), grids, tmp_path, progress="none")
    assert done.count("done") == 4
    page = write_report(done.folder).read_text()
    assert {path.name for path in done.folder.glob("*.png")} == {
        "convergence.png",
        "digit.png",
        "labels.png",
    }
    depth_orders, width_orders = (
        re.search(rf"orders in {along}: ([\d., ]+)", page) for along in ("depth", "width")
    )
    assert depth_orders is not None
    assert width_orders is not None
    for text, order in ((depth_orders[1], 1.0), (width_orders[1], 2.0)):
        np.testing.assert_allclose([float(x) for x in text.split(",")], order, atol=0.15)
