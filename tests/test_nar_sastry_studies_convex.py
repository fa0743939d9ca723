"""Studies of what convex residual networks look like, and of factors near the identity."""

import numpy as np
import pytest
from pictures import check_pictures

from studies.nar_sastry.bowl import TURNED, bowl
from studies.nar_sastry.theorem3 import theorem3


def test_bowl(tmp_path):
    words = {"bowl": r"\(1, 1\), \(2, 1\), \(1, 2\), \(2, 2\); .*\(0, 0\), \(0, 0\), \(0.5, 0.25\)"}
    grids = [{"first": 0.5, "second": 0.25, "points": 21}]
    (case,) = check_pictures("bowl", grids, words, tmp_path, "nar_sastry")
    x, y = np.meshgrid(case["x"], case["x"], indexing="ij")
    f = x + y + np.maximum(x - 0.5, 0) + np.maximum(y - 0.25, 0)
    np.testing.assert_allclose(case["value"][0], f, atol=1e-14)
    np.testing.assert_allclose(case["value"][2], f - 1.5 * (x + y), atol=1e-14)
    (v11, v12), (v21, v22) = TURNED
    other = x + y + np.maximum(v11 * x + v12 * y - 0.5, 0) + np.maximum(v21 * x + v22 * y - 0.25, 0)
    np.testing.assert_allclose(case["value"][1], other, atol=1e-14)
    with pytest.raises(ValueError, match="first and second must be in"):
        bowl(first=1.5)


def test_theorem3(tmp_path):
    words = {"theorem3": r"at L = 8: e x, flow 1\.07.*shares 0\.9.* to 1\.000 of.*no other"}
    kinds = ["e x, flow", "x + x^3, straight", "gradient in the plane, straight", "x^3, straight"]
    grids = [{"kind": kinds, "doublings": 3, "points": 401}]
    e, cubic, plane, flat = check_pictures("theorem3", grids, words, tmp_path, "nar_sastry")
    np.testing.assert_allclose(e["measured"], np.expm1(1 / e["layers"]), rtol=1e-9)
    np.testing.assert_allclose(e["measured"], e["floor"], rtol=1e-9)
    np.testing.assert_allclose(cubic["derived"], 3 / cubic["layers"], rtol=1e-14)
    for case in (cubic, plane):
        share = (case["measured"] / case["derived"]).values
        assert share.min() > 0.95
        assert share.max() <= 1 + 1e-9
        assert np.all(case["measured"][1:] >= case["floor"][1:])
    assert np.all(flat["measured"] > 1 - 1e-9)
    assert np.all(flat["floor"][1:] == 1)
    scaled = theorem3("x + x^3, scaled", doublings=7, points=101)
    by_log = (scaled["measured"] * scaled["layers"]).values
    assert np.all(np.diff(by_log[3:]) > 0.9 * np.log(2))
    rough = theorem3("x + x^(3/2), straight", doublings=2, points=401)
    np.testing.assert_allclose(rough["derived"], 1.5 / rough["layers"], rtol=1e-14)
    assert np.all(rough["measured"] > 0.98 * rough["derived"])
