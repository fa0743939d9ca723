"""The pages of docs/ run as they stand."""

import re
from pathlib import Path

import numpy as np
import pytest

from continuum import WidthDepth
from solvers import RK4, integrate
from studies import catalogue
from studies.bench.registry import claims

DOCS = Path(__file__).parent.parent / "docs"


def run(page):
    """Everything the Python blocks of a page define, run from top to bottom."""
    names: dict = {}
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    return names


def test_tutorial():
    names = run("tutorial.md")
    gaps = names["gaps"]
    assert gaps[0] / gaps[1] == pytest.approx(2.0, abs=0.1)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, abs=0.1)
    assert names["state"].shape == (16, 1)
    assert 1e-6 < names["estimate"] < 1e-2
    np.testing.assert_allclose(names["steps"].orders, 1.0, atol=0.1)
    assert names["best"].status.ok
    assert names["worth"].feasible
    objective, space, direction = names["objective"], names["space"], names["direction"]
    h, control = 1e-4, names["best"].control
    ends = [objective.value(control + s * direction) for s in (h, -h)]
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(names["slope"], rel=1e-4, abs=1e-9)
    assert (ends[0] - 2 * names["value"] + ends[1]) / h**2 == pytest.approx(names["bend"], rel=1e-4)
    assert len(names["run"].history["energy"]) >= 1
    assert isinstance(names["network"], WidthDepth)
    assert space.size == 10 * (12 + 144)


def test_own_network():
    names = run("own_network.md")
    assert names["report"].ok
    assert names["deep"].formula() == "f_t = w3 tanh(w2 tanh(w1 f + b1) + b2)"
    for run_ in (names["best"], names["gains"]):
        assert run_.objective < 0.5 * run_.history["objective"][0]


def test_own_kernel():
    names = run("own_kernel.md")
    np.testing.assert_allclose(names["low_rank"], names["dense"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(names["on_the_fly"], names["dense"], rtol=0, atol=1e-12)
    ring = names["ring"]
    full = WidthDepth(ring, names["tanh"])
    distance = lambda y, z: np.mod(y - z + np.pi, 2 * np.pi) - np.pi  # noqa: E731
    control = full.control(names["mesh"], kernel=lambda y, z: np.exp(-4 * distance(y, z) ** 2))
    stored = integrate(full, control, ring.sample(np.sin), RK4()).trajectory.final
    np.testing.assert_allclose(names["fast"], stored, rtol=0, atol=1e-12)
    assert names["norm"] == pytest.approx(2 / np.pi, rel=1e-3)
    np.testing.assert_allclose(names["first"], 2 / np.pi / np.array([1, 3, 5]), rtol=1e-2)
    assert names["memory"].shape == (64, 1)


def test_errata_cite_claims_that_exist():
    known = {c.id for c in claims(slow=True)}
    cited = set(re.findall(r"LM-\d\d", (DOCS / "errata.md").read_text()))
    assert len(cited) >= 14
    assert cited <= known, cited - known
    assert catalogue.PAPERS


def test_learning(capsys):
    names = run("learning.md")
    assert names["found"].switching_times()[0] == pytest.approx(0.5364562503929055, abs=1e-8)
    assert names["found"].objective == pytest.approx(0.4235585550392474, abs=1e-8)
    best = names["table"].best
    assert best.name == "shooting"
    assert {a.cluster for a in names["table"].attempts} == {0}
    assert "switching times  unit 1: 0.536" in capsys.readouterr().out
