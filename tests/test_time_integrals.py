"""Cuts in time where an integrand changes fast."""

import numpy as np

from solvers.theory.time_integrals import cuts_at_changes


def test_a_peak_that_one_sample_meets_gets_two_cuts_on_either_side():
    """A size h at one of n samples and 0 at the others has the mean h / n: it rises and falls by
    fractions n / (n + 1), and their sum is 1/4, 3/4, 5/4 and 7/4 at the cuts.
    """
    n, peak, breakpoints = 64, 20, np.array([1.0, 1.7, 3.0])
    width = 2.0 / n
    before, at = 1.0 + width * (np.array([peak - 1, peak]) + 0.5)

    def size(t: float) -> float:
        return 5.0 if abs(t - at) < 0.5 * width else 0.0

    levels = np.array([0.25, 0.75, 1.25, 1.75])
    expected = np.union1d(breakpoints, before + width * levels * (n + 1) / n)
    np.testing.assert_allclose(cuts_at_changes(size, breakpoints, n), expected, rtol=1e-14)
