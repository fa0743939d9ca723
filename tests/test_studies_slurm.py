"""`--cluster slurm` with a stand-in for Slurm's commands: its jobs run on this machine."""

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_studies_cluster import START, command, environ, until, whole

from studies.bench.store import read_case

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent / "docs" / "clusters.md"
SMALLER = {
    "cores: 32": "cores: 2",
    "processes: 32": "processes: 2",
    "memory: 120GB": "memory: 4GB",
    "interface: ib0": "interface: lo",
    "python: /path/to/.venv/bin/python": f"python: {sys.executable}",
}

SBATCH = """#!{python}
# keeps the script, as Slurm does, and starts it in a session of its own, for three minutes at most
import os, subprocess, sys
from pathlib import Path

jobs, script = Path({jobs!r}), Path(sys.argv[1]).read_text()
number = 1
while True:
    try:
        (jobs / f"{{number}}.sh").open("x").write(script)
        break
    except FileExistsError:
        number += 1
if (jobs / "limit").exists() and number > int((jobs / "limit").read_text()):
    sys.exit("sbatch: error: QOSMaxSubmitJobPerUserLimit")
lines = [line for line in script.splitlines() if line.startswith(("#SBATCH -o ", "#SBATCH -e "))]
said = dict(line.split(maxsplit=2)[1:] for line in lines)
files = [Path(said[key].replace("%J", str(number))).open("wb") for key in ("-o", "-e")]
job = subprocess.Popen(
    ["timeout", "--kill-after=5", "180", "bash", str(jobs / f"{{number}}.sh")],
    stdin=subprocess.DEVNULL, stdout=files[0], stderr=files[1], start_new_session=True,
)
(jobs / f"{{number}}.pid").write_text(str(job.pid))
print("Submitted batch job", number)
"""

SCANCEL = """#!{python}
import os, signal, sys
from pathlib import Path

jobs = Path({jobs!r})
(jobs / f"{{sys.argv[1]}}.cancelled").touch()
os.killpg(int((jobs / f"{{sys.argv[1]}}.pid").read_text()), signal.SIGTERM)
"""

MODULE = """#!{python}
import sys
from pathlib import Path

with (Path({jobs!r}) / "modules").open("a") as loaded:
    loaded.write(" ".join(sys.argv[1:]) + "\\n")
"""

STUDY = """
import time

import numba
import xarray as xr
from threadpoolctl import threadpool_info

from studies import study


@study("mine/squares", paper="Mine", cases=[{"index": range(6)}])
def squares(index: int = 0, pause: float = 0.4) -> xr.Dataset:
    "A square, and how many threads computed it."
    time.sleep(pause)
    blas = max(pool["num_threads"] for pool in threadpool_info())
    return xr.Dataset({"square": index**2, "threads": max(blas, numba.get_num_threads())})
"""


class Slurm:
    """A folder with commands, their jobs, the template of the page, made smaller, and a study."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs = folder, folder / "jobs"
        for name in ("bin", "jobs", "config", "disk"):
            (folder / name).mkdir()
        for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("module", MODULE)):
            path = folder / "bin" / name
            path.write_text(text.format(python=sys.executable, jobs=str(self.jobs)))
            path.chmod(0o755)
        template = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
        for line, smaller in SMALLER.items():
            assert template.count(line) == 1
            template = template.replace(line, smaller)
        (folder / "config" / "jobqueue.yaml").write_text(template)
        (folder / "my_study.py").write_text(STUDY)
        self.environ = {
            **environ(),
            "PATH": os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]),
            "DASK_CONFIG": str(folder / "config"),
            "TMPDIR": str(folder / "disk"),
        }

    def run(self, *words: str):
        """`continuum run my_study.py ... --cluster slurm`."""
        return command(self.folder, self.environ, "my_study.py", *words, "--cluster", "slurm")

    def groups(self) -> list[int]:
        """The process groups of the jobs in which something lives."""
        found = []
        for path in self.jobs.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(path.read_text()), 0)
                found.append(int(path.read_text()))
        return found

    def wait_for_the_end(self) -> None:
        """Until no job has a process any more."""
        limit = time.monotonic() + START
        while self.groups():
            assert time.monotonic() < limit, "a job does not end"
            time.sleep(0.05)

    def end(self) -> None:
        for group in self.groups():
            os.killpg(group, signal.SIGKILL)
        self.wait_for_the_end()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    pytest.importorskip("dask_jobqueue")
    found = Slurm(tmp_path)
    try:
        yield found
    finally:
        found.end()


def test_the_template_has_words_that_dask_knows():
    dask_jobqueue = pytest.importorskip("dask_jobqueue")
    words = re.compile(r"^    ([\w-]+):", re.MULTILINE)
    template = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    theirs = (Path(dask_jobqueue.__file__).parent / "jobqueue.yaml").read_text()
    section = re.search(r"^  slurm:\n(?:(?:    .*)?\n)*", theirs, re.M)
    assert section is not None
    known = words.findall(section[0])
    assert len(words.findall(template)) == 13
    assert set(words.findall(template)) <= set(known)


def test_a_sweep_as_the_page_says(slurm: Slurm):
    with slurm.run("--workers", "2") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert "Of 6 cases 6 were run." in said
    lines = errors.splitlines()
    assert lines[0] == "continuum: slurm has accepted 2 jobs"
    assert any(re.fullmatch(r"\[6/6\] index=\d \d\.\d s", line) for line in lines), errors
    assert re.search(r"^continuum: [1-4] workers? with [1-4] threads? at tcp://127", errors, re.M)
    assert "the files are written by this process" in errors
    files = whole(slurm.folder / "mine-squares")
    assert len(files) == 6
    assert {int(read_case(path)["threads"]) for path in files} == {1}
    assert sorted(path.name for path in slurm.jobs.glob("*.cancelled")) == [
        "1.cancelled",
        "2.cancelled",
    ]
    slurm.wait_for_the_end()

    script = (slurm.jobs / "1.sh").read_text().splitlines()
    directives = {line.removeprefix("#SBATCH ") for line in script if line.startswith("#SBATCH")}
    assert directives == {
        "-J continuum",
        "-e logs/continuum-%J.err",
        "-o logs/continuum-%J.out",
        "-p normal",
        "-A my-project",
        "-n 1",
        "--cpus-per-task=2",
        "--mem=4G",
        "-t 04:00:00",
    }
    assert (slurm.jobs / "modules").read_text() == "load gcc\n" * 2
    assert script[-1].startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1")
    for word in ("--nthreads 1", "--nworkers 2", "--interface lo", "--local-directory $TMPDIR"):
        assert f" {word} " in f"{script[-1]} "
    assert (slurm.folder / "disk" / "dask-scratch-space").is_dir()
    assert sorted(path.name for path in (slurm.folder / "logs").iterdir()) == [
        f"continuum-{n}.{kind}" for n in (1, 2) for kind in ("err", "out")
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_the_command_ends_and_its_jobs_with_it(slurm: Slurm, how: int):
    with slurm.run("index=0:12") as driver:
        until(driver, "[2/12]")
        os.killpg(driver.pid, how)
        _, errors = driver.communicate(timeout=START)
    slurm.wait_for_the_end()
    before = whole(slurm.folder / "mine-squares")
    assert 2 <= len(before) < 12
    if how == signal.SIGINT:
        assert driver.returncode == 130
        last = errors.splitlines()[-1]
        assert last.endswith(f"{len(before)} of 12 cases are finished; the same command resumes")
        assert "Traceback" not in errors
        assert (slurm.jobs / "1.cancelled").exists()
    with slurm.run("index=0:12") as driver:
        said, errors = driver.communicate(timeout=START)
    assert driver.returncode == 0, errors
    assert f"Of 12 cases {12 - len(before)} were run" in said
    after = whole(slurm.folder / "mine-squares")
    assert len(after) == 12
    assert before.items() <= after.items()


def test_ctrl_c_while_a_worker_is_waited_for(slurm: Slurm):
    config = slurm.folder / "config" / "jobqueue.yaml"
    config.write_text(config.read_text().replace(sys.executable, "/no/python"))
    with slurm.run() as driver:
        until(driver, "continuum: there is no worker at tcp://127.0.0.1")
        os.killpg(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=START)
    assert driver.returncode == 130
    assert errors == "continuum: interrupted\n"
    assert (slurm.jobs / "1.cancelled").exists()


def test_a_job_that_is_not_accepted_is_told_in_one_sentence(slurm: Slurm):
    (slurm.jobs / "limit").write_text("2")
    with slurm.run("--workers", "3") as driver:
        _, errors = driver.communicate(timeout=START)
    assert driver.returncode == 2
    assert errors.startswith("continuum: slurm did not accept a job: ")
    assert "QOSMaxSubmitJobPerUserLimit" in errors
    assert errors.count("\n") == 1
    assert {path.name for path in slurm.jobs.glob("*.cancelled")} == {"1.cancelled", "2.cancelled"}
    slurm.wait_for_the_end()
    (slurm.folder / "bin" / "sbatch").unlink()
    with slurm.run() as driver:
        _, errors = driver.communicate(timeout=START)
    assert driver.returncode == 2
    assert "slurm did not accept a job: [Errno 2] No such file or directory: 'sbatch'" in errors
    assert errors.count("\n") == 1


def test_a_network_that_is_not_there(slurm: Slurm):
    config = slurm.folder / "config" / "jobqueue.yaml"
    config.write_text(config.read_text().replace("interface: lo", "interface: ib0"))
    with slurm.run() as driver:
        _, errors = driver.communicate(timeout=START)
    assert driver.returncode == 2
    assert "'ib0' is not a valid network interface" in errors
    assert errors.count("\n") == 1
    assert list(slurm.jobs.iterdir()) == []
