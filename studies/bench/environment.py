"""What a result depends on besides its parameters: versions, cores, threads, and the code
itself.
"""

import hashlib
import inspect
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from threadpoolctl import threadpool_info

from continuum.arrays import find_gpu

from .sources import add_files, local_imports, package_files

PACKAGES = (
    "continuum-networks",
    "numpy",
    "scipy",
    "numba",
    "h5py",
    "h5netcdf",
    "xarray",
    "matplotlib",
    "scikit-learn",
)

_APART = ("continuum", "solvers", "studies.bench", "studies.draw")
"""Packages whose files do not count as helpers of a study: the first two count whole."""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result can depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def cores() -> int:
    """The number of processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu() -> str:
    """The GPUs that device="gpu" computes on, or "no" and the reason, in one line."""
    carry, found = find_gpu()
    return found if carry is not None else f"no ({found})"


def thread_pools() -> list[str]:
    """One line for each BLAS and OpenMP library loaded: its name, version and number of threads."""
    return [
        f"{pool['internal_api']} {pool.get('version') or ''}".strip()
        + f", {pool['num_threads']} threads"
        for pool in threadpool_info()
    ]


def code_hash(function: Callable[..., object]) -> str:
    """SHA-256 of the source that a study's answer comes from, `code_files`."""
    digest = hashlib.sha256()
    add_files(digest, code_files(function))
    return digest.hexdigest()


def code_files(function: Callable[..., object]) -> list[tuple[str, Path]]:
    """The files that a study's answer comes from, with names that do not depend on the machine.

    They are every Python file of `continuum` and `solvers`, the file of `function`, and what that
    file imports, directly or through others, that is neither of the standard library nor an
    installed package (those are told by their versions).  What runs and draws studies
    (`studies.bench`, `studies.draw`) is left out.
    raises ValueError if `function` was not read from a file
    """
    source = inspect.getsourcefile(inspect.unwrap(function))
    if source is None or not Path(source).is_file():
        raise ValueError(
            f"study function {function.__qualname__} must be defined in a file, for its code to "
            f"be hashed"
        )
    file = Path(source).resolve()
    packages = [*package_files("continuum"), *package_files("solvers")]
    return [*packages, ("study", file), *sorted(local_imports(file, _APART).items())]
