"""Sweeps: every case once, resumed, interrupted, in parallel; the same arrays each time."""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import xarray as xr
from studies_toys import empty_registry, register

from studies.bench import sweep
from studies.bench.environment import code_hash, cores
from studies.bench.progress import Bar, Lines, Silence, reporter
from studies.bench.registry import find_study, study
from studies.bench.sources import local_imports
from studies.bench.store import StoreError, read_case
from studies.bench.sweep import SweepInterrupted, run_sweep

needs_two_cores = pytest.mark.skipif(cores() < 2, reason="two workers need two cores")


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()


def arrays(result: sweep.SweepResult) -> list[bytes]:
    """Every number of every case, in order, as bytes."""
    return [
        read_case(path)[name].values.tobytes()
        for path in result.paths
        for name in ("final", "error", "count")
    ]


def test_a_case_is_a_file(tmp_path: Path):
    result = run_sweep(find_study("toys/decay"), out=tmp_path, progress="none")
    assert result.folder == tmp_path / "toys-decay"
    assert (result.count("done"), result.count("skipped"), result.count("failed")) == (4, 0, 0)
    assert result.exit_code == 0
    assert sorted(result.paths) == sorted(result.folder.glob("case-*.h5"))
    assert all(
        row.sentence == f"Euler made {row.parameters['steps']} steps." for row in result.rows
    )
    for row in result.rows:
        assert row.path is not None
        case = read_case(row.path)
        assert json.loads(case.attrs["parameters"]) == row.parameters
        assert case.attrs["case_hash"] == row.case_hash
        assert row.path.name == f"case-{row.case_hash[:12]}.h5"
        assert int(case["count"]) == row.parameters["steps"]


def test_the_plan_is_written_before_the_first_case(tmp_path: Path):
    seen = []

    def looks(*, index: int = 0) -> xr.Dataset:
        """Is the plan there?"""
        seen.append(json.loads((tmp_path / "toys-looks" / "sweep.json").read_text()))
        return xr.Dataset({"index": index})

    study("toys/looks", paper="Toys")(looks)
    result = run_sweep(find_study("toys/looks"), [{"index": [3, 4]}], tmp_path, progress="none")
    assert [case["parameters"] for case in seen[0]["cases"]] == [{"index": 3}, {"index": 4}]
    assert [case["case_hash"] for case in seen[0]["cases"]] == [
        row.case_hash for row in result.rows
    ]
    assert seen[0]["code_hash"] == code_hash(looks)
    here = Path(__file__)
    assert seen[0]["origin"] == f"{here}:toys/looks"
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    assert seen[0]["command"] == f"continuum run {shown} index=3,4 --out {tmp_path}"


def test_twice_gives_the_same_arrays_bit_for_bit(tmp_path: Path):
    grids = [{"seed": [0, 1], "noisy": [True]}]
    first = run_sweep(find_study("toys/decay"), grids, tmp_path / "a", progress="none")
    again = run_sweep(find_study("toys/decay"), grids, tmp_path / "b", progress="none")
    assert again.count("done") == 2
    assert arrays(first) == arrays(again)
    assert arrays(first)[0] != arrays(first)[3]  # another seed, other numbers


@needs_two_cores
def test_workers_times_threads_is_at_most_the_cores(tmp_path: Path):
    result = run_sweep(find_study("toys/threads"), out=tmp_path, workers=2, progress="none")
    assert result.count("done") == 4
    for path in result.paths:
        case = read_case(path)
        assert 1 <= 2 * int(case["blas"]) <= cores()
        assert 1 <= 2 * int(case["numba"]) <= cores()


def test_any_executor(tmp_path: Path):
    with ThreadPoolExecutor(2) as executor:
        result = run_sweep(
            find_study("toys/decay"), out=tmp_path / "t", executor=executor, progress="none"
        )
        assert executor.submit(int, "1").result() == 1  # it is left running
    assert arrays(result) == arrays(
        run_sweep(find_study("toys/decay"), out=tmp_path / "1", progress="none")
    )


def test_finished_cases_are_skipped_and_damaged_ones_run_again(tmp_path: Path):
    first = run_sweep(find_study("toys/decay"), [{"steps": [4, 5]}], tmp_path, progress="none")
    stamps = [path.stat().st_mtime_ns for path in first.paths]
    more = run_sweep(find_study("toys/decay"), [{"steps": [4, 5, 6]}], tmp_path, progress="none")
    assert [row.outcome for row in more.rows] == ["skipped", "skipped", "done"]
    assert [path.stat().st_mtime_ns for path in first.paths] == stamps
    assert "2 were finished before" in more.status
    content = first.paths[0].read_bytes()
    first.paths[0].write_bytes(content[:-200])
    mended = run_sweep(find_study("toys/decay"), [{"steps": [4, 5]}], tmp_path, progress="none")
    assert [row.outcome for row in mended.rows] == ["done", "skipped"]
    assert int(read_case(first.paths[0])["count"]) == 4


def test_other_code_means_other_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = run_sweep(find_study("toys/decay"), [{"steps": [4]}], tmp_path, progress="none")
    monkeypatch.setattr(sweep, "code_hash", lambda function: "0" * 64)
    second = run_sweep(find_study("toys/decay"), [{"steps": [4]}], tmp_path, progress="none")
    assert second.count("done") == 1
    assert first.paths != second.paths
    assert all(path.is_file() for path in first.paths)
    assert read_case(second.paths[0]).attrs["code_hash"] == "0" * 64


def test_the_code_hash_covers_packages_and_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for package in ("continuum", "solvers"):
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "inner" / "part.py").write_text("x = 1\n")
    find = importlib.util.find_spec

    def found(name: str) -> ModuleSpec | None:
        if name not in ("continuum", "solvers"):
            return find(name)
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path / name)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", found)
    (tmp_path / "own_study.py").write_text(
        "from own_helper import one\n\n\ndef answer():\n    return one()\n"
    )
    (tmp_path / "own_helper.py").write_text("def one():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = __import__("own_study").answer
    seen = [code_hash(function)]
    assert code_hash(function) == seen[0]
    for changed in (
        "continuum/inner/part.py",
        "solvers/inner/part.py",
        "own_study.py",
        "own_helper.py",
        "continuum/__init__.py",
    ):
        path = tmp_path / changed
        path.write_text(path.read_text() + "# changed\n")
        seen.append(code_hash(function))
    (tmp_path / "solvers" / "inner" / "part.py").rename(tmp_path / "solvers" / "part.py")
    seen.append(code_hash(function))
    assert len(set(seen)) == 7


def helpers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A study with helpers of every kind, and the file that each of its imports leads to."""
    sources = {
        "deep_study.py": "from deep_first import one\nimport numpy\n\ndef answer():\n"
        "    from deep_lazy import two\n    return one() + two\n",
        "deep_first.py": "from deep_second import base as b\n\ndef one():\n    return b()\n",
        "deep_second.py": "import deep_pack.low.leaf as leaf\n\ndef base():\n    return leaf.X\n",
        "deep_lazy.py": "two = 2\n",
        "deep_pack/__init__.py": "",
        "deep_pack/low/__init__.py": "from ..upper import Y\n",
        "deep_pack/low/leaf.py": "from . import twig\nX = twig.Z\n",
        "deep_pack/low/twig.py": "from ..upper import Y as Z\n",
        "deep_pack/upper.py": "Y = 1\n",
        "deep_pack/alone.py": "nothing = 0\n",
        "deep_stranger.py": "nothing = 0\n",
    }
    for name, text in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    return {name: folder / name for name in sources}


def test_the_code_hash_follows_helpers_to_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    files = helpers(tmp_path, monkeypatch)
    function = __import__("deep_study").answer
    assert function() == 3
    first = code_hash(function)
    for name, path in files.items():
        content = path.read_text()
        path.write_text(content + "# changed\n")
        changed = code_hash(function) != first
        path.write_text(content)
        assert changed is (name not in ("deep_pack/alone.py", "deep_stranger.py")), name
    assert code_hash(function) == first


def test_helpers_are_found_before_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """And nothing is executed: one of them would raise."""
    files = helpers(tmp_path, monkeypatch)
    files["deep_lazy.py"].write_text("raise RuntimeError\n")
    for name in [m for m in sys.modules if m.startswith("deep_")]:
        monkeypatch.delitem(sys.modules, name)
    found = local_imports(files["deep_study.py"])
    assert set(found) == set(files) - {"deep_study.py", "deep_pack/alone.py", "deep_stranger.py"}
    assert not any(m.startswith("deep_") for m in sys.modules)


def test_a_study_of_this_package_counts_what_it_shares():
    own = local_imports(Path(sweep.__file__).parent.parent / "liu_markowich" / "bang_bang.py")
    assert {"studies/liu_markowich/paper.py", "studies/shared.py"} <= set(own)
    assert not any("numpy" in name or "pathlib" in name for name in own)


def test_a_failing_case_is_a_row_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    result = run_sweep(find_study("toys/faulty"), out=tmp_path, progress="lines")
    assert [row.outcome for row in result.rows] == ["done", "failed", "done"]
    assert result.rows[1].sentence == "ArithmeticError: one is not allowed"
    assert result.rows[1].path is None
    assert result.exit_code == 1
    (failure,) = (result.folder / "failed").iterdir()
    kept = json.loads(failure.read_text())
    assert kept["parameters"] == {"index": 1}
    assert "Traceback" in kept["details"]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("[1/3] index=0 0.")
    assert lines[1] == "[2/3] index=1 failed: ArithmeticError: one is not allowed"
    assert len(lines) == 3


def test_a_case_that_succeeds_later_is_no_longer_a_failure(tmp_path: Path):
    broken = [True]

    def mended(*, index: int = 0) -> xr.Dataset:
        """It fails once."""
        if broken[0]:
            raise RuntimeError("not yet")
        return xr.Dataset({"index": index})

    study("toys/mended", paper="Toys")(mended)
    assert run_sweep(find_study("toys/mended"), out=tmp_path, progress="none").exit_code == 1
    broken[0] = False
    result = run_sweep(find_study("toys/mended"), out=tmp_path, progress="none")
    assert result.exit_code == 0
    assert list((result.folder / "failed").iterdir()) == []


def test_what_is_not_a_dataset_is_a_failure(tmp_path: Path):
    def wrong(*, index: int = 0) -> xr.Dataset:
        """It returns a number."""
        return index  # type: ignore[return-value]

    study("toys/wrong", paper="Toys")(wrong)
    (row,) = run_sweep(find_study("toys/wrong"), out=tmp_path, progress="none").rows
    assert row.sentence == "TypeError: study 'toys/wrong' must return an xarray.Dataset, got int"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=needs_two_cores)])
def test_a_case_that_takes_too_long_is_stopped(tmp_path: Path, workers: int):
    """In compiled code that holds Python's lock; the others go on, and a later sweep, too."""
    found = find_study("toys/stubborn")
    result = run_sweep(found, out=tmp_path, workers=workers, max_seconds=5.0, progress="none")
    assert [row.outcome for row in result.rows] == ["done", "failed", "done", "done"]
    assert result.rows[1].sentence == "TimeoutError: it ran for more than 5 s and was stopped"
    assert len(list((result.folder / "failed").iterdir())) == 1
    assert list(result.folder.rglob(".*.tmp")) == []
    plan = json.loads((result.folder / "sweep.json").read_text())
    assert plan["command"].endswith("--max-seconds 5")
    rest = run_sweep(found, [{"index": [0, 2, 4]}], tmp_path, max_seconds=60.0, progress="none")
    assert [row.outcome for row in rest.rows] == ["skipped", "skipped", "done"]


def test_the_time_of_a_case_is_a_positive_number_of_seconds_here(tmp_path: Path):
    found = find_study("toys/decay")
    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="max_seconds must be finite and positive"):
            run_sweep(found, out=tmp_path, max_seconds=seconds)
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="not for an executor"):
        run_sweep(found, out=tmp_path, max_seconds=1.0, executor=executor)
    assert not list(tmp_path.iterdir())


@needs_two_cores
def test_a_study_that_workers_cannot_import_is_told(tmp_path: Path):
    def local(*, index: int = 0) -> xr.Dataset:
        """It cannot be pickled."""
        return xr.Dataset({"index": index})

    study("toys/local", paper="Toys")(local)
    result = run_sweep(
        find_study("toys/local"), [{"index": [0, 1]}], tmp_path, workers=2, progress="none"
    )
    assert [row.outcome for row in result.rows] == ["failed", "failed"]
    assert "local" in result.rows[0].sentence


def test_bad_input_comes_before_any_case(tmp_path: Path):
    ran = []

    def records(*, index: int = 0) -> xr.Dataset:
        """It records that it ran."""
        ran.append(index)
        return xr.Dataset({"index": index})

    study("toys/records", paper="Toys")(records)
    found = find_study("toys/records")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the folder .*file/x/toys-records cannot be written to"):
        run_sweep(found, out=tmp_path / "file" / "x")
    with pytest.raises(ValueError, match="Did you mean 'index'"):
        run_sweep(found, [{"index": [0]}, {"indx": [0]}], tmp_path)
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        run_sweep(found, out=tmp_path, workers=0)
    with pytest.raises(ValueError, match=f"workers must be at most {cores()}"):
        run_sweep(found, out=tmp_path, workers=cores() + 1)
    assert ran == []
    assert not (tmp_path / "toys-records" / "sweep.json").exists()


def test_interrupt_in_a_script(tmp_path: Path):
    def interrupted(*, index: int = 0) -> xr.Dataset:
        """Ctrl-C in case 2."""
        if index == 2:
            raise KeyboardInterrupt
        return xr.Dataset({"index": index})

    study("toys/interrupted", paper="Toys")(interrupted)
    with pytest.raises(
        SweepInterrupted, match="2 of 4 cases are finished; the same command resumes"
    ):
        run_sweep(find_study("toys/interrupted"), [{"index": range(4)}], tmp_path, progress="none")
    assert len(list((tmp_path / "toys-interrupted").glob("case-*.h5"))) == 2


SCRIPT = """
import sys
import studies_toys
from studies.cli import main

studies_toys.register()
if __name__ == "__main__":
    sys.exit(main())
"""


@contextlib.contextmanager
def sweeping(
    folder: Path, workers: str
) -> Iterator[tuple[list[str], dict[str, str], subprocess.Popen[str]]]:
    """`continuum run toys/slow` in a process group of its own: the command, its environment, the
    process.
    """
    script = folder / "command.py"
    script.write_text(SCRIPT)
    command = [
        sys.executable,
        str(script),
        "run",
        "toys/slow",
        "--out",
        str(folder),
        "--workers",
        workers,
    ]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": paths}
    with subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        try:
            yield command, environ, process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> list[str]:
    """Ctrl-C as a terminal sends it, to the workers too; what is said from then on."""
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    rest = process.stderr.read()
    assert process.wait(timeout=30) == 130
    assert "Traceback" not in rest
    return rest.splitlines()


@pytest.mark.parametrize(
    "workers", ["1", pytest.param("2", marks=[needs_two_cores, pytest.mark.slow])]
)
def test_ctrl_c_in_mid_sweep(tmp_path: Path, workers: str):
    with sweeping(tmp_path, workers) as (command, environ, process):
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[2/6]"):
                break
        said = interrupt(process)
    files = {path: path.read_bytes() for path in (tmp_path / "toys-slow").glob("case-*.h5")}
    assert 2 <= len(files) < 6
    assert said[-1] == f"continuum: {len(files)} of 6 cases are finished; the same command resumes"
    assert all(int(read_case(path)["square"]) >= 0 for path in files)
    assert list((tmp_path / "toys-slow").glob(".*.tmp")) == []

    again = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environ
    )
    assert again.returncode == 0, again.stderr
    assert (
        f"Of 6 cases {6 - len(files)} were run, {len(files)} were finished before." in again.stdout
    )
    assert len(list((tmp_path / "toys-slow").glob("case-*.h5"))) == 6
    assert all(path.read_bytes() == content for path, content in files.items())


@needs_two_cores
def test_ctrl_c_while_workers_start(tmp_path: Path):
    with sweeping(tmp_path, "2") as (_, _, process):
        while not (tmp_path / "toys-slow" / "sweep.json").exists():
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(0.3)  # the workers are importing
        assert interrupt(process) == [
            "continuum: 0 of 6 cases are finished; the same command resumes"
        ]


def test_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert type(reporter("auto", 3)) is Lines
    assert type(reporter("none", 3)) is Silence
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(reporter("auto", 3)) is Bar
    with reporter("bar", 2) as bar:
        bar.report(1, "depth=1 failed: [bold] no", True)
    assert "depth=1 failed: [bold] no" in capsys.readouterr().err
