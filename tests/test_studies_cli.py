"""The command: what it prints, its exit codes, and one line for bad input."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import xarray as xr
from studies_toys import decay, empty_registry, register

from continuum.arrays import find_gpu
from solvers.adjoint import chain_adjoint, chain_second_order
from solvers.flow import chain_loops
from studies.bench import benches, loops
from studies.bench.registry import claim, study
from studies.bench.store import read_case
from studies.cli import main

slow = pytest.mark.slow


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()
    for name, value in (("TOY-1", 1.0), ("TOY-2", 2.0)):
        claim(
            name,
            statement=f"{name} is 1.",
            paper=f"paper{value:.0f}",
            references={"x": 1.0},
            tolerance=0.5,
            reason="r",
        )({"x": value}.copy)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line on standard error."""
    assert main(arguments) == code
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("continuum: ")
    return line


def test_run_prints_where_the_report_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "toys/decay", "rate=2", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out.splitlines()
    page = tmp_path / "toys-decay" / "report.html"
    assert out == ["Of 4 cases 4 were run.", f"report: {page}"]
    assert f"continuum run toys/decay rate=2 --out {tmp_path}<" in page.read_text()
    cases = [read_case(path) for path in (tmp_path / "toys-decay").glob("case-*.h5")]
    assert sorted(int(case["count"]) for case in cases) == [8, 16, 32, 64]
    assert {json.loads(case.attrs["parameters"])["rate"] for case in cases} == {2.0}

    page.unlink()
    assert main(["report", str(tmp_path / "toys-decay")]) == 0
    assert page.is_file()


def test_a_failing_case_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["run", "toys/faulty", "--out", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "continuum: index=1 failed: ArithmeticError: one is not allowed" in captured.err
    assert "report: " in captured.out
    assert (tmp_path / "toys-faulty" / "report.html").is_file()


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    inside = str(tmp_path / "file" / "x")
    out = ["--out", str(tmp_path)]
    for arguments, message in (
        (["run", "toys/dekay"], "unknown study 'toys/dekay'. Did you mean 'toys/decay'?"),
        (["run", "toys/decay", "stps=4", *out], "unknown parameter 'stps'. Did you mean 'steps'?"),
        (
            ["run", "toys/decay", "seed=abc", *out],
            "parameter 'seed' of study 'toys/decay' must be an integer, got 'abc'",
        ),
        (["run", "toys/decay", "seed=1.5", *out], "must be an integer, got '1.5'"),
        (
            ["run", "toys/decay", "--workers", "two", *out],
            "'--workers': it must be an integer, got 'two'",
        ),
        (["run", "toys/decay", "--workers", "0", *out], "workers must be at least 1, got 0"),
        (["run", "toys/decay", "--out", inside], "cannot be written to"),
        (["run", "toys/decay", "--outt", inside], "No such option"),
        (["run"], "Missing argument"),
        (["rnu"], "No such command 'rnu'"),
        (["report", str(tmp_path)], "there is no sweep in"),
        (["portrait", "sadle"], "unknown portrait 'sadle'. Did you mean 'saddle'?"),
        (["portrait", "saddle", "--out", inside + "/p.png"], "cannot be written to"),
        (["verify", "--paper", "paper3"], "unknown paper 'paper3'"),
        (["verify", "--json", inside + "/v.json"], "cannot be written to"),
        (["verify", "--json", str(tmp_path)], "is a folder; name a file"),
        (["portrait", "saddle", "--out", str(tmp_path)], "is a folder; name a file"),
        (["run", "toys/decay", "--max-seconds", "0", *out], "max_seconds must be finite and pos"),
        (["clean", str(tmp_path)], "there is no sweep in"),
        (["bench", "no-such-benchmark"], "benchmark"),
    ):
        assert message in refused(arguments, capsys), arguments
    assert list(tmp_path.glob("**/case-*.h5")) == []


def test_figures_that_cannot_be_drawn_are_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    study("toys/broken", paper="Toys", plot=lambda cases: [cases[99]])(decay)  # type: ignore[list-item]
    assert main(["run", "toys/broken", "--out", str(tmp_path)]) == 1
    assert "the figures could not be drawn: IndexError" in capsys.readouterr().err
    assert (tmp_path / "toys-broken" / "report.html").is_file()


def test_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["verify", "--paper", "paper1"]) == 0
    assert "TOY-1  passed" in capsys.readouterr().out
    assert main(["verify", "--json", str(tmp_path / "v.json")]) == 1
    assert "TOY-2  FAILED" in capsys.readouterr().out
    rows = json.loads((tmp_path / "v.json").read_text())
    assert [(row["id"], row["error"], row["passed"]) for row in rows] == [
        ("TOY-1", 0.0, True),
        ("TOY-2", 1.0, False),
    ]


def test_verify_leaves_slow_claims_to_slow(capsys: pytest.CaptureFixture[str]):
    claim(
        "TOY-3",
        statement="s",
        paper="paper1",
        references={"x": 0.0},
        tolerance=0.1,
        reason="r",
        slow=True,
    )({"x": 1.0}.copy)
    assert main(["verify", "--paper", "paper1"]) == 0
    assert "TOY-3" not in capsys.readouterr().out
    assert main(["verify", "--paper", "paper1", "--slow"]) == 1


def test_list(capsys: pytest.CaptureFixture[str]):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for part in (
        "toys/decay",
        "how wrong is it?",
        "Toys (1), Figure 1",
        "steps=8",
        "paper1: 1 claims TOY-1",
    ):
        assert part in out


def test_list_of_one_paper_or_study(capsys: pytest.CaptureFixture[str]):
    assert main(["list", "paper1"]) == 0
    out = capsys.readouterr().out
    assert "paper1: 1 claims TOY-1" in out
    assert "toys/" not in out
    assert main(["list", "toys"]) == 0
    out = capsys.readouterr().out
    assert "toys/decay" in out
    assert "toys/slow" in out
    assert "paper1" not in out
    assert main(["list", "toys/decay"]) == 0
    assert "toys/slow" not in capsys.readouterr().out
    assert main(["list", "toy"]) == 2
    assert "unknown paper or study 'toy'. Did you mean 'toys'?" in capsys.readouterr().err


def test_info(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONTINUUM_DATA", "/somewhere")
    assert main(["info"]) == 0
    facts = dict(
        line.split(maxsplit=1)
        for line in capsys.readouterr().out.splitlines()
        if not line.startswith("data")
    )
    assert facts["numpy"] == __import__("numpy").__version__
    assert facts["python"].count(".") == 2
    assert int(facts["cores"]) >= 1
    assert "threads" in facts["threads"]
    carry, found = find_gpu()
    assert facts["gpu"] == (found if carry is not None else f"no ({found})")
    main(["info"])
    assert "data folder          /somewhere" in capsys.readouterr().out


def test_the_portraits_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["portrait", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("saddle_disc ") and "whole plane" in line for line in lines)
    assert main(["portrait"]) == 2
    assert "`continuum portrait --list` names them" in capsys.readouterr().err


def test_portrait(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["portrait", "spiral_sink", "--out", str(tmp_path / "new" / "p.png")]) == 0
    assert (tmp_path / "new" / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert f"portrait: {tmp_path / 'new' / 'p.png'}" in capsys.readouterr().out


SCRIPT = """
import json, sys
if "--json" in sys.argv:
    row = {"name": NAME, "seconds": 1.0}
    with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:
        file.write(json.dumps({"machine": "m", "rows": [row]}))
sys.exit(CODE)
"""


def test_bench(tmp_path: Path):
    for name, code in (("forward", 0), ("gradient", 0), ("_peers", 3)):
        (tmp_path / f"{name}.py").write_text(
            SCRIPT.replace("NAME", repr(name)).replace("CODE", str(code))
        )
    assert benches.run_benchmarks(None, tmp_path / "b.json", tmp_path) == 0
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["machine"] == "m"
    assert [row["name"] for row in written["rows"]] == ["forward", "gradient"]
    with pytest.raises(ValueError, match=r"unknown benchmark 'forwrd'. Did you mean 'forward'"):
        benches.run_benchmarks("forwrd", None, tmp_path)
    (tmp_path / "gradient.py").write_text("raise SystemExit(3)")
    assert benches.run_benchmarks("forward", None, tmp_path) == 0
    assert benches.run_benchmarks(None, None, tmp_path) == 1
    with pytest.raises(ValueError, match="are run from a source checkout"):
        benches.run_benchmarks(None, None, tmp_path / "nowhere")


def test_compile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The problems run, and by the loops that are to be compiled."""
    for share in loops._SHARES:
        assert [kind for kind, _ in loops._solved(share)] == list(share)
    for loop in (chain_loops.advance, chain_adjoint.adjoint, chain_second_order.second_order):
        assert loop.signatures, loop
    monkeypatch.setattr(loops, "compile_loops", lambda: iter([("steps", 1.25)]))
    assert main(["compile"]) == 0
    assert capsys.readouterr().out == "steps: 1.2 s\n"


def test_interrupt(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def interrupted(*, index: int = 0) -> xr.Dataset:
        """Ctrl-C at once."""
        raise KeyboardInterrupt

    study("toys/interrupted", paper="Toys")(interrupted)
    line = refused(["run", "toys/interrupted", "--out", str(tmp_path)], capsys, code=130)
    assert line == "continuum: 0 of 1 cases are finished; the same command resumes"


def test_the_command_itself():
    start = time.perf_counter()
    command = [sys.executable, "-m", "studies.cli", "run", "no/such"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("continuum: unknown study 'no/such'")
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - start < 20.0


WITHOUT_DOCSTRINGS = """
import sys
from pytest import MonkeyPatch
from studies.cli import main
from studies_toys import empty_registry, register
from studies.bench.registry import claim
empty_registry(MonkeyPatch())
register()
claim("TOY", statement="x is 1.", paper="toys", references={"x": 1.0}, tolerance=0.5, reason="r")(
    {"x": 1.0}.copy
)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["list"], "Euler's method for x' = -rate x", id="list", marks=slow),
        pytest.param(["info"], "numpy", id="info", marks=slow),
        pytest.param(
            ["verify"], "1 claims, 1 numbers, 0 outside tolerance", id="verify", marks=slow
        ),
        pytest.param(
            ["portrait", "saddle", "--out", "p.png"], "portrait: p.png", id="portrait", marks=slow
        ),
        pytest.param(
            ["run", "toys/decay", "steps=4,8", "--out", "."], "Of 2 cases 2 were run.", id="run"
        ),
        pytest.param(["--help"], "verify", id="help"),
    ],
)
def test_without_docstrings_and_assertions(arguments: list[str], said: str, tmp_path: Path):
    """python -OO drops both; what studies ask is read from their source then."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-OO", "-c", WITHOUT_DOCSTRINGS, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    if arguments[0] == "run":
        page = (tmp_path / "toys-decay" / "report.html").read_text()
        assert "The state is compared with the exact one" in page


@pytest.mark.parametrize("command", [["verify"], ["list"], ["bench", "imports"]])
def test_ctrl_c_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("studies.bench.verify.verify", interrupt)
    monkeypatch.setattr("studies.bench.listing.print_listing", interrupt)
    monkeypatch.setattr("studies.bench.benches.run_benchmarks", interrupt)
    assert main(command) == 130
    assert capsys.readouterr().err == "continuum: interrupted\n"
