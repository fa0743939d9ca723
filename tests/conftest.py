"""Every test and fixture: floating-point errors raise, and randomness has a seed."""

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="module")
def _floating_point_errors_raise():
    with np.errstate(all="raise", under="ignore"):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(42)
