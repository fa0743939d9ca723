"""How a solver ended, in sentences a user reads."""

from enum import Enum


class Status(Enum):
    """The end of a run.  `ok` ones are answers; the others raise `solution.SolveError` unless asked not to."""

    FINISHED = "The horizon was reached and every state is finite."
    CONVERGED = "Converged: the projected gradient is below the tolerance."
    STOPPED = "Stopped by a monitor before the end; this is not convergence."
    NON_FINITE = (
        "A state became infinite or NaN. Try more steps per layer, or a shorter horizon; if the problem is stiff, "
        "RadauIIA5() or BackwardEuler()."
    )
    MAX_STEPS = (
        "The cap on the number of steps was reached before the horizon. Raise max_steps or the tolerances; if the "
        "state hardly changes over so many steps, the problem is stiff: use RadauIIA5() or BackwardEuler()."
    )
    STEP_UNDERFLOW = (
        "The error tolerance asks for steps below the spacing of floating-point numbers: the problem is stiff, "
        "singular or not smooth there. Loosen the tolerances; for a stiff one use RadauIIA5() or BackwardEuler()."
    )
    NEWTON_FAILED = "Newton's iteration for an implicit step did not converge. Use more steps per layer."
    NON_FINITE_START = "The objective is infinite or NaN at the initial control. Start from a smaller control."
    MAX_ITERATIONS = "The cap on the number of iterations was reached before convergence. Raise max_iterations."
    LINE_SEARCH_FAILED = (
        "No step along the search direction lowers the objective: the gradient is at its rounding error, "
        "or wrong. If the tolerance is near rounding, raise gtol."
    )

    @property
    def ok(self) -> bool:
        """True for an answer, False for a failure."""
        return self in (Status.FINISHED, Status.CONVERGED, Status.STOPPED)
