"""The pages of docs/ run as they stand."""

import re
import shlex
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from continuum import WidthDepth
from solvers import RK4, Status, integrate
from studies import catalogue
from studies.bench.registry import claims, forget, studies
from studies.cli import main

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


@pytest.mark.slow
def test_lyapunov():
    names = run("lyapunov.md")
    audits = names["audits"]
    for found in audits.values():
        assert np.all(np.mean(found.values[-1]) <= np.mean(found.bounds) + 1e-3)
    assert audits["Monte Carlo"].meeting.value > 0.9 > 0.5 > audits["end point"].meeting.value
    for name, attacked in names["attacks"].items():
        proved = names["proofs"][name].proved
        assert np.mean(proved) > 0.9
        assert not np.any(proved & attacked.broken)
    assert names["bound"].kind == "bound"
    assert names["run"].status is Status.SETTLED
    assert names["run"].history["pseudo_time"][-1] <= names["bound"].time


def test_speed():
    names = run("speed.md")
    assert names["run"].status.ok
    exact = names["objective"].value_and_gradient(names["control"])[1]
    space = names["problem"].space
    assert space.norm(names["gradient"] - exact) <= 1e-5 * space.norm(exact)
    assert space.norm(names["model"].gradient) == pytest.approx(
        names["few"].value_and_factors(names["control"])[1].norm(), rel=1e-12
    )


def test_residual_networks(capsys):
    names = run("residual_networks.md")
    problem, run_, lost = names["problem"], names["run"], names["lost"]
    assert names["critical_step"](problem, names["balanced"]) == pytest.approx(
        2 / (20 * np.linalg.norm(names["R"], 2) ** 1.9), rel=1e-9
    )
    assert "R symmetric" in capsys.readouterr().out
    assert run_.status is Status.CONVERGED
    assert run_.objective < 1e-12
    assert lost.objective > 1e3 * lost.history["objective"][0]
    ends = [1 + names["end"][name].ravel() for name in ("w.weight", "z.weight")]
    np.testing.assert_allclose(ends, [[0.5**0.5] * 2, [2**0.5] * 2], rtol=0, atol=1e-9)
    np.testing.assert_allclose(names["conserved"](names["small"], names["end"]), 0.0, atol=1e-12)
    fit = names["fit"]
    assert fit.rmse.shape == (5,)
    assert np.all(fit.rmse < 0.0906)  # no worse than the best line
    assert fit.networks[0].slopes.shape == (len(fit.networks[0].segments),)


def test_own_study(tmp_path, monkeypatch, capsys):
    """The first block is the file; the others run as they stand, one after the other."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    page = (DOCS / "own_study.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "my_study.py").write_text(blocks[0][1])
    names: dict = {}
    try:
        for kind, block in blocks[1:]:
            if kind == "python":
                exec(compile(block, "own_study.md", "exec"), names)
            elif kind == "toml":
                assert "continuum.studies" in tomllib.loads(block)["project"]["entry-points"]
            else:
                for line in block.splitlines():
                    command, *arguments = shlex.split(line)
                    assert (command, main(arguments)) == ("continuum", 0), line
    finally:
        forget(["mine/gains"])
        sys.modules.pop("my_study", None)
    said = capsys.readouterr().out
    assert "gains=1.0 (> 0, <= 100)" in " ".join(said.split())
    assert "Of 6 cases 6 were run." in said
    assert "Of 9 cases 3 were run, 6 were finished before." in said
    assert "There are no cases of older code." in said
    sweep, done = names["sweep"], names["done"]
    assert sweep["error"].dims == ("gains", "layers")
    assert sweep["output"].sel(gains=1.0, layers=32).shape == (16,)
    np.testing.assert_allclose(sweep["error"][:, 1] / sweep["error"][:, 2], 2.0, rtol=0.1)
    assert done.count("skipped") == 2
    assert (done.folder / "summary.csv").is_file()
    assert "continuum run my_study.py gains=0.5,1.0 layers=16" in names["page"].read_text()


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
    assert names["limit"] == pytest.approx(2 / (0.1 * 256**1.5), rel=1e-9)
    assert names["error"] < 1e-8


def test_errata_cite_claims_that_exist():
    catalogue.load()
    known = {c.id for c in claims(slow=True)}
    cited = set(re.findall(r"(?:LM|LY|FT|NS)-\d\d", (DOCS / "errata.md").read_text()))
    for paper in ("LM", "LY", "FT", "NS"):
        assert sum(c.startswith(paper) for c in cited) >= 13, paper
    assert cited <= known, cited - known


def test_learning(capsys):
    names = run("learning.md")
    assert names["found"].switching_times()[0] == pytest.approx(0.5364562503929055, abs=1e-8)
    assert names["found"].objective == pytest.approx(0.4235585550392474, abs=1e-8)
    best = names["table"].best
    assert best.name == "shooting"
    assert {a.cluster for a in names["table"].attempts} == {0}
    printed = capsys.readouterr().out
    line = next(x for x in printed.splitlines() if x.startswith("switching times  0.536"))
    assert line.endswith(": bias[1], kernel[1, 0], kernel[1, 1]")
    along, space = names["along"], names["space"]
    gradient = names["objective"].gradient(names["found"].control)
    assert along.value == pytest.approx(space.inner(gradient, names["direction"]), rel=1e-12)
    assert names["further"].objective <= names["trained"].objective < 0.05
    assert names["further"].history["objective"][0] == names["trained"].objective


def test_stiff():
    names = run("stiff.md")
    exact = names["integrate"](
        names["network"],
        names["control"],
        names["initial"],
        names["RadauIIA5"](rtol=1e-10, atol=1e-12),
    ).trajectory.final
    for name, run_ in names["runs"].items():
        assert np.abs(run_.trajectory.final - exact).max() < 1e-5, name
    assert "switched to" in names["runs"]["Auto"].detail
    assert names["error"] < 1e-5


def test_turnpike():
    names = run("turnpike.md")
    best, pike, strict, own = (names[n] for n in ("best", "pike", "strict", "own"))
    assert best.status is Status.MINIMUM
    assert best.statistics["morse_index"] == 0
    assert names["solve_quadratic"](names["arcs"]).value == pytest.approx(2.4358721473, abs=1e-9)
    assert pike.static.value == pytest.approx(0.1550970423, abs=1e-9)
    np.testing.assert_allclose(pike.predicted[:3], [1.44634, 1.31851, 1.29273], atol=1e-5)
    assert pike.fitted[0].rate == pytest.approx(pike.fitted[0].scheme, rel=1e-4)
    assert strict.how == "exact"
    times, distance = pike.times, pike.distance
    far = np.sum(np.diff(times) * (distance[:-1] >= 1.0))
    assert far <= own.time_outside(1.0) <= strict.time_outside(1.0) < times[-1]
    assert names["stuck"].objective == pytest.approx(1.0907907, abs=1e-6)
    assert names["lower"].status is Status.MINIMUM
    assert names["lower"].objective == pytest.approx(0.3763250, abs=1e-6)
    wanted = {"event": 0.0454357898, "fold": 0.1229467405, "equal": 0.1041498448}
    for name, value in wanted.items():
        assert names[name].parameter == pytest.approx(value, abs=1e-9)
    inside = names["bang"].statistics
    assert inside["on_until"] < names["switch"].time < inside["off_from"]
    assert names["switch"].time == pytest.approx(0.71404965, abs=1e-7)
    reached, step = names["reached"], 1e-4 * np.eye(2)[:1].T * [1.0, 0.0]
    ends = [
        names["minimize"](
            replace(names["reach"], target=names["moved"] + s * step),
            names["RiccatiNewton"](),
            initial=reached.control,
        ).objective
        for s in (1.0, -1.0)
    ]
    slope = (ends[0] - ends[1]) / 2e-4
    assert slope == pytest.approx(-0.5 * reached.multiplier[0, 0], rel=1e-3)
    scaled = names["discretize"](names["unit"]).value(names["control"])
    assert scaled == pytest.approx(names["lower"].objective, rel=1e-12)
    assert names["grown"].status is Status.CONVERGED


@pytest.mark.slow
def test_hjb(capsys):
    names = run("hjb.md")
    least = 0.4235585550392474  # LM-54
    problem, value, run_ = names["problem"], names["value"], names["run"]
    assert abs(value.at_start - least) < value.error
    assert 0.0 < run_.objective - least < 5e-4
    assert 0.42 < names["bound"].value < least
    assert 0.0 < names["found"].costs[0] - least < 1e-4
    large = names["lift"](names["few"].control(0))
    assert names["wide"].admissible.contains(large, 1e-12)
    exact = names["riccati"](names["held"])(names["start"], 0.0)[0]
    assert exact == pytest.approx(0.625 / 1.2, rel=1e-9)  # LM-50: lambda |d|^2 / (T + 2 lambda)
    printed = capsys.readouterr().out
    assert "(0.86% of it)" in printed
    assert "J* >= 0.2054" in printed
    assert problem.mesh.layers == 100


def test_the_guide_to_long_horizons_names_every_study():
    catalogue.load()
    found = {s.name.split("/")[1] for s in studies() if s.name.startswith("turnpike/")}
    page = (DOCS / "turnpike.md").read_text().split("## Studies")[1]
    assert set(re.findall(r"\*(\w+)\*", page)) == found


def test_why_odes(capsys):
    names = run("why_odes.md")
    depths = list(names["depths"].values())
    assert depths == sorted(depths)
    assert names["wrong"] == 0.0
    found, certificate = names["found"], names["certificate"]
    assert found.objective == pytest.approx(0.4235585550, abs=1 / 40)  # LM-54, Euler's layers
    assert certificate.gap.max() < 0.02
    assert certificate.total_gap < 1e-3
    assert names["slowest"] == 1.0
    assert names["trained"] < 1.0
    value = names["discretize"](names["joined"], RK4()).value(names["same"])
    assert value == pytest.approx(names["best"].objective, rel=1e-12)
    before = names["integrate"](names["network"], names["best"].control, names["zero"], RK4())
    clean = np.mean(before.trajectory.final.argmax(axis=0) != names["labels"])
    assert clean < np.mean(names["attacked"].argmax(axis=0) != names["labels"])
    assert capsys.readouterr().out.count("steps") == 3


def test_why_odes_names_every_study_of_the_two_papers():
    catalogue.load()
    known = {s.name for s in studies()}
    page = (DOCS / "why_odes.md").read_text()
    cited = set(re.findall(r"(?:liu_markowich|lyanet|finite_time)/\w+", page))
    assert cited <= known, cited - known
    wanted = {n for n in known if n.startswith(("lyanet/", "finite_time/"))}
    assert wanted <= cited, wanted - cited
    claimed = {c.id for c in claims(slow=True)}
    quoted = set(re.findall(r"(?:LM|LY|FT|NS)-\d\d", page))
    assert quoted <= claimed, quoted - claimed
