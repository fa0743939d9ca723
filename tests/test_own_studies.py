"""Studies of the user's own: from a file, a module, an installed package, a script."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from studies_toys import empty_registry

from studies import find_study, run_sweep
from studies.bench import registry
from studies.bench.environment import code_hash, cores
from studies.bench.store import read_case
from studies.cli import main

ROOT = Path(__file__).parent.parent
needs_two_cores = pytest.mark.skipif(cores() < 2, reason="two workers need two cores")

STUDY = '''
from typing import Annotated
import xarray as xr
from annotated_types import Gt, Le
from my_helper import factor
from studies import study

@study("mine/NAME", paper="Mine", cases=[{"gains": [0.25, 0.5]}])
def NAME(*, gains: Annotated[float, Gt(0), Le(100)] = 1.0, label: str = "a") -> xr.Dataset:
    """What is twice the gain?"""
    return xr.Dataset({"answer": factor * gains})
'''


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with my_study.py and its helper, an empty registry, nothing imported."""
    empty_registry(monkeypatch)
    failed: dict[str, str] = {}
    monkeypatch.setattr(registry, "FAILED", failed)
    monkeypatch.setattr("studies.bench.origins.FAILED", failed)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_helper.py").write_text("factor = 2.0\n")
    (tmp_path / "my_study.py").write_text(STUDY.replace("NAME", "gains"))
    yield tmp_path
    for name in [m for m in sys.modules if m.startswith("my_")]:
        del sys.modules[name]


def said(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """What a command writes: on standard error, in one line, if it is refused."""
    assert main(arguments) == code
    captured = capsys.readouterr()
    if code != 2:
        return captured.out
    (line,) = captured.err.splitlines()
    return line.removeprefix("continuum: ")


def answers(folder: Path) -> list[float]:
    return sorted(float(read_case(path)["answer"]) for path in folder.glob("case-*.h5"))


def command_in(page: Path) -> list[str]:
    """The words of "How to get it again" behind `continuum`."""
    found = re.search(r"How to get it again</h2><pre>(.*?)</pre>", page.read_text())
    assert found
    command, *words = shlex.split(found[1].replace("&#x27;", "'"))
    assert command == "continuum"
    return words


def forget_imports() -> None:
    """As in a new process."""
    registry.forget([study.name for study in registry.registered()])
    for name in [m for m in sys.modules if m.startswith("my_")]:
        del sys.modules[name]


def test_a_file(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert "Of 2 cases 2 were run" in said(["run", "my_study.py", "gains=0.5,1.0"], capsys)
    results = folder / "results" / "mine-gains"
    assert answers(results) == [1.0, 2.0]
    forget_imports()
    again = command_in(results / "report.html")
    assert again[:3] == ["run", "my_study.py", "gains=0.5,1.0"]
    assert "2 were finished before" in said(again, capsys)
    forget_imports()
    (results / "report.html").unlink()
    said(["report", "results/mine-gains"], capsys)
    assert (results / "report.html").is_file()
    forget_imports()
    assert "gains=1.0 (> 0, <= 100)" in said(["list", "my_study.py"], capsys)


def test_a_file_in_another_folder_that_moves(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "mine").mkdir()
    for name in ("my_study.py", "my_helper.py"):
        (folder / name).rename(folder / "mine" / name)
    said(["run", "mine/my_study.py"], capsys)
    forget_imports()
    (folder / "mine").rename(folder / "moved")
    line = said(["report", "results/mine-gains"], capsys, 2)
    assert re.search(
        r"study 'mine/gains' of this sweep is not found: there is no file .*--study", line
    )
    said(["report", "results/mine-gains", "--study", "moved/my_study.py"], capsys)


@pytest.mark.parametrize("values", [[], ["tone=b", "gains=0.5,2.0"]])
def test_a_lost_plan_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str], values: list[str]):
    """sweep.json knew the file; without it the file must be told."""
    text = (folder / "my_study.py").read_text()
    (folder / "my_study.py").write_text(text.replace("*, gains", "*, tone: str = 'a', gains"))
    said(["run", "my_study.py", *values], capsys)
    results = folder / "results" / "mine-gains"
    before = json.loads((results / "sweep.json").read_text())
    (results / "sweep.json").unlink()
    forget_imports()
    for command in ("report", "clean"):
        line = said([command, "results/mine-gains"], capsys, 2)
        assert line == (
            "results/mine-gains/sweep.json is lost or damaged, and with it where the study "
            "'mine/gains' is: continuum report results/mine-gains --study FILE.py makes it again"
        )
    assert not (results / "sweep.json").exists()
    said(["report", "results/mine-gains", "--study", "my_study.py"], capsys)
    after = json.loads((results / "sweep.json").read_text())
    for key in ("study", "title", "origin", "code_hash", "versions"):
        assert after[key] == before[key], key
    assert sorted(after["cases"], key=str) == sorted(before["cases"], key=str)
    forget_imports()
    assert "2 were finished before" in said(command_in(results / "report.html"), capsys)
    forget_imports()
    assert "no cases of older code" in said(["clean", "results/mine-gains"], capsys)


def test_a_lost_plan_of_a_study_that_has_changed(folder: Path, capsys: pytest.CaptureFixture[str]):
    said(["run", "my_study.py"], capsys)
    results = folder / "results" / "mine-gains"
    (results / "sweep.json").unlink()
    forget_imports()
    text = (folder / "my_study.py").read_text()
    (folder / "my_study.py").write_text(
        text.replace("gains:", "level:").replace("* gains", "* level").replace('"gains"', '"level"')
    )
    said(["report", "results/mine-gains", "--study", "my_study.py"], capsys)
    page = (results / "report.html").read_text()
    assert "2 of 2 cases are finished" in page
    assert "not with the study as it is now: unknown parameter" in page


def test_bounds_are_kept_before_a_case_runs(folder: Path, capsys: pytest.CaptureFixture[str]):
    line = said(["run", "my_study.py", "gains=1e300"], capsys, 2)
    assert line == (
        "parameter 'gains' of study 'mine/gains' must be a finite number > 0 and <= 100, "
        "got '1e300'"
    )
    assert not (folder / "results").exists()


def test_a_module_of_two_studies(folder: Path, capsys: pytest.CaptureFixture[str]):
    package = folder / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "my_two.py").write_text(
        STUDY.replace("NAME", "gains") + STUDY.replace("NAME", "losses")
    )
    wanted = "registers 2 studies; say which: {0}:gains or {0}:losses"
    line = said(["run", "my_package.my_two"], capsys, 2)
    assert line.endswith(wanted.format("my_package.my_two"))
    line = said(["run", "my_package/my_two.py"], capsys, 2)
    assert line.endswith(wanted.format("my_package/my_two.py"))
    line = said(["run", "my_package.my_two:gians"], capsys, 2)
    assert line.startswith(
        "unknown study of my_package.my_two, 'gians'. Did you mean 'mine/gains'?"
    )
    assert "2 were run" in said(["run", "my_package.my_two:gains"], capsys)
    forget_imports()
    again = command_in(folder / "results" / "mine-gains" / "report.html")
    assert again[:2] == ["run", "my_package.my_two:gains"]
    assert "2 were finished before" in said(again, capsys)
    forget_imports()
    assert "2 were finished before" in said(["run", "my_package/my_two.py:mine/gains"], capsys)
    forget_imports()
    said(["report", "results/mine-gains"], capsys)
    table = said(["list", "my_package.my_two"], capsys)
    assert "mine/gains" in table
    assert "mine/losses" in table
    assert "mine/gains" not in said(["list", "my_package.my_two:losses"], capsys)


def test_an_installed_package(folder: Path, capsys: pytest.CaptureFixture[str]):
    site = folder / "site-packages"
    for name, text in {
        "my_plugin.py": STUDY.replace("NAME", "plugged"),
        "my_helper.py": "factor = 2.0\n",
        "mine-1.0.dist-info/METADATA": "Name: mine\nVersion: 1.0\n",
        "mine-1.0.dist-info/entry_points.txt": "[continuum.studies]\nmine = my_plugin\n"
        "broken = my_missing:study\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    sys.path.insert(0, str(site))
    assert main(["list"]) == 0
    captured = capsys.readouterr()
    assert "mine/plugged" in captured.out
    assert captured.err.startswith(
        "continuum: my_missing:study could not be loaded: ModuleNotFound"
    )
    forget_imports()
    assert "2 were run" in said(["run", "mine/plugged"], capsys)
    done = run_sweep(find_study("mine/plugged"), [{"gains": [0.5]}], "results", progress="none")
    plan = json.loads((done.folder / "sweep.json").read_text())
    assert plan["command"] == "continuum run mine/plugged gains=0.5 label=a"
    forget_imports()
    said(["report", "results/mine-plugged"], capsys)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", r"my_bad.py registers no study: it needs a function under @study\(.*"),
        (
            "import xarray\nx = 1 / 0\n",
            r"my_bad.py could not be imported: ZeroDivisionError: .* \(my_bad.py, line 2\)",
        ),
        ("def f(:\n", r"my_bad.py could not be imported: SyntaxError: .*\(my_bad.py, line 1\)"),
        (
            "import sys\nsys.exit(3)\n",
            r"my_bad.py could not .*: SystemExit: 3 \(my_bad.py, line 2\)",
        ),
        (
            STUDY.replace('    """What is twice the gain?"""\n', ""),
            r"my_bad.py could not .*: study 'mine/NAME' needs a docstring.* \(my_bad.py, line 8\)",
        ),
        (
            STUDY.replace("mine/NAME", "turnpike/two_arcs"),
            r"my_bad.py could not .*'turnpike/two_arcs' is registered already, by studies.*",
        ),
    ],
)
def test_files_that_are_no_study(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str, sentence: str
):
    registry.expect([registry.Entry("study", "turnpike/two_arcs", "studies.turnpike.two_arcs")])
    (folder / "my_bad.py").write_text(text)
    for _ in range(2):
        assert re.fullmatch(sentence, said(["run", "my_bad.py"], capsys, 2))


def test_what_is_not_there(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "json.py").write_text("")
    (folder / "my.dots.py").write_text("")
    for where, sentence in (
        ("my_stody.py", "there is no file my_stody.py"),
        ("no_such.my_study", "there is no module no_such.my_study"),
        ("json.py", "json.py has the name of another module"),
        ("my.dots.py", "my.dots.py has a name that Python cannot import; rename it"),
        ("mine/gains", "unknown study 'mine/gains'"),
    ):
        assert said(["run", where], capsys, 2).startswith(sentence)
    assert said(["list", "mine/gainz"], capsys, 2).startswith("unknown paper or study 'mine/gainz'")


def test_a_file_counts_in_the_code_hash_with_what_it_imports(folder: Path):
    function = find_study("my_study.py").function
    seen = {code_hash(function)}
    for name in ("my_study.py", "my_helper.py"):
        path = folder / name
        path.write_text(path.read_text() + "# changed\n")
        seen.add(code_hash(function))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("grids", "command"),
    [
        (None, "continuum run my_study.py"),
        ([{"gains": [0.25, 0.5], "label": "a"}], "continuum run my_study.py"),
        ([{"gains": [0.5]}, {"gains": 2.0}], "continuum run my_study.py gains=0.5,2.0 label=a"),
        ([{"label": "a b"}], "continuum run my_study.py gains=1.0 'label=a b'"),
        ([{"gains": 0.5, "label": "b"}, {"gains": 2.0}], ""),
        ([{"label": "a,b"}], ""),
    ],
)
def test_how_to_get_it_again_from_a_script(
    folder: Path, capsys: pytest.CaptureFixture[str], grids: list, command: str
):
    """Where no command gives the cases, Python does."""
    done = run_sweep(find_study("my_study.py"), grids, progress="none")
    shown = json.loads((done.folder / "sweep.json").read_text())["command"]
    forget_imports()
    if command:
        assert shown == command
        out = said(shlex.split(shown)[1:], capsys)
        assert f"{len(done.rows)} were finished before" in out
    else:
        names: dict = {}
        exec(shown.replace("run_sweep(find", "again = run_sweep(find"), names)
        assert [row.case_hash for row in names["again"].rows] == [r.case_hash for r in done.rows]
        assert names["again"].count("skipped") == len(done.rows)


def test_options_are_in_the_command(folder: Path):
    done = run_sweep(find_study("my_study.py"), out=folder / "else where", progress="none")
    shown = json.loads((done.folder / "sweep.json").read_text())["command"]
    assert shown == f"continuum run my_study.py --out '{folder}/else where'"


SCRIPT = (
    STUDY.replace("NAME", "gains")
    + """
if __name__ == "__main__":
    import sys
    from studies import find_study, run_sweep, write_report
    done = run_sweep(find_study(__file__), [{"gains": [0.5, 1.5]}], workers=WORKERS)
    print(done.status, write_report(done.folder))
"""
)


@pytest.mark.slow
@needs_two_cores
@pytest.mark.parametrize("workers", [1, 2])
def test_a_script_and_the_command_share_cases(folder: Path, workers: int):
    (folder / "my_study.py").write_text(SCRIPT.replace("WORKERS", str(workers)))
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, timeout=120, env=environ
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Of 2 cases 2 were run." in run("my_study.py")
    again = command_in(folder / "results" / "mine-gains" / "report.html")
    assert again[:2] == ["run", "my_study.py"]
    assert "2 were finished before." in run("-m", "studies.cli", *again)
    values = ("gains=0.5,1.5,3,6", "--workers", "2")
    assert "2 were run, 2 were finished" in run("-m", "studies.cli", "run", "my_study.py", *values)
    assert answers(folder / "results" / "mine-gains") == [1.0, 3.0, 6.0, 12.0]


def test_a_study_that_has_moved(folder: Path, capsys: pytest.CaptureFixture[str]):
    said(["run", "my_study.py", "gains=0.5,1.0"], capsys)
    for name in ("my_study.py", "my_helper.py"):
        (folder / "elsewhere").mkdir(exist_ok=True)
        (folder / name).rename(folder / "elsewhere" / name)
    forget_imports()
    refused = said(["clean", "results/mine-gains"], capsys, 2)
    assert "--study FILE.py on the command line" in refused
    moved = ["--study", "elsewhere/my_study.py"]
    assert "no cases of older code" in said(["clean", "results/mine-gains", *moved], capsys)
    (folder / "elsewhere" / "my_helper.py").write_text("factor = 3.0\n")
    forget_imports()
    assert "2 files of older code" in said(["clean", "results/mine-gains", *moved], capsys)


def test_the_report_says_that_files_were_damaged(folder: Path, capsys: pytest.CaptureFixture[str]):
    said(["run", "my_study.py", "gains=0.5,1.0"], capsys)
    first = sorted((folder / "results/mine-gains").glob("case-*.h5"))[0]
    first.write_bytes(first.read_bytes()[:-1])
    assert main(["report", "results/mine-gains"]) == 0
    told = capsys.readouterr()
    assert "continuum: 1 damaged file was set aside, in results/mine-gains/damaged" in told.err
    page = (folder / "results/mine-gains/report.html").read_text()
    assert "Without an answer, 1: gains=" in page
    assert main(["report", "results/mine-gains"]) == 0
    assert capsys.readouterr().err == ""
