"""Compiled leaf loops on the pairs of M samples and S states that all samples share.

Arrays of pairs are (h, M S), contiguous, the states of one sample side by side.  The reference is
the generic path of `pointwise.py`.  code, parameter : those of an activation (continuum.compiled);
`known` is its value for the codes in FROM_VALUE, its argument for the others.
"""

import numpy as np

from continuum.compiled import activate_row, compiled, slope_row, summing


@summing
def _total(row):
    """The sum of a row."""
    total = 0.0
    for m in range(row.size):
        total += row[m]
    return total


@compiled
def spread(code, parameter, of_states, of_samples, known, out):
    """out_(m s) = sigma(u_(m s)), u_(m s) = of_states_s + of_samples_m; `known` gets u where it is
    another array than `out`.

    of_states : (h, S);  of_samples : (h, M)
    """
    count = of_states.shape[1]
    for i in range(out.shape[0]):
        row, states, samples = out[i], of_states[i], of_samples[i]
        for m in range(samples.size):
            part, sample = row[m * count : (m + 1) * count], samples[m]
            for s in range(count):
                part[s] = states[s] + sample
        if known.size:
            known[i] = row
        activate_row(code, parameter, row)


@compiled
def activate(code, parameter, offset, known, out):
    """out <- sigma(out + offset), offset (h,); `known` as in `spread`."""
    for i in range(out.shape[0]):
        row, b = out[i], offset[i]
        for m in range(row.size):
            row[m] += b
        if known.size:
            known[i] = row
        activate_row(code, parameter, row)


@compiled
def paired(a, b, sums):
    """sums_m <- sums_m + sum_i a_im b_im."""
    for i in range(a.shape[0]):
        first, second = a[i], b[i]
        for m in range(sums.size):
            sums[m] += first[m] * second[m]


@compiled
def slope(code, parameter, known, d, sums):
    """d <- sigma' d, and sums_i <- sums_i + the sum of row i of the result."""
    for i in range(d.shape[0]):
        slope_row(code, parameter, known[i], d[i])
        sums[i] += _total(d[i])


@compiled
def gather(columns, a, out):
    """out_(i j) = a_(i columns_j)."""
    for i in range(a.shape[0]):
        row, into = a[i], out[i]
        for j in range(columns.size):
            into[j] = row[columns[j]]


@compiled
def collect(columns, d, of_states, of_samples):
    """Adds d (h, A), at the pairs `columns` = m S + s, which increase, to of_states (h, S) and
    of_samples (h, M).
    """
    count, samples = of_states.shape[1], of_samples.shape[1]
    ends = np.searchsorted(columns, count * np.arange(1, samples + 1))
    for i in range(d.shape[0]):
        row, states, begin = d[i], of_states[i], 0
        for m in range(samples):
            end, total = ends[m], 0.0
            if end - begin == count:
                for s in range(count):
                    states[s] += row[begin + s]
                total = _total(row[begin:end])
            else:
                for j in range(begin, end):
                    states[columns[j] - m * count] += row[j]
                    total += row[j]
            of_samples[i, m] += total
            begin = end
