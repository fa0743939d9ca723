"""A sweep as one table: a row for each case, with its parameters and its scalar results."""

import importlib.util
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from .files import write_atomically
from .parameters import Value

_DTYPES = {bool: "boolean", int: "Int64", float: "float64", str: "string"}


def summary(
    cases: Iterable[tuple[Mapping[str, Value], xr.Dataset | None, str, str]],
) -> pd.DataFrame:
    """One row for each case: all parameters, the results without dimensions, three columns more.

    cases : parameters, answer (None if there is none), status, and the name of the file
    returns columns named as the parameters and results are (`case_name` where a result has the name
        of a parameter), then case_status, case_seconds, case_file; what a case does not have is
        missing
    """
    rows: list[dict[str, object]] = []
    for parameters, answer, status, file in cases:
        results: dict[str, object] = {}
        if answer is not None:
            results = {
                own_name(str(name), parameters): variable.values[()].item()
                for name, variable in answer.data_vars.items()
                if variable.ndim == 0
            }
        seconds = None if answer is None else float(answer.attrs["seconds"])
        told = {"case_status": status, "case_seconds": seconds, "case_file": file}
        rows.append({**parameters, **results, **told})
    last = ("case_status", "case_seconds", "case_file")
    names = [name for name in dict.fromkeys(n for row in rows for n in row) if name not in last]
    return pd.DataFrame({n: _column([row.get(n) for row in rows]) for n in (*names, *last)})


def write_summary(folder: Path, table: pd.DataFrame) -> None:
    """Writes summary.csv into a folder, and summary.parquet where pyarrow is installed.

    raises StoreError if the file system refuses
    """
    write_atomically(folder / "summary.csv", lambda path: table.to_csv(path, index=False))
    if importlib.util.find_spec("pyarrow") is not None:
        parquet = folder / "summary.parquet"
        write_atomically(parquet, lambda path: table.to_parquet(path, index=False))


def own_name(name: str, parameters: Collection[str]) -> str:
    """The name of a variable of a case beside parameters: `case_name` if one is called `name`."""
    return f"case_{name}" if name in parameters else name


def _column(values: Sequence[object]) -> pd.api.extensions.ExtensionArray:
    """Whole numbers stay whole where values are missing; mixed kinds become text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) == 1 and (kind := kinds.pop()) in _DTYPES:
        try:
            return pd.array(values, dtype=_DTYPES[kind])  # type: ignore[arg-type]
        except OverflowError:  # more digits than 64 bits hold
            pass
    return pd.array([None if v is None else str(v) for v in values], dtype="string")
