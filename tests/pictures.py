"""What every picture of a study must have."""

import importlib
import re
from pathlib import Path

import xarray as xr

from studies.bench.parameters import ParameterGrid
from studies.bench.registry import find_study
from studies.bench.store import read_case
from studies.bench.sweep import run_sweep


def check_pictures(
    name: str,
    grids: list[ParameterGrid],
    captions: dict[str, str],
    folder: Path,
    paper: str = "liu_markowich",
) -> list[xr.Dataset]:
    """Runs cases of a study and returns them: its pictures are those of `captions`, whose
    expressions their captions match.
    """
    importlib.import_module(f"studies.{paper}.{name}")
    study = find_study(f"{paper}/{name}")
    done = run_sweep(study, grids, folder, progress="none")
    assert done.count("done") == len(study.expand(grids))
    assert study.plot is not None
    cases = [read_case(path) for path in done.paths]
    pictures = {p.name: p for p in study.plot(cases)}
    assert pictures.keys() == captions.keys()
    for key, picture in pictures.items():
        assert picture.caption.endswith(".")
        assert all(ax.get_xlabel() and ax.get_ylabel() for ax in picture.figure.axes)
        text = " ".join(picture.caption.split())
        assert re.search(captions[key], text), text
    return cases
