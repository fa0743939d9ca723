"""The finished cases of a sweep as one Dataset, in which parameters are dimensions."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from continuum.doors import checked

from .environment import code_hash
from .errors import StoreError
from .files import read_record
from .origins import of_sweep
from .parameters import Value, varying
from .plan import FAILED, read_plan
from .store import CaseHeader, case_parameters, read_case, read_header
from .summary import own_name

MOST_PLACES = 1_000_000
"""Largest grid of parameters, unless most of it is filled."""

_Key = tuple[int | slice | np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class _Case:
    """A finished case without its arrays: `like` has variables of their names, dimensions, types
    and shapes, and the values of scalars and of coordinates along dimensions.
    """

    path: Path
    parameters: Mapping[str, Value]
    like: xr.Dataset


@checked
def open_sweep(folder: str | Path, *, code: str | None = None, grid: bool = True) -> xr.Dataset:
    """The finished cases of a sweep as one Dataset: the parameters that vary are its first
    dimensions.

    Scalars are read at once, and every file is checked; arrays are read when they are asked for,
    one file at a time.  A place of the grid without a case, and what a case does not have, is
    missing: NaN.  Dimensions of different lengths are filled up with missing values at their ends,
    and coordinates that differ between cases are in `NAME_values`.  A variable that is called like
    a parameter is `case_NAME`.  Parameters that do not vary are scalar coordinates.

    folder : of the sweep, such as results/paper-question
    code : None takes the cases of the code as it is now; or the beginning of another code hash
    grid : False puts the cases along one dimension "case", whatever their parameters
    returns a Dataset with coordinates case_file, case_status, case_seconds, and attributes study,
        code_hash, older_cases (the files of other code, which are left out), unreadable (files that
        are damaged), left_out (variables whose dimensions differ between cases)
    raises StoreError if there is no sweep, ValueError if its study is not found, if no case of that
        code is finished, or if the cases are few places of a grid that is too large
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StoreError(f"folder must be that of a sweep, there is none at {folder}")
    headers, unreadable = _headers(folder)
    wanted = _present_code(folder) if code is None else _told_code(code, headers)
    cases: list[_Case] = []
    for path, header in headers.items():
        if header.code_hash == wanted:
            try:
                cases.append(_without_arrays(path, read_case(path)))
            except StoreError:
                unreadable.append(path.name)
    if not cases:
        others = [h.code_hash[:12] for h in headers.values() if h.code_hash != wanted]
        told = (
            f"; {len(others)} are of other code, {', '.join(sorted(set(others)))}: run the sweep "
            f"again, or open_sweep(folder, code={min(others)!r})"
            if others
            else ""
        )
        raise ValueError(f"no case of the code as it is now is finished in {folder}{told}")
    dataset, left_out = _joined(cases, grid)
    return dataset.assign_attrs(
        study=cases[0].like.attrs["study"],
        code_hash=wanted,
        older_cases=[p.name for p, header in headers.items() if header.code_hash != wanted],
        unreadable=sorted(unreadable),
        left_out=left_out,
    )


def older_cases(folder: Path) -> dict[Path, str]:
    """The files of a sweep that come from other code than the present: of cases, and of what is
    known of failed ones; with the parameters of each.

    raises StoreError if there is no sweep, ValueError if its study is not found
    """
    headers, _ = _headers(folder)
    now = _present_code(folder)
    found = {p: dict(h.parameters) for p, h in headers.items() if h.code_hash != now}
    for path in sorted((folder / FAILED).glob("*.json")):
        try:
            kept = read_record(path)
        except StoreError:
            continue
        if kept.get("code_hash", now) != now:
            found[path] = dict(kept["parameters"])  # type: ignore[call-overload]
    return {p: json.dumps(parameters)[1:-1].replace('"', "") for p, parameters in found.items()}


def _headers(folder: Path) -> tuple[dict[Path, CaseHeader], list[str]]:
    """What each case file says of itself, and the names of those that are damaged."""
    headers: dict[Path, CaseHeader] = {}
    unreadable: list[str] = []
    for path in sorted(folder.glob("case-*.h5")):
        try:
            headers[path] = read_header(path)
        except StoreError:
            unreadable.append(path.name)
    return headers, unreadable


def _present_code(folder: Path) -> str:
    """The hash of the code of the sweep's study as it is now."""
    return code_hash(of_sweep(read_plan(folder)).function)


def _told_code(code: str, headers: Mapping[Path, CaseHeader]) -> str:
    known = sorted({header.code_hash for header in headers.values()})
    found = [one for one in known if one.startswith(code)]
    if len(found) != 1 or not code:
        raise ValueError(
            f"code must be the beginning of one of {[one[:12] for one in known]}, got {code!r}"
        )
    return found[0]


def _without_arrays(path: Path, case: xr.Dataset) -> _Case:
    """Arrays become views of one missing number, which take no memory."""
    like = case.copy()
    for name, variable in case.variables.items():
        if variable.ndim > 0 and variable.dims != (name,):
            empty = np.broadcast_to(np.zeros((), variable.dtype), variable.shape)
            like[name] = (variable.dims, empty, variable.attrs)
    return _Case(path, case_parameters(case), like)


def _joined(cases: Sequence[_Case], grid: bool) -> tuple[xr.Dataset, list[str]]:
    """The Dataset, and what is said of the variables that are in none."""
    parameters = [case.parameters for case in cases]
    names = varying(parameters)
    axes = {name: _in_order([case[name] for case in parameters]) for name in names}
    if not grid:
        dims, places = ("case",), [(k,) for k in range(len(cases))]
        shape: tuple[int, ...] = (len(cases),)
        coordinates = {n: (dims, np.array([case[n] for case in parameters])) for n in names}
    else:
        dims, shape = tuple(names), tuple(len(axis) for axis in axes.values())
        if math.prod(shape) > max(MOST_PLACES, 2 * len(cases)):
            raise ValueError(
                f"{len(cases)} cases are few places of a grid of {math.prod(shape)}: "
                f"open_sweep(folder, grid=False) puts them along one dimension"
            )
        where = [{value: k for k, value in enumerate(axis)} for axis in axes.values()]
        places = [
            tuple(at[case[name]] for at, name in zip(where, names, strict=True))
            for case in parameters
        ]
        coordinates = {name: ((name,), np.array(axis)) for name, axis in axes.items()}
    files = np.full(shape, None, dtype=object)
    for place, case in zip(places, cases, strict=True):
        files[place] = case
    taken = {*parameters[0], *dims}
    joined = _Joined(cases, files, dims, taken)
    variables = {**coordinates, **joined.told()}
    for name in dict.fromkeys(str(n) for case in cases for n in case.like.variables):
        variables.update(joined.variable(name))
    shared = {name: value for name, value in parameters[0].items() if name not in names}
    known = {d for v in variables.values() for d in v[0]} | variables.keys()
    variables.update({name: ((), value) for name, value in shared.items() if name not in known})
    coords = {*coordinates, *joined.coordinates, *shared} & variables.keys()
    return xr.Dataset(variables).set_coords(coords), joined.left_out


class _Joined:
    """Variables of all cases.

    files : the case at each place of the grid, None where there is none
    dims : of the grid
    taken : names that no variable or dimension of a case may have
    """

    def __init__(
        self, cases: Sequence[_Case], files: np.ndarray, dims: tuple[str, ...], taken: set[str]
    ) -> None:
        self.cases, self.files, self.dims, self.taken = cases, files, dims, taken
        self.coordinates = {"case_file", "case_status", "case_seconds"}
        self.left_out: list[str] = []

    def told(self) -> dict[str, tuple]:
        """File, status and seconds of each case."""
        found = {
            "case_file": self._each(lambda case: case.path.name, ""),
            "case_status": self._each(lambda case: str(case.like.attrs["status"]), ""),
            "case_seconds": self._each(lambda case: float(case.like.attrs["seconds"]), math.nan),
        }
        return {name: (self.dims, values) for name, values in found.items()}

    def variable(self, name: str) -> dict[str, tuple]:
        """One variable, under the name it has beside the parameters; nothing if the cases do not
        agree on its dimensions.
        """
        found = [case.like.variables[name] for case in self.cases if name in case.like.variables]
        own = own_name(name, self.taken)
        if any(one.dims != found[0].dims for one in found):
            self.left_out.append(f"{name}: its dimensions differ between cases")
            return {}
        inner = tuple(own_name(str(dim), self.taken) for dim in found[0].dims)
        if found[0].dims == (name,):
            if self._agree(name, found):
                return {own: (inner, found[0].values, found[0].attrs)}
            own = f"{own}_values"
        if any(name in case.like.coords for case in self.cases):
            self.coordinates.add(own)
        shape = tuple(max(lengths) for lengths in zip(*(one.shape for one in found), strict=True))
        gaps = self.files.size > len(found) or any(one.shape != shape for one in found)
        dtype, fill = _with_missing({one.dtype for one in found}, gaps)
        if shape or inner:
            paths = np.full(self.files.shape, None, dtype=object)
            for k, case in enumerate(self.files.flat):
                if case is not None and name in case.like.variables:
                    paths.flat[k] = case.path
            array = _FromFiles(paths, name, shape, dtype, fill)
            lazy = indexing.MemoryCachedArray(indexing.LazilyIndexedArray(array))
            return {own: ((*self.dims, *inner), lazy, found[0].attrs)}
        values = self._each(lambda case: _scalar(case, name, fill), fill, dtype)
        return {own: (self.dims, values, found[0].attrs)}

    def _agree(self, name: str, found: Sequence[xr.Variable]) -> bool:
        """True if every case with this dimension has the same numbers along it."""
        with_it = [case for case in self.cases if name in case.like.dims]
        return len(with_it) == len(found) and all(one.equals(found[0]) for one in found)

    def _each(
        self, value: Callable[[_Case], object], missing: object, dtype: np.dtype | None = None
    ) -> np.ndarray:
        listed = [missing if case is None else value(case) for case in self.files.flat]
        return np.array(listed, dtype=dtype).reshape(self.files.shape)


class _FromFiles(BackendArray):
    """One variable of all cases, (*places of the grid, *its own shape), read when it is indexed.

    paths : the file at each place; None where all is missing
    """

    def __init__(
        self, paths: np.ndarray, name: str, inner: tuple[int, ...], dtype: np.dtype, fill: object
    ) -> None:
        self.paths, self.name, self.inner, self.fill = paths, name, inner, fill
        self.shape, self.dtype = (*paths.shape, *inner), dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: _Key) -> np.ndarray:
        outer, inner = key[: self.paths.ndim], key[self.paths.ndim :]
        paths = np.asarray(_indexed(self.paths, outer), dtype=object)
        shape = _indexed(np.broadcast_to(False, self.inner), inner).shape
        result = np.full((*paths.shape, *shape), self.fill, dtype=self.dtype)
        for place, path in zip(np.ndindex(paths.shape), paths.flat, strict=True):
            if path is not None:
                result[place] = _indexed(self._whole(path), inner)
        return result

    def _whole(self, path: Path) -> np.ndarray:
        """The variable of one case, filled up to the common shape."""
        with xr.open_dataset(path, engine="h5netcdf", cache=False) as case:
            values = case.variables[self.name].values
        if values.shape == self.inner:
            return values
        whole = np.full(self.inner, self.fill, dtype=self.dtype)
        whole[tuple(slice(length) for length in values.shape)] = values
        return whole


def _indexed(array: np.ndarray, key: _Key) -> np.ndarray:
    """`array` indexed along each axis by itself, by a number, a slice or an array of numbers."""
    for axis in reversed(range(len(key))):
        array = array[(slice(None),) * axis + (key[axis],)]
    return array


def _scalar(case: _Case, name: str, fill: object) -> object:
    return case.like.variables[name].values[()] if name in case.like.variables else fill


def _with_missing(dtypes: set[np.dtype], gaps: bool) -> tuple[np.dtype, object]:
    """The type that holds all of these, and what stands for a missing number, if there are any."""
    kinds = {dtype.kind for dtype in dtypes}
    if kinds & set("OSU") or (len(dtypes) > 1 and not kinds <= set("iufc")):
        return np.dtype(object), np.nan
    dtype = np.result_type(*dtypes)
    if dtype.kind in "mM":
        return dtype, np.array("NaT", dtype)[()]
    if not gaps:
        return dtype, np.zeros((), dtype)[()]
    if dtype.kind in "iu":
        return np.dtype(np.float64), np.nan
    return (np.dtype(object) if dtype.kind == "b" else dtype), np.nan


def _in_order(values: Sequence[Value]) -> list[Value]:
    """Each value once, sorted; numbers before texts."""
    return sorted(dict.fromkeys(values), key=lambda v: (isinstance(v, str), v))
