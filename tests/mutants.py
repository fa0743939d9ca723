"""Do the tests notice?  Each mutant breaks one line of the numerical core; the fast tests must fail
on every one.

Run by `make mutants`.  The tree is copied, so the working tree is never touched.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("continuum", "solvers", "tests")
CORE = """
    quadrature controls networks kernels transfers stability integrate problem adjoint steppers
    architectures adjoint_steppers readouts sets penalties methods proximal pontryagin msa
    certificate shooting
"""
TESTS = [f"tests/test_{name}.py" for name in CORE.split()]

MUTANTS = [
    (
        "a wrong coefficient inside tanh",
        "continuum/compiled.py",
        "c * x - 1.0 / 360.0",
        "c * x - 1.0 / 361.0",
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
        "continuum/networks/width_depth.py",
        "-kernel.outer(b, dr, f, w) - kernel.outer(b, r, df, w)",
        "-kernel.outer(b, dr, f, w)",
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
        "solvers/adjoint/discretize.py",
        "if not isinstance(stepper, AdaptiveRungeKutta):",
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
        "solvers/steps/implicit.py",
        "(296 - 169 * sqrt(6)) / 1800",
        "(296 - 168 * sqrt(6)) / 1800",
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
        "a contractive layer that expands",
        "continuum/networks/symmetric_layer.py",
        "return -kernel.adjoint(b, r, w)",
        "return kernel.adjoint(b, r, w)",
    ),
    (
        "a convolution without its conjugate",
        "continuum/kernels/convolution.py",
        "xp.conj(on.forth(w[:, None] * f))",
        "on.forth(w[:, None] * f)",
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
        "solvers/flow/chain_loops.py",
        "method.back[i], i + 1, stages",
        "method.a[i], i + 1, stages",
    ),
    (
        "a compiled blend of the wrong nodes",
        "solvers/flow/chain_loops.py",
        "(1.0 - theta) * low[y, z] + theta * high[y, z]",
        "theta * low[y, z] + (1.0 - theta) * high[y, z]",
    ),
    (
        "a readout's adjoint without the outputs' measure",
        "continuum/readouts.py",
        "return weight.T @ (like(self.measure(network), r)[:, None] * r)",
        "return weight.T @ r",
    ),
    (
        "a disc whose support point leans to the kernel",
        "continuum/sets.py",
        "length = xp.sqrt(g * g + total * total)",
        "length = xp.sqrt(g * g + 0.9 * total * total)",
    ),
    (
        "a soft threshold without the step",
        "continuum/penalties.py",
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
        "solvers/pontryagin/hamiltonian.py",
        "free = {n: -g / (2.0 * strengths[n])",
        "free = {n: -g / strengths[n]",
    ),
    (
        "extreme rows the wrong way round",
        "solvers/pontryagin/hamiltonian.py",
        '"kernel": sign[:, None] * states[:, None, :]',
        '"kernel": -sign[:, None] * states[:, None, :]',
    ),
    (
        "costates of two rows that take one",
        "solvers/pontryagin/row_loops.py",
        "(beta[k, 0, j] * low + beta[k, 1, j] * high)",
        "(beta[k, 0, j] * (low + high))",
    ),
    (
        "a control that does not switch",
        "solvers/pontryagin/shooting.py",
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
        "switching times by the wrong share",
        "solvers/pontryagin/certificate.py",
        "share = x[i] / (x[i] - x[j])",
        "share = x[j] / (x[j] - x[i])",
    ),
]


def survives(copy: Path, file: str, old: str, new: str) -> bool:
    """True if the tests pass with `old` replaced by `new` in one place of `file`."""
    path = copy / file
    text = path.read_text()
    if text.count(old) < 1:
        sys.exit(f"{file} has no line with {old!r}: the mutant is out of date")
    path.write_text(text.replace(old, new, 1))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        *TESTS,
    ]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=600)
    finally:
        path.write_text(text)
    if done.returncode and " failed" not in done.stdout.splitlines()[-1]:
        sys.exit(f"the tests did not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.returncode == 0


def main() -> int:
    """Runs all mutants; the exit status is the number that survive."""
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in PACKAGES:
            shutil.copytree(ROOT / name, copy / name)
        shutil.copy2(ROOT / "pyproject.toml", copy)
        if not survives(copy, MUTANTS[0][1], MUTANTS[0][2], MUTANTS[0][2]):
            sys.exit("the tests fail without any mutant")
        for name, file, old, new in MUTANTS:
            began = time.perf_counter()
            survived = survives(copy, file, old, new)
            alive += survived
            verdict = "SURVIVES" if survived else "killed"
            print(f"{verdict:8}  {time.perf_counter() - began:5.1f} s  {file}: {name}", flush=True)
    print(f"{len(MUTANTS) - alive} of {len(MUTANTS)} mutants killed")
    return alive


if __name__ == "__main__":
    sys.exit(main())
