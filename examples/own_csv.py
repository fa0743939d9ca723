"""A CSV file of one's own: train, score on what was held out, look at the network.

    python examples/own_csv.py data.csv species

The file has one row per sample and a line of names; the column named is predicted from the others,
which are numbers.  Numbers are predicted by regression, anything else by classification.
"""

import sys

import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from continuum import ResNet
from solvers import ode_test
from studies import ContinuumClassifier, ContinuumRegressor


def main(path: str, column: str) -> None:
    """Prints the score on a quarter of the rows, and whether the trained ResNet is an ODE."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path} cannot be read as a table: {error}") from None
    if column not in table:
        raise SystemExit(f"{path} has no column {column!r}; it has {', '.join(table)}")
    features, target = table.drop(columns=column), table[column]
    texts = features.columns.difference(features.select_dtypes("number").columns)
    if len(texts) or table.isna().to_numpy().any():
        gaps = table.columns[table.isna().any()]
        raise SystemExit(
            f"features must be numbers without gaps: text in {list(texts)}, gaps in {list(gaps)}"
        )
    numeric = pd.api.types.is_numeric_dtype(target)
    estimator = ContinuumRegressor if numeric else ContinuumClassifier
    trained = estimator(layers=16, random_state=0)
    model = make_pipeline(StandardScaler(), trained)
    parts = train_test_split(features, target, random_state=0, stratify=None if numeric else target)
    train, test, train_target, test_target = parts
    model.fit(train, train_target)
    kind = "R^2" if numeric else "accuracy"
    print(f"{kind} {model.score(test, test_target):.3f} on {len(test)} rows held out")
    print(ode_test(ResNet.from_control(trained.network_, trained.control_)))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python examples/own_csv.py FILE.csv COLUMN")
    main(sys.argv[1], sys.argv[2])
