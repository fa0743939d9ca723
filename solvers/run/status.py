"""How a solver ended, in sentences a user reads."""

from enum import Enum


class Status(Enum):
    """The end of a run.  `ok` ones are answers; the others raise `solution.SolveError` unless asked
    not to.
    """

    FINISHED = "The horizon was reached and every state is finite."
    CONVERGED = "Converged: the projected gradient is below the tolerance."
    GAP_CLOSED = "Converged: the duality gap is below the tolerance."
    CONVERGED_SHOOTING = (
        "Converged: state, costate and control satisfy Pontryagin's equations to the tolerance."
    )
    EXTREMAL = "Converged: the control minimises the Hamiltonian on every layer, to the tolerance."
    EXTREMAL_INEXACT = (
        "Converged, inexact: a local search lowers the Hamiltonian on no layer by more than the "
        "tolerance; no closed "
        "form of its minimiser is known here, so the gap is a lower bound of the true one."
    )
    ITERATED = "All iterations were made; a run on batches of samples shows no convergence."
    STOPPED = "Stopped by a monitor before the end; this is not convergence."
    NON_FINITE = (
        "A state became infinite or NaN. Try more steps per layer, or a shorter horizon; if the "
        "problem is stiff, "
        "RadauIIA5() or BackwardEuler()."
    )
    MAX_STEPS = (
        "The cap on the number of steps was reached before the horizon. Raise max_steps or the "
        "tolerances; if the "
        "state hardly changes over so many steps, the problem is stiff: use RadauIIA5() or "
        "BackwardEuler()."
    )
    STEP_UNDERFLOW = (
        "The error tolerance asks for steps below the spacing of floating-point numbers: the "
        "problem is stiff, "
        "singular or not smooth there. Loosen the tolerances; for a stiff one use RadauIIA5() or "
        "BackwardEuler()."
    )
    NEWTON_FAILED = (
        "Newton's iteration for an implicit step did not converge. Use more steps per layer."
    )
    NEWTON_SHOOTING_FAILED = (
        "Newton's iteration for the two-point problem did not converge. Start from a better "
        "control, such as that of "
        "minimize, or use more segments."
    )
    SINGULAR_ARC = (
        "The control switches without end: the path runs along a singular arc, which switching "
        "times do not describe. "
        "Add a Tikhonov term, or judge the control with pontryagin_certificate."
    )
    NON_FINITE_START = (
        "The objective is infinite or NaN at the initial control. Start from a smaller control."
    )
    MAX_ITERATIONS = (
        "The cap on the number of iterations was reached before convergence. Raise max_iterations."
    )
    TWO_CYCLE = (
        "Control and objective return after two iterations: successive approximation does not "
        "converge here. "
        "Use relaxation='search' or augmentation='adaptive', or a larger augmentation."
    )
    LINE_SEARCH_FAILED = (
        "No step along the search direction lowers the objective: the gradient is at its "
        "rounding error, "
        "or wrong. If the tolerance is near rounding, raise gtol."
    )
    SUBPROBLEM_FAILED = (
        "A subproblem ended above its start, so the objective did not fall as it must. Give the "
        "inner method a smaller "
        "gtol or more iterations, or take a smaller step."
    )

    @property
    def ok(self) -> bool:
        """True for an answer, False for a failure."""
        return self in (
            Status.FINISHED,
            Status.CONVERGED,
            Status.GAP_CLOSED,
            Status.CONVERGED_SHOOTING,
            Status.STOPPED,
            Status.EXTREMAL,
            Status.EXTREMAL_INEXACT,
            Status.ITERATED,
        )
