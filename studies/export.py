"""Results as data of other libraries: labelled arrays for xarray, tables for pandas.

to_xarray(integrate(...)).to_netcdf("run.nc")
to_xarray(shoot(problem), times=np.linspace(0, 1, 201))["hamiltonian"].plot()
to_dataframe(minimize(...)).to_csv("history.csv")
"""

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from continuum import Control, ControlSpace, FunctionControl
from continuum.arrays import Array, is_array, to_host
from continuum.blocks import Block
from continuum.checks import check_array, shown
from continuum.records import field_names
from solvers import (
    Certificate,
    Comparison,
    Explanation,
    Extremal,
    ExtremalPoints,
    MinimalNorm,
    Multistart,
    Path,
    Refinement,
    Solution,
    Trajectory,
)
from solvers.hjb import ClosedLoop, ValueFunction
from solvers.linear_networks import StepReport
from solvers.pontryagin.extremals import entry_name

Exportable: TypeAlias = (
    Solution | Trajectory | Control | FunctionControl | ExtremalPoints | Path | ValueFunction
)
Variables: TypeAlias = "dict[str, tuple[tuple[str, ...], Array, dict[str, str]]]"
Row: TypeAlias = "dict[str, object]"

_RUN = ("time", "unit", "sample")


def to_xarray(result: Exportable, *, times: Sequence[float] | Array | None = None) -> xr.Dataset:
    """A result as labelled arrays, whose variables have units and long_name; `to_netcdf` of the
    Dataset writes them to a file.

    result : what a solver returned, or its parts:
        Trajectory       state (time, unit, sample)
        Control          each trained block by its name, (layer or node, NAME_row, NAME_column),
                         with the times where layers start and end, or of the nodes, as coordinates
        Extremal         state, costate, hamiltonian, the control by block and its switching
                         functions, switching_NAME
        ClosedLoop       the control, and state, partials and ridges beside it
        Path             state, costate, remaining and the gradient by block
        ValueFunction    value (time, x1, ..., xN)
    times : (L,), in [0, T], for extremals and controls: the control is then given at these times,
        (time, NAME_row, ...), from the right where it jumps; for extremals None means the ends of
        their steps
    returns a Dataset; what a Solution recorded is in variables of dimension `iteration`, or
        NAME_record of a Record monitor, named as in its history, with "history_" before a name
        that is taken; status, objective and statistics are attributes
    raises TypeError for what has no arrays of its own, ValueError for times where they make no
        sense, or lie outside [0, T], or are wanted and missing (controls made of functions)
    """
    wanted = None if times is None else check_array("times", times, ("L",))  # type: ignore[arg-type]
    if isinstance(result, Solution):
        value = result if isinstance(result, Extremal | ClosedLoop) else result.value
        variables, coordinates = _arrays(value, wanted)
        if result.multiplier is not None:
            given = ("constraint", "sample"), to_host(result.multiplier), _named("multiplier")
            variables["multiplier"] = given
        for name, (dimension, numbers) in _recorded(result.history).items():
            free = f"history_{name}" if name in variables or name in coordinates else name
            variables[free] = (dimension,), numbers, _named(name)
        return xr.Dataset(variables, coordinates, _attributes(result))
    variables, coordinates = _arrays(result, wanted)
    attributes = {}
    if isinstance(result, ValueFunction):
        attributes = {"status": result.status.name, "sentence": result.status.value}
        attributes |= {"scheme": result.scheme, "steps": result.steps}
    return xr.Dataset(variables, coordinates, attributes)


def _arrays(result: object, times: Array | None) -> tuple[Variables, Variables]:
    """The variables of a result and their coordinates."""
    if isinstance(result, Extremal):
        if result.dense is not None:
            return _points(result.at(result.state.times if times is None else times))
        if times is not None:
            result.at(times)  # says why there is nothing between the steps
        variables, coordinates = _of_control(result.value, None)
        variables |= _runs(state=result.state.states, costate=result.costate.states)
        return variables, coordinates | _time(result.state.times)
    if isinstance(result, Control | FunctionControl):
        return _of_control(result, times)
    if times is not None:
        raise ValueError(
            f"times are for extremals and controls; a {type(result).__name__} has those that it "
            f"was computed with: integrate(..., save=times) gives states at any times"
        )
    if isinstance(result, ExtremalPoints):
        return _points(result)
    if isinstance(result, Trajectory):
        return _runs(state=result.states), _time(result.times)
    if isinstance(result, ClosedLoop):
        variables, coordinates = _of_control(result.value, None)
        variables |= _runs(state=result.state.states)
        for name in ("partials", "ridges"):
            variables[name] = ("layer", "unit"), getattr(result, name), _named(name)
        return variables, coordinates | _time(result.state.times)
    if isinstance(result, Path):
        variables, coordinates = _of_control(result.gradient, None)
        variables |= _runs(state=result.states, costate=result.costates, remaining=result.remaining)
        return variables, coordinates | _time(result.times)
    if isinstance(result, ValueFunction):
        axes = {f"x{i + 1}": x for i, x in enumerate(result.grid.axes)}
        coordinates = _time(result.times)
        for i, (name, x) in enumerate(axes.items()):
            coordinates[name] = (name,), x, _named(f"state of unit {i + 1}")
        shape = ("time", *axes)
        return {"value": (shape, result.values, _named("least cost to go"))}, coordinates
    raise TypeError(
        "result must be a Solution, Trajectory, Control, Path or ValueFunction, got "
        f"{type(result).__name__}; to_dataframe makes tables"
    )


def _points(points: ExtremalPoints) -> tuple[Variables, Variables]:
    variables = _runs(state=points.states, costate=points.costates)
    for name, values in points.control.items():
        variables[name] = _at_times(name, values, name)
    for name, values in points.switching.items():
        shown = _at_times(name, values, f"switching function of {name}")
        variables[f"switching_{name}"] = shown
    variables["hamiltonian"] = ("time",), points.hamiltonian, _named("minimised Hamiltonian")
    return variables, _time(points.times)


def _at_times(name: str, values: Array, meaning: str) -> tuple[tuple[str, ...], Array, dict]:
    return ("time", *_axes_of(name, np.ndim(values) - 1)), to_host(values), _named(meaning)


def _runs(**runs: Array) -> Variables:
    """States and costates (S, N, M) by name."""
    return {name: (_RUN, to_host(x), _named(name)) for name, x in runs.items()}


def _time(times: Array) -> Variables:
    return {"time": (("time",), to_host(times), _named("time"))}


def _named(name: str) -> dict[str, str]:
    """The attributes of a variable; everything here is a pure number."""
    return {"long_name": name.replace("_", " "), "units": "1"}


def _axes_of(name: str, count: int) -> tuple[str, ...]:
    """The names of the dimensions of a block, its own: blocks may differ in their lengths."""
    own = ("row", "column") if count <= 2 else tuple(f"axis{i}" for i in range(count))
    return tuple(f"{name}_{axis}" for axis in own[:count])


def _of_control(
    control: Control | FunctionControl, times: Array | None
) -> tuple[Variables, Variables]:
    """The coefficients of a control, or its values at some times."""
    if times is not None:
        return _values(control, times), _time(times)
    if isinstance(control, FunctionControl):
        raise ValueError("times must be given for a control made of functions")
    variables: Variables = {}
    coordinates: Variables = {}
    for block in control.space.trained:
        dimension, own = _layers(control.space, block)
        coordinates |= own
        shape = (*dimension, *_axes_of(block.name, len(block.shape)))
        variables[block.name] = shape, to_host(control[block.name]), _named(block.name)
    return variables, coordinates


def _layers(space: ControlSpace, block: Block) -> tuple[tuple[str, ...], Variables]:
    """The dimension of a block in time, none if it is static, and its coordinates."""
    if block.time == "static":
        return (), {}
    first, last = block.span or (0, space.mesh.layers)
    suffix = f"_{first}_{last}" if block.span else ""
    nodes = space.mesh.nodes[first : last + 1]
    if block.time == "nodes":
        name = f"node{suffix}"
        return (name,), {f"{name}_time": ((name,), nodes, _named("time of the node"))}
    name = f"layer{suffix}"
    return (name,), {
        f"{name}_start": ((name,), nodes[:-1], _named("time at which the layer starts")),
        f"{name}_end": ((name,), nodes[1:], _named("time at which the layer ends")),
    }


def _values(control: Control | FunctionControl, times: Array) -> Variables:
    """Each block (L, *block.shape), NaN at times at which it does not live; blocks of a
    FunctionControl that are never stored are left out.
    """
    horizon = control.mesh.horizon
    if np.any((times < 0.0) | (times > horizon)):
        raise ValueError(f"times must be in [0, {horizon:g}], got {times}")
    rows = [control.at(float(t)) for t in times]
    variables: Variables = {}
    blocks = control.space.trained if isinstance(control, Control) else control.blocks
    for block in blocks:
        if block.prepare is not None:
            continue
        lacking = np.full(block.shape, np.nan)
        values = np.stack([to_host(row.get(block.name, lacking)) for row in rows])
        variables[block.name] = _at_times(block.name, values, block.name)
    return variables


def _recorded(history: Mapping[str, Array]) -> dict[str, tuple[str, Array]]:
    """(dimension, numbers) of what was recorded: `iteration` for what belongs to every iterate."""
    rows = len(history.get("seconds", ()))
    found = {}
    for name, numbers in history.items():
        own = f"{name.removesuffix('.times')}_record"
        dimension = "iteration" if len(numbers) == rows and f"{name}.times" not in history else own
        if name.endswith(".times"):
            dimension = own
        found[name.replace("/", "_")] = dimension.replace("/", "_"), to_host(numbers)
    return found


def _attributes(solution: Solution) -> dict[str, object]:
    found: dict[str, object] = {
        "status": solution.status.name,
        "sentence": solution.status.value,
        **solution.statistics,
    }
    if solution.detail:
        found["detail"] = solution.detail
    if not np.isnan(solution.objective):
        found["objective"] = solution.objective
    if isinstance(solution, MinimalNorm):
        for name in ("norm", "norm_before", "endpoint_error", "endpoint_error_before"):
            found[name] = getattr(solution, name)
        found["kkt_residual"] = solution.kkt_residual
    return found


def to_dataframe(table: object) -> pd.DataFrame:
    """A table that a solver returned, one row per entry.

    table : a Solution, for the history of its iterations; a Refinement, Comparison, Multistart,
        Branch, Explanation, StepReport, Certificate (H and its gap at the ends of steps), the
        points of an extremal (a column for each entry: "state[0, 0]" of unit and sample, "bias[1]",
        "switching_bias[1]"), or any
        other record with one number per row, such as Certificates, Attack or ConvexFit; a sequence
        of records, such as `extremal.switches` or what `equilibria` returns; a mapping of names to
        columns of one length
    raises TypeError for what is no table
    """
    if isinstance(table, type):
        raise TypeError(f"table must be what a solver returned, got {shown(table)}")
    return _frame(table)


@singledispatch
def _frame(table: object) -> pd.DataFrame:
    if isinstance(table, Sequence) and all(field_names(entry) for entry in table):
        return pd.DataFrame([_row(entry) for entry in table])
    columns = _columns({name: getattr(table, name) for name in field_names(table)})
    if len(columns) < 2:
        raise TypeError(
            f"table must be a Solution, a record with one number per row or a sequence of "
            f"records, got {type(table).__name__}"
        )
    return pd.DataFrame(columns)


def _columns(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields that hold one number, word or truth per row, of the length that most of them
    have.
    """
    found: dict[int, dict[str, object]] = {}
    for name, value in fields.items():
        if is_array(value) and np.ndim(value) == 1:  # type: ignore[arg-type]
            found.setdefault(len(value), {})[name] = to_host(value)  # type: ignore[arg-type]
        elif isinstance(value, tuple) and value and all(map(_is_scalar, value)):
            found.setdefault(len(value), {})[name] = list(value)
    return max(found.values(), key=len) if found else {}


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | float | int | np.generic)


def _row(record: object) -> Row:
    """The numbers and words of a record; short arrays one column per entry."""
    found: Row = {}
    for name in field_names(record):
        value = getattr(record, name)
        short = isinstance(value, tuple) and all(map(_is_scalar, value))
        if value is None or short or _is_scalar(value):
            found[name] = value
        elif is_array(value) and np.ndim(value) == 1 and len(value) <= 8:
            found |= {f"{name}_{i}": x for i, x in enumerate(to_host(value).tolist())}  # type: ignore[arg-type]
    return found


@_frame.register(Mapping)
def _(table: Mapping) -> pd.DataFrame:
    lengths = {name: np.shape(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise TypeError(f"table must have columns of one length, got shapes {lengths}")
    return pd.DataFrame({name: to_host(column) for name, column in table.items()})


@_frame.register
def _(table: Solution) -> pd.DataFrame:
    recorded = _recorded(table.history)
    columns = {name: x for name, (dimension, x) in recorded.items() if dimension == "iteration"}
    if not columns:  # a run that only monitors recorded
        columns = _columns({name: x for name, (_, x) in recorded.items()})
    return pd.DataFrame(columns).rename_axis("iteration")


@_frame.register
def _(table: Refinement) -> pd.DataFrame:
    columns = {"size": table.sizes, "error": table.errors, "order": [np.nan, *table.orders]}
    if all(np.ndim(value) == 0 for value in table.values):
        columns["value"] = [float(value) for value in table.values]
    return pd.DataFrame(columns)


@_frame.register
def _(table: Comparison) -> pd.DataFrame:
    rows: list[Row] = []
    for a in table.attempts:
        judged, certificate = a.evaluation, a.certificate
        row: Row = {"method": a.name, "objective": a.objective}
        for name in ("depth_error", "width_error", "feasible"):
            row[name] = np.nan if judged is None else getattr(judged, name)
        row |= {
            "seconds": a.seconds,
            "gap": certificate.total_gap,
            "gap_exact": certificate.gap_exact,
            "projected_gradient": certificate.projected_gradient,
            "extremal": a.cluster,
            "status": a.solution.status.name,
            "no_certificate_because": "" if certificate.applies else certificate.reason,
        }
        rows.append(row)
    return pd.DataFrame(rows)


@_frame.register
def _(table: Multistart) -> pd.DataFrame:
    rows: list[Row] = [
        {
            "cluster": k,
            "objective": cluster.best.objective,
            "spread": cluster.spread,
            "starts": cluster.count,
            "status": cluster.best.status.name,
        }
        for k, cluster in enumerate(table.clusters)
    ]
    for run in table.failed.values():
        ended = {"objective": run.objective, "starts": 1, "status": run.status.name}
        rows.append({"cluster": -1, "spread": np.nan, **ended})
    return pd.DataFrame(rows, columns=["cluster", "objective", "spread", "starts", "status"])


@_frame.register
def _(table: Explanation) -> pd.DataFrame:
    rows = [
        {"theorem": t.name, "applies": t.applies, **_hypothesis(h), "consequence": t.consequence}
        for t in table.theorems
        for h in t.hypotheses
    ]
    return pd.DataFrame(rows)


def _hypothesis(record: object) -> Row:
    return {"hypothesis" if n == "name" else n: x for n, x in _row(record).items()}


@_frame.register
def _(table: StepReport) -> pd.DataFrame:
    return _frame(table.explanation)


@_frame.register
def _(table: ExtremalPoints) -> pd.DataFrame:
    variables, _ = _points(table)
    columns = {"time": table.times}
    for name, (_, values, _) in variables.items():
        flat = np.reshape(values, (len(table.times), -1))
        places = np.ndindex(*values.shape[1:])
        columns |= {entry_name(name, i): x for i, x in zip(places, flat.T, strict=True)}
    return pd.DataFrame(columns)


@_frame.register
def _(table: Certificate) -> pd.DataFrame:
    layers = np.broadcast_to(np.arange(len(table.times))[:, None], table.times.shape)
    columns = {"layer": layers, "time": table.times, "hamiltonian": table.hamiltonian}
    return pd.DataFrame({name: x.ravel() for name, x in {**columns, "gap": table.gap}.items()})
