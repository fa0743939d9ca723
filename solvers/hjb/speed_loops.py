"""Compiled descents in speeds; the references are the sweeps of `speeds`.

For a cost sum_i g_i (f_i - y_i)^2 at T, and one of the same form along the way, in a problem that
does not depend on time.  Arrays of one descent: theta, gradient and vertex (K, N), states
(K + 1, N), tape (K, 2, WIDTH, N) with a row for each number that the way back reads.
"""

from typing import NamedTuple

import numpy as np

from continuum.arrays import Array
from continuum.compiled import activate_row, compiled, inlined, slope_row

STATE, LOW, HIGH, WIDE, INNER = range(5)
WIDTH = 5
"""Rows of the tape: f, psi' at both ends, hi - lo, phi'."""


class Program(NamedTuple):
    """A Hamiltonian as arrays.

    steps : (K,);  offsets : (2, N), what bias and fixed bias add to both ends
    entries : (2,), the bounds of the kernel's entries, where they are chosen
    matrix : (N, N), the kernel where it is fixed, (0, 0) where not
    measure : (N,), sign times w
    codes : (4,), of phi and psi and whether their slopes are found from values
    parameters : (2,)
    terminal, running : (2, N), g and y; running (2, 0) where there is no such cost
    """

    steps: Array
    offsets: Array
    entries: Array
    matrix: Array
    measure: Array
    codes: Array
    parameters: Array
    terminal: Array
    running: Array


@inlined
def _both(code, parameter, from_value, s, slope):
    """s <- sigma(s), slope <- sigma'(s)."""
    for j in range(s.size):
        slope[j] = 1.0
    if from_value:
        activate_row(code, parameter, s)
        slope_row(code, parameter, s, slope)
    else:
        slope_row(code, parameter, s, slope)
        activate_row(code, parameter, s)


@inlined
def _velocity(p, f, theta, tape, r, low, v):
    """v, and the rows of the tape at f.  r, low : (N,) each, to be used."""
    units = f.size
    for j in range(units):
        tape[STATE, j] = f[j]
        r[j] = f[j]
    _both(p.codes[0], p.parameters[0], p.codes[2], r, tape[INNER])
    least = most = 0.0
    if p.matrix.shape[0] == 0:
        for j in range(units):
            x = p.measure[j] * r[j]
            least += p.entries[0] * x if x > 0.0 else p.entries[1] * x
            most += p.entries[1] * x if x > 0.0 else p.entries[0] * x
    for i in range(units):
        still = 0.0
        for j in range(p.matrix.shape[0]):
            still += p.matrix[i, j] * p.measure[j] * r[j]
        low[i] = p.offsets[0, i] + least + still
        v[i] = p.offsets[1, i] + most + still
    _both(p.codes[1], p.parameters[1], p.codes[3], low, tape[LOW])
    _both(p.codes[1], p.parameters[1], p.codes[3], v, tape[HIGH])
    for i in range(units):
        tape[WIDE, i] = v[i] - low[i]
        v[i] = low[i] + theta[i] * tape[WIDE, i]


@inlined
def _pulled_back(p, theta, tape, q, back, own):
    """back <- the derivative of sum_i q_i v_i in f, own <- own + that in theta."""
    units = q.size
    slow = fast = 0.0
    for i in range(units):
        own[i] += q[i] * tape[WIDE, i]
        slow += tape[LOW, i] * (1.0 - theta[i]) * q[i]
        fast += tape[HIGH, i] * theta[i] * q[i]
    for j in range(units):
        total = 0.0
        if p.matrix.shape[0] == 0:
            x = p.measure[j] * tape[STATE, j]  # phi keeps signs
            if x > 0.0:
                total = p.entries[0] * slow + p.entries[1] * fast
            elif x < 0.0:
                total = p.entries[1] * slow + p.entries[0] * fast
        for i in range(p.matrix.shape[0]):
            share = tape[LOW, i] * (1.0 - theta[i]) + tape[HIGH, i] * theta[i]
            total += p.matrix[i, j] * share * q[i]
        back[j] = p.measure[j] * tape[INNER, j] * total


@inlined
def _quadratic(cost, f):
    total = 0.0
    for i in range(f.size):
        total += cost[0, i] * (f[i] - cost[1, i]) ** 2
    return total


@compiled
def forward(p, theta, states, tape, work):
    """Fills states from states[0], and the tape; the cost.  work : (4, N)."""
    r, low, v, second = work[0], work[1], work[2], work[3]
    total = 0.0
    for k in range(p.steps.size):
        tau, f, after = p.steps[k], states[k], states[k + 1]
        _velocity(p, f, theta[k], tape[k, 0], r, low, v)
        for i in range(f.size):
            after[i] = f[i] + tau * v[i]
        _velocity(p, after, theta[k], tape[k, 1], r, low, second)
        for i in range(f.size):
            after[i] = f[i] + 0.5 * tau * (v[i] + second[i])
        if p.running.shape[1] > 0:
            total += 0.5 * tau * (_quadratic(p.running, f) + _quadratic(p.running, after))
    return total + _quadratic(p.terminal, states[p.steps.size])


@compiled
def backward(p, theta, states, tape, work, gradient):
    """Fills the gradient (K, N) from what `forward` left."""
    q, early, late, half = work[0], work[1], work[2], work[3]
    units = q.size
    for i in range(units):
        q[i] = 2.0 * p.terminal[0, i] * (states[p.steps.size, i] - p.terminal[1, i])
    for k in range(p.steps.size - 1, -1, -1):
        tau, own = p.steps[k], gradient[k]
        for i in range(units):
            own[i] = 0.0
            if p.running.shape[1] > 0:
                slope = 2.0 * p.running[0, i] * (states[k + 1, i] - p.running[1, i])
                q[i] += 0.5 * tau * slope
            half[i] = 0.5 * tau * q[i]
        _pulled_back(p, theta[k], tape[k, 1], half, late, own)
        for i in range(units):
            half[i] += tau * late[i]
        _pulled_back(p, theta[k], tape[k, 0], half, early, own)
        for i in range(units):
            q[i] += late[i] + early[i]
            if p.running.shape[1] > 0:
                slope = 2.0 * p.running[0, i] * (states[k, i] - p.running[1, i])
                q[i] += 0.5 * tau * slope


@compiled
def descend(p, theta, starts, most, rtol, costs, gaps):
    """Frank-Wolfe's method for many thetas (D, K, N), in place, from the states `starts` (D, N);
    fills costs and the gaps (gradient, theta - vertex) (D,).
    """
    layers, units = theta.shape[1], theta.shape[2]
    states, tape = np.empty((layers + 1, units)), np.empty((layers, 2, WIDTH, units))
    gradient, trial = np.empty((layers, units)), np.empty((layers, units))
    work = np.empty((4, units))
    for d in range(len(theta)):
        x = theta[d]
        states[0] = starts[d]
        cost = forward(p, x, states, tape, work)
        for _ in range(most):
            backward(p, x, states, tape, work, gradient)
            gap = 0.0
            for k in range(layers):
                for i in range(units):
                    g = gradient[k, i]
                    vertex = 0.0 if g > 0.0 else 1.0 if g < 0.0 else x[k, i]
                    gap += g * (x[k, i] - vertex)
                    gradient[k, i] = vertex - x[k, i]
            gaps[d] = gap
            if not gap > rtol * (1.0 + abs(cost)):
                break
            step, found = 1.0, cost
            for _ in range(40):
                for k in range(layers):
                    for i in range(units):
                        trial[k, i] = x[k, i] + step * gradient[k, i]
                found = forward(p, trial, states, tape, work)
                if found <= cost - 0.1 * step * gap:
                    break
                bend = found - cost + step * gap  # > 0
                step *= min(max(0.5 * step * gap / bend, 0.1), 0.7)
            if found >= cost:
                forward(p, x, states, tape, work)
                break
            x[:] = trial
            cost = found
        costs[d] = cost
