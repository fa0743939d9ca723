"""Sweeps on a Dask cluster: the cases are computed by its workers, the files are written here.

Dask is optional (the extra "distributed") and is loaded only for this.
"""

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import inspect
import operator
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

from continuum.checks import check_count, check_name

from .environment import code_files, code_hash, versions
from .errors import ClusterError
from .registry import Study, describe

CLUSTERS = {"slurm": "SLURMCluster"}
"""Queues that workers can be started through, and the class of dask-jobqueue for each."""

R = TypeVar("R")
Versions: TypeAlias = Mapping[str, str]
_CONNECT_SECONDS = 5
_LOOK_SECONDS = 5.0
_ADDRESS = re.compile(r"(?:tcp://)?(?:[\w.-]+|\[[\w.:%]+\]):(\d{1,5})")
_BEGAN = time.time()
"""When this was loaded: on a worker, before anything that a study imports."""


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
    """

    def __init__(self, client: Any) -> None:
        self._executor = client.get_executor(pure=False)

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> "Future[R]":
        """The future of fn(job); the worker looks at its code before its first case."""
        (job,) = args
        return self._executor.submit(_on_worker, fn, replace(job, function=None), _place(job))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for what is running, or gives it up; the cluster is left as it is."""
        self._executor.shutdown(wait=wait and not cancel_futures)


def _to_standard_error(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


@contextlib.contextmanager
def cluster_executor(
    study: Study,
    scheduler: str | None = None,
    cluster: str | None = None,
    jobs: int = 1,
    say: Callable[[str], None] = _to_standard_error,
) -> Iterator[ClusterExecutor]:
    """An executor of the Dask cluster at `scheduler`, or of one started through a queue.

    Workers are waited for, without limit, until there is one.  Those that are there must have the
    code and the versions of this process; one that comes later is asked before its first case.

    scheduler : its address, tcp://HOST:PORT
    cluster : the queue instead, "slurm", as Dask's configuration describes it (jobqueue.yaml)
    jobs : how many jobs to ask the queue for
    say : is given a sentence now and then, from another thread, too: what computes, and who writes
        the files; that there is no worker, and for how long there has been none
    raises ValueError if not exactly one of scheduler and cluster is given, or the address is none;
        ClusterError, a ValueError, if Dask is not installed, no scheduler answers, the queue
        refuses a job, or a worker has other code
    """
    if (scheduler is None) == (cluster is None):
        raise ValueError("give either --scheduler or --cluster (scheduler= or cluster=)")
    _check_module(study)
    with contextlib.ExitStack() as stack:
        if scheduler is not None:
            client = _client(_checked_address(scheduler))
        else:
            check_name("cluster", str(cluster), list(CLUSTERS))
            check_count("jobs", jobs)
            client = _client(stack.enter_context(_queue(str(cluster), jobs)))
            say(f"{cluster} has accepted {_counted(jobs, 'job')}")
        stack.enter_context(client)
        ended = threading.Event()
        stack.callback(ended.set)
        threading.Thread(target=_watch, args=(client, say, ended), daemon=True).start()
        client.wait_for_workers(1)
        _check_workers(client, study)
        threads = client.nthreads()
        say(
            f"{_counted(len(threads), 'worker')} with {_counted(sum(threads.values()), 'thread')} "
            f"at {client.scheduler.address}, with the code of this process; the files are written "
            f"by this process"
        )
        yield ClusterExecutor(client)


def _counted(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _checked_address(scheduler: str) -> str:
    """The address.  Raises ValueError if it cannot be one."""
    found = _ADDRESS.fullmatch(scheduler)
    if found is None or not 0 < int(found[1]) < 65536:
        raise ValueError(f"scheduler must be an address such as tcp://head:8786, got {scheduler!r}")
    return scheduler


def _client(place: Any) -> Any:
    """A distributed.Client of a scheduler: of an address, or of a cluster started here."""
    distributed = _needed("distributed")
    try:
        if isinstance(place, str):
            asyncio.run(_ask(distributed, place))
        return distributed.Client(place, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError, EOFError) as error:
        raise ClusterError(
            f"no Dask scheduler answers at {place} within {_CONNECT_SECONDS} s: {describe(error)}"
        ) from error


async def _ask(distributed: ModuleType, address: str) -> None:
    """Asks who is there: a Client waits without end for one who takes calls and says nothing."""
    async with distributed.rpc(address) as there:
        await asyncio.wait_for(there.identity(), _CONNECT_SECONDS)


def _watch(client: Any, say: Callable[[str], None], ended: threading.Event) -> None:
    """Says that there is no worker: when that begins, after one minute, two, four and so on."""
    since: float | None = None
    due = 0.0
    with contextlib.suppress(Exception):  # no scheduler any more: the sweep will say that
        while not ended.is_set():
            now = time.monotonic()
            if client.scheduler_info()["workers"]:
                since, due = None, 0.0
            else:
                since = now if since is None else since
                if now - since >= due:
                    waited = f" (for {(now - since) / 60:.0f} min so far)" if due else ""
                    say(
                        f"there is no worker at {client.scheduler.address}: waiting for one, as "
                        f"long as it takes{waited}; Ctrl-C ends this"
                    )
                    due = max(60.0, 2 * due)
            ended.wait(_LOOK_SECONDS)


def _check_module(study: Study) -> None:
    """Raises ClusterError if workers cannot import what defines the study."""
    if study.function.__module__ == "__main__":
        raise ClusterError(
            f"the study {study.name!r} is defined in the script that was started, which workers "
            f"cannot import: put it into a module of its own"
        )


def _check_workers(client: Any, study: Study) -> None:
    """Raises ClusterError unless every worker has the code of this process."""
    place = _place(study)
    here = (code_hash(study.function), versions())
    for worker, there in client.run(_of_this_process, place, on_error="return").items():
        if isinstance(there, ClusterError):
            raise ClusterError(f"the worker {worker} {there}")
        if isinstance(there, Exception):
            raise ClusterError(
                f"the worker {worker} cannot load the study {study.name!r}: {describe(there)} "
                f"(looked for in {place.folder} there, and where Python looks: copy the file, or "
                f"install its package)"
            )
        if difference := _difference(here, there):
            raise ClusterError(f"the worker {worker} {difference}")


def _difference(here: tuple[str, Versions], there: tuple[str, Versions]) -> str:
    """What another process has that is not ours, in words; empty if there is nothing."""
    if here[0] != there[0]:
        return (
            f"has other code: its hash is {there[0][:12]} there and {here[0][:12]} here (workers "
            f"keep what they have loaded: start them again after a change)"
        )
    for name, version in here[1].items():
        if there[1].get(name) != version:
            return f"has {name} {there[1].get(name)}, and this process {version}"
    return ""


def _on_worker(call: Callable[..., R], job: Any, place: _Place) -> R:
    """call(job), on a worker; raises ClusterError if its code is not that of the sweep."""
    difference = _difference((job.header.code_hash, job.header.versions), _of_this_process(place))
    if difference:
        raise ClusterError(f"this worker {difference}")
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


@functools.cache
def _of_this_process(place: _Place) -> tuple[str, Versions]:
    """The hash of the code of a study's function, as it was loaded here, and the versions here.

    raises ClusterError if what is loaded may be older than the files
    """
    loaded = {os.path.realpath(getattr(m, "__file__", None) or "") for m in [*sys.modules.values()]}
    function = _function(place)
    for _, path in code_files(function):
        if os.path.realpath(path) in loaded and path.stat().st_mtime > _BEGAN:
            raise ClusterError(f"had loaded {path.name} when it was changed: start it again")
    return code_hash(function), versions()


@contextlib.contextmanager
def _queue(cluster: str, jobs: int) -> Iterator[Any]:
    """A cluster of dask-jobqueue, as its configuration says, with so many jobs in the queue."""
    made = getattr(_needed("dask_jobqueue"), CLUSTERS[cluster])
    told = _needed("dask").config.get(f"jobqueue.{cluster}.scheduler-options")
    try:
        # Dask's own pages at any port that is free, not at one that another command may have
        place = made(scheduler_options={"dashboard_address": ":0", **told})
    except (ValueError, RuntimeError) as error:
        raise ClusterError(
            f"the cluster {cluster!r} is not described, or cannot be started: {error} (see "
            f"jobqueue.yaml in the page docs/clusters.md)"
        ) from error
    with place:
        # `scale` would submit them in a thread that tells nobody what the queue answers
        for _ in range(jobs):
            place.worker_spec.update(place.new_worker_spec())
        try:
            place.sync(_submitted, place)
        except (OSError, RuntimeError, ValueError) as error:
            for job in place.workers.values():  # else Dask asserts that it has started them all
                job.status = _needed("distributed").Status.failed
            raise ClusterError(f"{cluster} did not accept a job: {error}") from error
        yield place


async def _submitted(place: Any) -> None:
    await place


def _needed(package: str) -> ModuleType:
    ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        module = importlib.import_module(package)
        if signal.getsignal(signal.SIGINT) is not ctrl_c:  # dask-jobqueue makes it an exit with 0
            signal.signal(signal.SIGINT, ctrl_c)
        return module
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"a cluster needs the package {package.replace('_', '-')}: "
            f"pip install distributed dask-jobqueue (the extra 'distributed')"
        ) from error
