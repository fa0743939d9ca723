"""Sweeps on a Dask cluster: the cases are computed by its workers, the files are written here.

Dask is optional (`pip install 'continuum-networks[distributed]'`) and is loaded only for this.
"""

import contextlib
import functools
import importlib
import importlib.util
import inspect
import operator
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

from continuum.checks import check_count, check_name

from .environment import code_hash, versions
from .errors import ClusterError
from .registry import Study, describe

CLUSTERS = {"slurm": "SLURMCluster"}
"""Queues that workers can be started through, and the class of dask-jobqueue for each."""

R = TypeVar("R")
Versions: TypeAlias = Mapping[str, str]
_CONNECT_SECONDS = 20


@dataclass(frozen=True)
class _Place:
    """Where the function of a study is found: the name of its module, its own, and the folder in
    which Python must look for the module.
    """

    module: str
    name: str
    folder: str


class ClusterExecutor(Executor):
    """A concurrent.futures executor of the workers of a Dask cluster, for `run_sweep`.

    client : a distributed.Client
    about : one sentence for the user: how many workers and threads, and where
    """

    def __init__(self, client: Any, about: str) -> None:
        self.about = about
        self._executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> "Future[R]":
        """The future of fn(job); the worker looks at its code before its first case."""
        (job,) = args
        return self._executor.submit(_on_worker, fn, replace(job, function=None), _place(job))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for what is running, or gives it up; the cluster is left as it is."""
        self._executor.shutdown(wait=wait and not cancel_futures)


@contextlib.contextmanager
def cluster_executor(
    study: Study, scheduler: str | None = None, cluster: str | None = None, jobs: int = 1
) -> Iterator[ClusterExecutor]:
    """An executor of the Dask cluster at `scheduler`, or of one started through a queue.

    Workers are waited for, without limit, until there is one.  Those that are there must have the
    code and the versions of this process; one that comes later is asked before its first case.

    scheduler : its address, tcp://HOST:PORT
    cluster : the queue instead, "slurm", as Dask's configuration describes it (jobqueue.yaml)
    jobs : how many jobs to ask the queue for
    raises ValueError if not exactly one of scheduler and cluster is given; ClusterError, a
        ValueError, if Dask is not installed, no scheduler answers, or a worker has other code
    """
    if (scheduler is None) == (cluster is None):
        raise ValueError("give either --scheduler or --cluster (scheduler= or cluster=)")
    distributed = _needed("distributed")
    with contextlib.ExitStack() as stack:
        if cluster is not None:
            check_name("cluster", cluster, list(CLUSTERS))
            check_count("jobs", jobs)
            place = stack.enter_context(_queue(cluster))
            place.scale(jobs=jobs)
        else:
            place = scheduler
        try:
            client = distributed.Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ClusterError(f"no Dask scheduler answers at {scheduler}: {error}") from error
        stack.enter_context(client)
        client.wait_for_workers(1)
        _check_workers(client, study)
        threads = client.nthreads()
        yield ClusterExecutor(
            client,
            f"{len(threads)} workers with {sum(threads.values())} threads at "
            f"{client.scheduler.address}, with the code of this process; the files are written by "
            f"this process",
        )


def _check_workers(client: Any, study: Study) -> None:
    """Raises ClusterError unless every worker has the code of this process."""
    place = _place(study)
    if place.module == "__main__":
        raise ClusterError(
            f"the study {study.name!r} is defined in the script that was started, which workers "
            f"cannot import: put it into a module of its own"
        )
    here = _code_and_versions(place)
    for worker, there in client.run(_code_and_versions, place, on_error="return").items():
        if isinstance(there, Exception):
            raise ClusterError(
                f"the worker {worker} cannot load the study {study.name!r}: {describe(there)} "
                f"(install it there, or name its folder in the worker's PYTHONPATH)"
            )
        if difference := _difference(here, there):
            raise ClusterError(f"the worker {worker} {difference}; both must be the same")


def _difference(here: tuple[str, Versions], there: tuple[str, Versions]) -> str:
    """What another process has that is not ours, in words; empty if there is nothing."""
    if here[0] != there[0]:
        return f"has other code: its hash is {there[0][:12]} there and {here[0][:12]} here"
    for name, version in here[1].items():
        if there[1].get(name) != version:
            return f"has {name} {there[1].get(name)}, and this process {version}"
    return ""


def _on_worker(call: Callable[..., R], job: Any, place: _Place) -> R:
    """call(job), on a worker; raises ClusterError if its code is not that of the sweep."""
    there = _of_this_process(place)
    if difference := _difference((job.header.code_hash, job.header.versions), there):
        raise ClusterError(f"a worker {difference}; both must be the same")
    return call(replace(job, function=_function(place)))


def _place(of: Any) -> _Place:
    function = of.function
    source = inspect.getsourcefile(inspect.unwrap(function))
    folder = Path(source or "").resolve().parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return _Place(function.__module__, function.__qualname__, str(folder))


def _function(place: _Place) -> Callable[..., object]:
    """The function of a study; its folder is put on Python's path if that is needed, and exists."""
    if importlib.util.find_spec(place.module.partition(".")[0]) is None:
        sys.path.append(place.folder)
    return operator.attrgetter(place.name)(importlib.import_module(place.module))


def _code_and_versions(place: _Place) -> tuple[str, Versions]:
    """The hash of the code of a study's function, and the versions of Python and packages, here."""
    return code_hash(_function(place)), versions()


_of_this_process = functools.cache(_code_and_versions)


def _queue(cluster: str) -> Any:
    """A cluster of dask-jobqueue, as its configuration says."""
    try:
        return getattr(_needed("dask_jobqueue"), CLUSTERS[cluster])()
    except ValueError as error:
        raise ClusterError(
            f"the cluster {cluster!r} is not described: {error} (see jobqueue.yaml in the page "
            f"docs/clusters.md)"
        ) from error


def _needed(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"a cluster needs the package {package.replace('_', '-')}: "
            f"pip install 'continuum-networks[distributed]'"
        ) from error
