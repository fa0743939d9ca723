"""Do the tests notice?  Each mutant breaks one line of the numerical core; the fast tests must fail
on every one.

Some are picked by hand, 40 by chance (`random_mutants`).  Run by `make mutants`.  The tree is
copied, so the working tree is never touched.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from random_mutants import Mutant, chosen, suite_of

ROOT = Path(__file__).parent.parent
LEFT_OUT = (".*", "__pycache__", "results", "*.egg-info")
"""What the copy of the tree does without: environments, caches, results."""
CORE = """
    quadrature controls networks kernels transfers stability integrate problem adjoint steppers
    architectures adjoint_steppers readouts sets penalties methods proximal pontryagin msa
    certificate shooting chain chain_loops functional row_problems joint_terms endpoints
    linear_quadratic riccati riccati_newton stiff auto classical_problems direct_sum trained_inputs
    lbfgs updates long_vectors blocks workspace factors linearised dtype products
"""
TESTS = [f"tests/test_{name}.py" for name in CORE.split()]
TESTS.append("tests/laws/test_hamiltonian_and_gradient.py")
LIMIT = 600.0
"""Seconds for one run of tests; a mutant that takes longer is noticed."""

MUTANTS = [
    (
        "a wrong coefficient inside tanh",
        "continuum/elementary.py",
        "-1 / 360,",
        "-1 / 361,",
    ),
    (
        "a wrong quadrature weight",
        "continuum/quadrature.py",
        "np.tile(half * w, split)",
        "np.tile(w / 2, split)",
    ),
    (
        "a missing transpose",
        "continuum/kernels/dense.py",
        "namespace(b).matrix_transpose(b) @",
        "b @",
    ),
    ("a wrong Gram matrix in time", "continuum/time_axes.py", "mass * tau / 3", "mass * tau / 2"),
    (
        "half a second derivative",
        "continuum/networks/maps.py",
        "first, second = self.outer(b, dp, x), self.outer(b, p, dx)",
        "first, second = self.outer(b, dp, x), 0.0 * self.outer(b, p, dx)",
    ),
    (
        "a penalty without its factor two",
        "continuum/penalties.py",
        "2.0 * self.strength",
        "1.0 * self.strength",
    ),
    (
        "stages all at the start of the step",
        "solvers/steps/tableaux.py",
        "slopes.append(velocity(t + float(c) * h, combine",
        "slopes.append(velocity(t, combine",
    ),
    ("a wrong tableau entry", "solvers/steps/embedded.py", "(19372 / 6561,", "(19372 / 6562,"),
    (
        "an objective that ignores adaptive steps",
        "solvers/adjoint/objective.py",
        "if not stepper.adaptive:",
        "if True:",
    ),
    (
        "an error estimate of order 5 alone",
        "solvers/steps/embedded.py",
        "worst(fifth * share)",
        "worst(fifth)",
    ),
    (
        "a continuous extension that sees one time",
        "solvers/steps/embedded.py",
        "velocity(t + float(c) * h, combine(f, h, row",
        "velocity(t, combine(f, h, row",
    ),
    (
        "a wrong implicit tableau",
        "solvers/steps/stiff.py",
        "(296 - 169 * sqrt(6)) / 1800",
        "(296 - 168 * sqrt(6)) / 1800",
    ),
    (
        "chosen stages all at the start of the step",
        "solvers/flow/stiff_stages.py",
        "field(t + c * h, f + z[i, ...])",
        "field(t, f + z[i, ...])",
    ),
    (
        "a method in turn that starts a step late",
        "solvers/steps/auto.py",
        'side="right")) - 1]',
        'side="left")) - 1]',
    ),
    (
        "a power method that stands still",
        "solvers/flow/switching.py",
        "xp.where(grows, new, self.direction)",
        "self.direction",
    ),
    (
        "Newton without shorter corrections",
        "solvers/steps/newton.py",
        "<= (1.0 - 1e-4 * factor) * old",
        "<= np.inf * old",
    ),
    (
        "a layer with the bias of another time",
        "solvers/flow/architectures.py",
        '"hidden", inputs, layer, t + float(method.c[i]) * h',
        '"hidden", inputs, layer, t',
    ),
    (
        "an activation whose adjoint forgets its slope's change",
        "continuum/networks/maps.py",
        "self.activation.derivative(x) * dp + self.activation.second(x) * dx * p",
        "self.activation.derivative(x) * dp",
    ),
    (
        "a convolution without its conjugate",
        "continuum/kernels/convolution.py",
        "xp.conj(on.forth(weighted(w, f)))",
        "on.forth(weighted(w, f))",
    ),
    (
        "weights of the wrong grid",
        "continuum/transfers.py",
        "* fine.weights / coarse.weights[:, None]",
        "* fine.weights",
    ),
    (
        "a Clenshaw-Curtis weight too many",
        "continuum/quadrature.py",
        "halved = np.where(even == n, 0.5, 1.0)",
        "halved = np.where(even == n, 1.0, 1.0)",
    ),
    (
        "a compiled adjoint with a transposed tableau",
        "solvers/adjoint/chain_adjoint.py",
        "method.back[i], i + 1, stages",
        "method.a[i], i + 1, stages",
    ),
    (
        "a compiled blend of the wrong nodes",
        "solvers/flow/chain_loops.py",
        "before * low[y, z] + after * high[y, z]",
        "after * low[y, z] + before * high[y, z]",
    ),
    (
        "a readout's adjoint without the outputs' measure",
        "continuum/readouts.py",
        "return _transposed(weight) @ (like(self.measure(network), r)[:, None] * r)",
        "return _transposed(weight) @ r",
    ),
    (
        "parts of a sum that all begin at t = 0",
        "continuum/networks/direct_sum.py",
        "part.vjp(f[rows], self.own(name, c), t, p[rows])",
        "part.vjp(f[rows], self.own(name, c), 0.0, p[rows])",
    ),
    (
        "filters trained along closed ReLUs",
        "continuum/input_maps.py",
        "np.where(best > 0.0, own, 0.0)",
        "own",
    ),
    (
        "an input map's costate without the weights of the units",
        "solvers/adjoint/trained_inputs.py",
        "bars = self.input_map.vjp(self._phi(control), self._units * p)",
        "bars = self.input_map.vjp(self._phi(control), p)",
    ),
    (
        "a disc whose support point leans to the kernel",
        "continuum/sets.py",
        "length = xp.sqrt(g * g + total * total)",
        "length = xp.sqrt(g * g + 0.9 * total * total)",
    ),
    (
        "a soft threshold without the step",
        "continuum/sparsity.py",
        "1.0 - step * self.strength / xp.maximum",
        "1.0 - self.strength / xp.maximum",
    ),
    (
        "implicit stages with the tableau not transposed",
        "solvers/adjoint/stage_equations.py",
        "gains = self.gains.T if adjoint else self.gains",
        "gains = self.gains",
    ),
    (
        "a Hamiltonian whose Tikhonov term lost its two",
        "solvers/pontryagin/minimisers.py",
        "found = {n: y / (2.0 * strengths[n])",
        "found = {n: y / strengths[n]",
    ),
    (
        "a layer's Hamiltonian at the costate before it",
        "solvers/pontryagin/hamiltonian.py",
        "times[:-1], states[:-1], costates[1:]",
        "times[:-1], states[:-1], costates[:-1]",
    ),
    (
        "costates of two rows that take one",
        "solvers/pontryagin/row_loops.py",
        "beta[k, 0, j] * low + beta[k, 1, j] * high\n            )",
        "beta[k, 0, j] * (low + high)\n            )",
    ),
    (
        "a control that does not switch",
        "solvers/pontryagin/two_point.py",
        "np.where(changed[n], -s, s)",
        "np.where(changed[n], s, s)",
    ),
    (
        "a proximal term twice as strong",
        "solvers/descent/proximal.py",
        "** 2 / (2.0 * self.step)",
        "** 2 / (1.0 * self.step)",
    ),
    (
        "a curvature with the wrong sign",
        "solvers/descent/lbfgs.py",
        "gamma * (yy @ p) - gamma * with_y",
        "gamma * (yy @ p) + gamma * with_y",
    ),
    (
        "entries held where the gradient leads inside",
        "solvers/descent/lbfgs.py",
        "rising & (g[where] < 0.0)",
        "rising & (g[where] > 0.0)",
    ),
    (
        "a line search without the second condition",
        "solvers/descent/line_search.py",
        "self.done = low_enough and (flat or self._last)",
        "self.done = low_enough",
    ),
    (
        "Adam's shares exchanged",
        "continuum/update_loops.py",
        "(m / p / (math.sqrt(v / q) + epsilon))",
        "(m / q / (math.sqrt(v / p) + epsilon))",
    ),
    (
        "products of long vectors without the weights",
        "continuum/long_vectors.py",
        "found *= entries[part] if len(entries) == size else entries",
        "pass",
    ),
    (
        "a block of samples whose cotangents are lost",
        "solvers/adjoint/collected.py",
        "if self._next > 0:",
        "if self._next > 1:",
    ),
    (
        "factors without the lengths of the steps",
        "solvers/adjoint/chain_adjoint.py",
        "share = sign * (dtheta if kinds[k] == LAYERS else h)",
        "share = sign * (dtheta if kinds[k] == LAYERS else 1.0)",
    ),
    (
        "costates that later directions lose",
        "solvers/adjoint/linearised.py",
        "self._start = p",
        "self._start = 0.0 * p",
    ),
    (
        "switching times by the wrong share",
        "solvers/pontryagin/switching.py",
        "share = last[i] / (last[i] - x[i])",
        "share = x[i] / (x[i] - last[i])",
    ),
]


class TestsDidNotRun(RuntimeError):
    """pytest ended in another way than by a test that fails."""


def passes(copy: Path, tests: Sequence[str], limit: float, fresh: bool = False) -> bool:
    """True if these tests pass; a run longer than `limit` seconds does not.

    fresh : compiled loops are compiled again, since what is kept does not see all that it inlines
    raises TestsDidNotRun
    """
    options = ["-x", "-q", "-n", "2", "-m", "not slow", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder} if fresh else dict(os.environ)
        process = subprocess.Popen(
            command,
            cwd=copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # pytest's own workers too
            process.communicate()
            return False
    last = said.splitlines()[-1] if said else ""
    if process.returncode and " failed" not in last and " error" not in last:
        raise TestsDidNotRun(said[-3000:])
    return process.returncode == 0


def survives(copy: Path, file: str, changed: str, suites: Sequence[Sequence[str]]) -> bool:
    """True if the tests of every suite pass with `changed` as the text of `file`."""
    path = copy / file
    text = path.read_text()
    fresh = "@compiled" in text or "njit" in text
    path.write_text(changed)
    try:
        return all(passes(copy, suite, LIMIT, fresh) for suite in suites if suite)
    finally:
        path.write_text(text)


def told(verdict: bool, began: float, what: object) -> None:
    """One line, or three, for a mutant."""
    word = "SURVIVES" if verdict else "killed"
    print(f"{word:8}  {time.perf_counter() - began:5.1f} s  {what}", flush=True)


def by_hand(copy: Path) -> int:
    """The number of MUTANTS that survive."""
    alive = 0
    for name, file, old, new in MUTANTS:
        text = (copy / file).read_text()
        if old not in text:
            sys.exit(f"{file} has no line with {old!r}: the mutant is out of date")
        began = time.perf_counter()
        survived = survives(copy, file, text.replace(old, new, 1), [TESTS])
        alive += survived
        told(survived, began, f"{file}: {name}")
    print(f"{len(MUTANTS) - alive} of {len(MUTANTS)} mutants picked by hand killed")
    return alive


def by_chance(copy: Path, count: int) -> int:
    """The number of survivors among `count` random mutants that are not judged.

    Each meets the tests that mention its module, and then the others of the core.
    """
    mutants = chosen(copy, count)
    own = {m: suite_of(ROOT, m.file) for m in mutants}
    needed = sorted({name for names in own.values() for name in names} - set(TESTS))
    if needed and not passes(copy, needed, 10 * LIMIT):
        sys.exit("the tests fail without any mutant")
    alive: list[Mutant] = []
    for mutant in mutants:
        rest = [name for name in TESTS if name not in own[mutant]]
        text = (copy / mutant.file).read_text()
        began = time.perf_counter()
        survived = survives(copy, mutant.file, mutant.applied(text), [own[mutant], rest])
        told(survived, began, mutant)
        if survived:
            alive.append(mutant)
    open_ = [m for m in alive if not m.judged]
    print(f"{len(mutants) - len(alive)} of {len(mutants)} random mutants killed")
    for mutant in alive:
        print(f"  {mutant.judged or 'NOT JUDGED: equivalent, or a missing test?'}  {mutant}")
    return len(open_)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the mutants; the exit status is the number that survive and are not judged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=40, metavar="N", help="how many by chance")
    parser.add_argument("--only-random", action="store_true", help="none of those picked by hand")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        if not passes(copy, TESTS, 10 * LIMIT):
            sys.exit("the tests fail without any mutant")
        alive = 0 if given.only_random else by_hand(copy)
        return min(alive + by_chance(copy, given.random), 100)


if __name__ == "__main__":
    sys.exit(main())
