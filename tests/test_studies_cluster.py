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

TESTS = Path(__file__).parent
START = 60.0  # seconds that a process may take to start, or to be missed


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
    assert "a cluster needs the package distributed: pip install 'continuum-networks[" in said
    assert cli.main(["run", "toys/slow", "--scheduler", "x", "--cluster", "slurm"]) == 2
    assert "either --scheduler or --cluster" in capsys.readouterr().err
    monkeypatch.undo()


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
    with pytest.raises(ClusterError, match="workers cannot import: put it into a module"):
        cluster._check_workers(None, find_study("toys/local"))


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


def greedy(*, index: int = 0, hungry: int = 3, megabytes: int = 3000) -> xr.Dataset:
    """One case asks for more memory than its worker may have."""
    if index == hungry:
        held = [np.ones((125, 1000)) for _ in range(megabytes)]
        time.sleep(5.0)
        return xr.Dataset({"square": float(held[0].sum())})
    time.sleep(0.2)
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

    def end(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a nanny and its worker
            process.wait(timeout=START)


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
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
    options = ["--out", str(dask.folder), "--scheduler", dask.address]
    return subprocess.Popen(
        [sys.executable, str(script), "run", name, *values, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ(),
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
    assert "1 workers with 1 threads at tcp://127.0.0.1" in errors
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
    time.sleep(1.0)  # the worker finishes its case; nobody writes it
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
