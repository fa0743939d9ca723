"""Sweeps on a Dask cluster: real schedulers and workers on 127.0.0.1, killed at bad moments."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from studies_toys import empty_registry, register

from studies import cli
from studies.bench import cluster
from studies.bench.errors import ClusterError
from studies.bench.registry import find_study, study
from studies.bench.store import read_case, read_header

try:
    import distributed
except ModuleNotFoundError:  # it is an extra
    distributed = None

TESTS = Path(__file__).parent
START = 180.0  # seconds that a process may take to start, or to be missed


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    empty_registry(monkeypatch)
    register()


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    load = cluster.importlib.import_module

    def absent(name: str) -> object:
        if name in ("distributed", "dask_jobqueue"):
            raise ModuleNotFoundError(name)
        return load(name)

    monkeypatch.setattr(cluster.importlib, "import_module", absent)
    assert cli.main(["run", "toys/slow", "--scheduler", "tcp://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert "a cluster needs the package distributed: pip install distributed dask-jobqueue" in said
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--scheduler tcp://x:1 --cluster slurm", "give either --scheduler or --cluster"),
        ("--scheduler tcp://x:1 --workers 1", "--workers is for processes on this machine, or"),
        ("--scheduler tcp://x:1 --max-seconds 9", "--max-seconds is for processes on this"),
        ("--cluster slurm --max-seconds 9", "--max-seconds is for processes on this machine"),
        ("--cluster slurp", "unknown cluster 'slurp'"),
        *(
            (f"--scheduler={wrong}", f"such as tcp://head:8786, got '{wrong}'")
            for wrong in ("", "head", "tcp//head:8786", "tcp://head", "tcp://head:x", "head:65536")
        ),
    ],
)
def test_what_cannot_be_meant_is_told_before_anybody_is_called(
    options: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.setattr(cluster, "_needed", lambda package: pytest.fail(f"{package} was loaded"))
    assert cli.main(["run", "toys/slow", "--out", str(tmp_path), *options.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_a_worker_with_other_code_is_told():
    here = ("a" * 64, {"python": "3.12", "numpy": "2"})
    assert cluster._difference(here, here) == ""
    other = ("b" * 64, {"python": "3.12", "numpy": "2"})
    assert cluster._difference(here, other).startswith("has other code: its hash is bbbbbbbbbbbb")
    other = ("a" * 64, {"python": "3.12", "numpy": "1"})
    assert cluster._difference(here, other) == "has numpy 1, and this process 2"


def test_a_study_of_the_script_itself_is_refused():
    def local(*, index: int = 0) -> xr.Dataset:
        """It is of the script."""
        return xr.Dataset({"index": index})

    local.__module__ = "__main__"
    study("toys/local", paper="Toys")(local)
    with (
        pytest.raises(ClusterError, match="workers cannot import: put it into a module"),
        cluster.cluster_executor(find_study("toys/local"), "tcp://127.0.0.1:1"),
    ):
        pass


SCRIPT = """
import sys
import studies_toys
import test_studies_cluster as toys
from studies.bench.registry import study
from studies.cli import main

studies_toys.register()
study("toys/greedy", paper="Toys", cases=[{"index": range(6)}])(toys.greedy)
if __name__ == "__main__":
    sys.exit(main())
"""


def greedy(*, index: int = 0, hungry: int = 3, megabytes: int = 1000) -> xr.Dataset:
    """One case asks for more memory than its worker may have, and waits to be ended for it."""
    if index == hungry:
        held = [np.ones((125, 1000)) for _ in range(megabytes)]
        time.sleep(START)
        return xr.Dataset({"square": float(held[0].sum())})
    return xr.Dataset({"square": index**2})


def environ() -> dict[str, str]:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": paths, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Cluster:
    """A scheduler and workers, each a process, all on 127.0.0.1, in the folder `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def spawn(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"log-{len(self.processes)}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
                stdout=log,
                stderr=log,
                env=environ(),
                cwd=self.folder,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_scheduler(self) -> None:
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"]
        self.scheduler = self.spawn("dask_scheduler", *options)
        limit = time.monotonic() + START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            assert time.monotonic() < limit, "the scheduler does not start"
            time.sleep(0.05)

    def start_worker(self, memory: str = "0", nanny: bool = False) -> subprocess.Popen[bytes]:
        options = ["--nthreads", "1", "--memory-limit", memory, "--no-dashboard"]
        options += ["--nanny" if nanny else "--no-nanny", "--host", "127.0.0.1"]
        return self.spawn("dask_worker", self.address, *options)

    def wait_until_idle(self) -> None:
        """Until no worker has anything in hand."""
        limit = time.monotonic() + START
        with distributed.Client(self.address, set_as_default=False) as client:
            while any(client.processing().values()):
                assert time.monotonic() < limit, "a worker does not come to an end"
                time.sleep(0.05)

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a nanny and its worker
            process.wait(timeout=START)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    if distributed is None:
        pytest.skip("distributed is not installed")
    found = Cluster(tmp_path)
    try:
        found.start_scheduler()
        yield found
    finally:
        found.end()


def drive(dask: Cluster, name: str, *values: str) -> subprocess.Popen[str]:
    """`continuum run NAME --scheduler ADDRESS`."""
    script = dask.folder / "command.py"
    script.write_text(SCRIPT)
    return command(dask.folder, environ(), name, *values, "--scheduler", dask.address)


def command(folder: Path, env: dict[str, str], name: str, *words: str) -> subprocess.Popen[str]:
    """`continuum run NAME --out FOLDER`, started in that folder; with toys if they are there."""
    script = folder / "command.py"
    start = [str(script)] if script.exists() else ["-m", "studies.cli"]
    return subprocess.Popen(
        [sys.executable, *start, "run", name, *words, "--out", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        cwd=folder,
        start_new_session=True,
    )


def until(driver: subprocess.Popen[str], start: str) -> None:
    """Reads what it says, to the line that starts so."""
    assert driver.stderr is not None
    said = []
    for line in driver.stderr:
        said.append(line)
        if line.startswith(start):
            return
    raise AssertionError("".join(said))


def whole(folder: Path) -> dict[Path, bytes]:
    """The case files, which are all intact and the only ones."""
    found = sorted(folder.glob("case-*.h5"))
    for path in found:
        assert path.name == f"case-{read_header(path).case_hash[:12]}.h5"
        assert int(read_case(path)["square"]) >= 0
    assert list(folder.rglob(".*.tmp")) == []
    assert not (folder / "damaged").exists()
    return {path: path.read_bytes() for path in found}


@pytest.mark.slow
def test_a_sweep_on_a_cluster(dask: Cluster):
    dask.start_worker()
    with drive(dask, "toys/slow") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert "Of 6 cases 6 were run." in said
    assert "1 worker with 1 thread at tcp://127.0.0.1" in errors
    assert "the files are written by this process" in errors
    assert [line for line in errors.splitlines() if line.startswith("[6/6] index=")]
    assert len(whole(dask.folder / "toys-slow")) == 6


@pytest.mark.slow
def test_a_worker_is_killed(dask: Cluster):
    worker, _ = dask.start_worker(), dask.start_worker()
    with drive(dask, "toys/slow", "index=0:12") as driver:
        until(driver, "[2/12]")
        worker.kill()
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert "Of 12 cases 12 were run." in said
    assert len(whole(dask.folder / "toys-slow")) == 12


@pytest.mark.slow
def test_the_scheduler_is_killed_and_started_again(dask: Cluster):
    dask.start_worker()
    with drive(dask, "toys/slow", "index=0:12") as driver:
        until(driver, "[2/12]")
        assert dask.scheduler is not None
        dask.scheduler.kill()
        dask.scheduler.wait()
        _, errors = driver.communicate(timeout=START)
    assert driver.returncode == 1, errors
    before = whole(dask.folder / "toys-slow")
    assert 2 <= len(before) < 12
    last = errors.splitlines()[-1]
    assert last.endswith(f"{len(before)} of 12 cases are finished; the same command resumes")
    dask.start_scheduler()
    dask.start_worker()
    with drive(dask, "toys/slow", "index=0:12") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert f"Of 12 cases {12 - len(before)} were run, {len(before)} were finished" in said
    after = whole(dask.folder / "toys-slow")
    assert len(after) == 12
    assert before.items() <= after.items()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_the_driver_ends(dask: Cluster, how: int):
    dask.start_worker()
    with drive(dask, "toys/slow", "index=0:12") as driver:
        until(driver, "[2/12]")
        os.killpg(driver.pid, how)
        _, errors = driver.communicate(timeout=START)
    folder = dask.folder / "toys-slow"
    before = {path: path.read_bytes() for path in folder.glob("case-*.h5")}
    assert 2 <= len(before) < 12
    if how == signal.SIGINT:
        assert driver.returncode == 130
        assert f"{len(before)} of 12 cases are finished; the same command resumes" in errors
        assert "Traceback" not in errors
    dask.wait_until_idle()  # the worker finishes its case; nobody writes it
    assert len(list(folder.glob("case-*.h5"))) == len(before)
    with drive(dask, "toys/slow", "index=0:12") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert f"Of 12 cases {12 - len(before)} were run" in said
    after = whole(folder)
    assert len(after) == 12
    assert before.items() <= after.items()


@pytest.mark.slow
def test_a_case_that_is_out_of_memory_is_a_row(dask: Cluster):
    dask.start_worker(memory="700MB", nanny=True)
    with drive(dask, "toys/greedy") as driver:
        said, errors = driver.communicate(timeout=2 * START)
    assert driver.returncode == 1, errors
    assert "Of 6 cases 5 were run, 1 failed." in said
    assert "KilledWorker" in errors
    assert len(whole(dask.folder / "toys-greedy")) == 5
    with drive(dask, "toys/greedy", "index=0:6", "hungry=9") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors


@pytest.mark.slow
def test_a_worker_of_other_code_is_refused_before_the_first_case(
    dask: Cluster, monkeypatch: pytest.MonkeyPatch
):
    dask.start_worker()
    monkeypatch.setattr(cluster, "code_hash", lambda function: "0" * 64)
    with (
        pytest.raises(ClusterError, match=r"has other code: its hash is .* there and 000000000000"),
        cluster.cluster_executor(find_study("toys/slow"), dask.address),
    ):
        pass


@pytest.mark.slow
def test_nobody_answers(dask: Cluster, capsys: pytest.CaptureFixture):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        for _ in range(2):  # it refuses calls, and then takes them and says nothing
            address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
            start = time.monotonic()
            assert cli.main(["run", "toys/slow", "--scheduler", address]) == 2
            assert time.monotonic() - start < 6 * cluster._CONNECT_SECONDS
            said = capsys.readouterr().err
            assert f"no Dask scheduler answers at {address} within 5 s" in said
            assert said.count("\n") == 1
            mute.listen()


@pytest.mark.slow
def test_workers_are_waited_for(dask: Cluster):
    with drive(dask, "toys/slow", "index=0:12") as driver:
        until(driver, "continuum: there is no worker at tcp://127.0.0.1")
        worker = dask.start_worker()
        until(driver, "[2/12]")
        worker.kill()
        until(driver, "continuum: there is no worker at tcp://127.0.0.1")
        dask.start_worker()
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert "Of 12 cases 12 were run." in said
    assert len(whole(dask.folder / "toys-slow")) == 12


OWN = """
import xarray as xr
from helper import {helper}
from studies import study

@study("mine/{name}", paper="Mine", cases=[{{"index": [0, 1, 2]}}])
def {name}(index: int = 0) -> xr.Dataset:
    "A number and its square."
    return xr.Dataset({{"square": {helper}(index)}})
"""


@pytest.mark.slow
def test_a_file_of_the_users_own_and_what_becomes_of_it_when_it_changes(
    dask: Cluster, monkeypatch: pytest.MonkeyPatch
):
    dask.start_worker()
    folder = dask.folder / "own"
    folder.mkdir()
    (folder / "helper.py").write_text("def square(x):\n    return x**2\n")
    for name in ("first_study", "second_study"):
        (folder / f"{name}.py").write_text(OWN.format(name=name, helper="square"))

    def run(name: str) -> tuple[int, str]:
        words = [f"own/{name}.py", "--scheduler", dask.address]
        with command(dask.folder, environ(), *words) as driver:
            _, errors = driver.communicate(timeout=START)
        return driver.returncode, errors

    code, errors = run("first_study")
    assert code == 0, errors
    assert len(whole(dask.folder / "mine-first_study")) == 3
    (folder / "helper.py").write_text("def square(x):\n    return x * x\n")
    code, errors = run("first_study")
    assert code == 2
    assert "has other code: its hash is " in errors
    assert "start them again after a change" in errors
    code, errors = run("second_study")  # new to the worker, but not what it imports
    assert code == 2
    assert "had loaded helper.py when it was changed: start it again" in errors
    assert errors.count("\n") == 1

    monkeypatch.setattr(cluster, "_place", lambda of: cluster._Place("no_such", "one", "/no/where"))
    with (
        pytest.raises(ClusterError, match=r"cannot load the study .* for in /no/where there, and"),
        cluster.cluster_executor(find_study("toys/slow"), dask.address),
    ):
        pass
