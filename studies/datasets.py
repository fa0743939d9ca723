"""Data to learn: toy sets, scikit-learn's digits and irises, and files found locally or downloaded
against a checksum.
"""

import csv
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pooch
from sklearn import datasets as sklearn_datasets
from sklearn.model_selection import train_test_split

from continuum.checks import check_count

FOLDER_VARIABLE = "CONTINUUM_DATA"
"""The environment variable that names a folder with data files."""


class DataError(ValueError):
    """A data file is missing, is not the one expected, or could not be downloaded; the message says
    what to do.
    """


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with labels, samples first as in scikit-learn (states of a network have them last:
    inputs.T).

    inputs : (samples, ...), float64
    labels : (samples,), int classes or float targets
    description : what it is and where it comes from
    columns : names of the inputs' columns, where they have names
    """

    inputs: np.ndarray
    labels: np.ndarray
    description: str
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataFile:
    """A file known by its name and SHA-256; `url` is None if there is no public place to download
    it from.
    """

    name: str
    sha256: str
    url: str | None = None


DATA_FILES: Mapping[str, DataFile] = MappingProxyType(
    {
        "boston_housing": DataFile(
            "boston_housing.csv",
            "ab16ba38fbbbbcc69fe930aab1293104f1442c8279c130d9eba03dd864bef675",
            "https://raw.githubusercontent.com/selva86/datasets/master/BostonHousing.csv",
        ),
        "mnist_sample": DataFile(
            "mnist_sample.npz", "c15be9382d380c8dd791a161b3b0da06faba7434662f8a23db6b4b10066c7fef"
        ),
    }
)
"""The data files that loaders ask for."""


def load_digits() -> Dataset:
    """The 1797 handwritten digits of scikit-learn: images (1797, 8, 8) in [0, 1], labels 0 to 9."""
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    return Dataset(
        np.asarray(images, dtype=np.float64).reshape(-1, 8, 8) / 16.0,
        np.asarray(labels, dtype=np.int64),
        "Optical recognition of handwritten digits (Alpaydin and Kaynak, 1998): 1797 images of 8 "
        "x 8 pixels",
    )


def iris() -> Dataset:
    """The 150 irises of scikit-learn: lengths and widths of sepals and petals in cm, (150, 4), and
    labels 0 setosa, 1 versicolor, 2 virginica.
    """
    inputs, labels = sklearn_datasets.load_iris(return_X_y=True)
    return Dataset(
        np.asarray(inputs, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        "Irises (Anderson, 1935; Fisher, 1936): 50 of each of three species",
        ("sepal length", "sepal width", "petal length", "petal width"),
    )


def rings(samples: int, seed: int, noise: float = 0.05, factor: float = 0.5) -> Dataset:
    """Two concentric circles in the plane: label 0 on the outer, of radius 1, label 1 on the inner,
    of radius `factor`.

    samples : points in all; seed : of the noise and the order; noise : its standard deviation
    raises ValueError for fewer than 2 samples, noise < 0, or a factor outside [0, 1)
    """
    _check_toy(samples, seed, noise)
    if not 0.0 <= factor < 1.0:
        raise ValueError(f"factor must be in [0, 1), got {factor}")
    points, labels = sklearn_datasets.make_circles(
        samples, noise=noise, factor=factor, random_state=seed
    )
    return Dataset(
        np.asarray(points, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        f"two rings, {samples} points, noise {noise}",
    )


def moons(samples: int, seed: int, noise: float = 0.1) -> Dataset:
    """Two interleaving half circles in the plane, labels 0 and 1.

    samples : points in all; seed : of the noise and the order; noise : its standard deviation
    raises ValueError for fewer than 2 samples or noise < 0
    """
    _check_toy(samples, seed, noise)
    points, labels = sklearn_datasets.make_moons(samples, noise=noise, random_state=seed)
    return Dataset(
        np.asarray(points, dtype=np.float64),
        np.asarray(labels, dtype=np.int64),
        f"two moons, {samples} points, noise {noise}",
    )


def boston_housing(folder: Path | None = None) -> Dataset:
    """House values in 506 tracts of Boston: inputs (506, 13) with named columns, labels the median
    value in $1000.

    The column "b" is a transform of the share of Black residents, built on a racist premise: the
    set serves comparison with published numbers, not as a model of anything.  Source: Harrison and
    Rubinfeld (1978).
    folder : where to look first, in place of the environment variable CONTINUUM_DATA
    raises DataError if the file is not there and cannot be downloaded, or is another file
    """
    path = fetch(DATA_FILES["boston_housing"], folder)
    with path.open(newline="", encoding="utf-8") as lines:
        header, *rows = list(csv.reader(lines))
    table = np.array([[float(entry) for entry in row] for row in rows])
    return Dataset(
        table[:, :-1],
        table[:, -1],
        "Boston housing (Harrison and Rubinfeld, 1978); mind the column b, built on a racist "
        "premise",
        tuple(header[:-1]),
    )


def mnist_sample(folder: Path | None = None) -> Dataset:
    """1206 distinct MNIST digits, shuffled: images (1206, 28, 28) in [0, 1], labels 0 to 9.

    folder : where to look, in place of the environment variable CONTINUUM_DATA
    raises DataError if the file is not there (it has no public address) or is another file
    """
    with np.load(fetch(DATA_FILES["mnist_sample"], folder)) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return Dataset(
        images / 255.0, labels.astype(np.int64), "a sample of 1206 MNIST digits of 28 x 28 pixels"
    )


def data_folder() -> Path | None:
    """The folder that the environment variable CONTINUUM_DATA names; None if it is not set."""
    value = os.environ.get(FOLDER_VARIABLE)
    return Path(value) if value else None


def fetch(file: DataFile, folder: Path | None = None) -> Path:
    """The path of a data file whose content has the right checksum.

    It is looked for in `folder`, or else the folder that CONTINUUM_DATA names; if it is not there
    it is downloaded once into the user's cache.
    raises DataError, which says what to do, if it is found but is another file, or cannot be had
    """
    place = folder if folder is not None else data_folder()
    if place is not None:
        path = Path(place) / file.name
        if path.is_file():
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != file.sha256:
                raise DataError(
                    f"{path} is not the file expected: its SHA-256 is {found}, expected "
                    f"{file.sha256}"
                )
            return path
    looked = f"it is not in {place}" if place is not None else f"{FOLDER_VARIABLE} is not set"
    remedy = (
        f"Put {file.name} (SHA-256 {file.sha256}) into a folder and set the environment variable "
        f"{FOLDER_VARIABLE} to it, or pass folder="
    )
    if file.url is None:
        raise DataError(
            f"{file.name} was not found ({looked}) and has no public address to download from. "
            f"{remedy}"
        )
    try:
        return Path(
            pooch.retrieve(
                file.url, f"sha256:{file.sha256}", file.name, pooch.os_cache("continuum-networks")
            )
        )
    except (
        OSError,
        ValueError,
    ) as error:  # no network, no such address, or another content than the checksum's
        raise DataError(
            f"{file.name} was not found ({looked}) and could not be downloaded from {file.url}: "
            f"{' '.join(str(error).split())}. {remedy}"
        ) from error


@dataclass(frozen=True, eq=False)
class Samples:
    """Images as states (N, M) with entries in [-1, 1], and labels (M,), for training and for the
    test.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray


def averaged(images: np.ndarray, side: int) -> np.ndarray:
    """Images (M, n, n) averaged over blocks of pixels: (M, side, side).  Raises ValueError unless
    side divides n.
    """
    pixels = images.shape[1]
    if side < 1 or pixels % side:
        raise ValueError(f"side must divide the {pixels} pixels of an image, got {side}")
    block = pixels // side
    return images.reshape(len(images), side, block, side, block).mean(axis=(2, 4))


def split(images: np.ndarray, labels: np.ndarray, samples: int, seed: int) -> Samples:
    """The first `samples` images, a fifth of them for the test, drawn class by class.

    images : (M, n, n) in [0, 1]; raises ValueError unless 50 <= samples <= M, seed >= 0
    """
    if not 50 <= samples <= len(labels):
        raise ValueError(f"samples must be from 50 to {len(labels)}, got {samples}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    kept = labels[:samples]
    train, test = train_test_split(
        np.arange(samples), test_size=0.2, random_state=seed, stratify=kept
    )
    states = 2.0 * images[:samples].reshape(samples, -1).T - 1.0
    return Samples(states[:, train], kept[train], states[:, test], kept[test])


def _check_toy(samples: int, seed: int, noise: float) -> None:
    check_count("samples", samples, 2)
    check_count("seed", seed, 0)
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise must be finite and >= 0, got {noise}")
