"""Algorithms on networks, controls and problems; each returns a Solution with a status."""

from typing import TYPE_CHECKING

import numba  # noqa: F401  # every solver needs it: loaded here, it is no part of the first solution

from continuum.lazy import lazy_names

if TYPE_CHECKING:
    from .adjoint.continuous import continuous_adjoint
    from .adjoint.discretize import StagedObjective, discretize
    from .adjoint.factors import Factors
    from .adjoint.linearised import Linearised
    from .adjoint.objective import Path, ReducedObjective
    from .adjoint.trained_inputs import TrainedInputs, trained_inputs
    from .comparison import Attempt, Comparison, compare
    from .descent.adam import Adam
    from .descent.branches import Arclength, Branch, Event
    from .descent.continuation import continue_minimizers, equal_values
    from .descent.first_order import FrankWolfe, GradientDescent, Nesterov
    from .descent.fixed_step import FixedStep
    from .descent.free_switch import FreeSwitch, free_switch
    from .descent.gradient_flow import GradientFlow, gradient_flow
    from .descent.lbfgs import LBFGS
    from .descent.minimize import minimize
    from .descent.multistart import Cluster, Multistart, multistart
    from .descent.objective import Composite, Objective, SampledObjective, SteppedObjective
    from .descent.proximal import proximal_alternating
    from .descent.proximal_newton import ProximalNewton
    from .descent.riccati_newton import RiccatiNewton
    from .descent.schedules import cosine
    from .descent.second_order import NewtonCG
    from .descent.symmetries import symmetries
    from .evaluation import Evaluation, evaluate
    from .flow.architectures import Architecture, Layer, architecture
    from .flow.integrate import integrate, integrate_stages
    from .flow.picard import picard
    from .flow.preconditioner import spectral_preconditioner
    from .flow.reduction import Reduction, exact_reduction
    from .flow.refinement import (
        Refinement,
        depth_error,
        observed_orders,
        refine,
        richardson,
        width_error,
    )
    from .flow.resolution import Unresolved, velocity_jump
    from .planar import Equilibrium, PointAtInfinity, equilibria, points_at_infinity
    from .pontryagin.certificate import Certificate, pontryagin_certificate
    from .pontryagin.extremals import Extremal, ExtremalPoints
    from .pontryagin.hamiltonian import Hamiltonian, Minimum, layer_hamiltonian
    from .pontryagin.minimal_norm import MinimalNorm, minimal_norm
    from .pontryagin.msa import successive_approximation
    from .pontryagin.msa_batches import Minibatch
    from .pontryagin.shooting import shoot
    from .run.iteration import Interrupted
    from .run.monitors import EverySeconds, EverySteps, Monitor, Progress, Record, Snapshot, Stop
    from .run.solution import Solution, SolveError, Trajectory
    from .run.status import Status
    from .steps.auto import Auto
    from .steps.embedded import DOP853, DormandPrince
    from .steps.implicit import SDIRK3, BackwardEuler, ImplicitMidpoint
    from .steps.newton import Newton
    from .steps.stiff import KennedyCarpenter5, RadauIIA5
    from .steps.tableaux import RK4, Euler, ExplicitMidpoint, Heun
    from .theory.explain import Explanation, Theorem, explain
    from .theory.functionals import (
        EnergyIdentity,
        Lyapunov,
        Propagator,
        energy_identity,
        linearize,
        lyapunov_functional,
        propagator,
        root_energy,
        singular_energy,
    )
    from .theory.growth import Growth, growth_class, l1_bound
    from .theory.hypotheses import Hypothesis
    from .theory.ode_test import OdeTest, ode_test
    from .theory.stability import (
        GramTest,
        Spectrum,
        SteadyState,
        gram_test,
        linearized_spectrum,
        operator_matrix,
        steady_state,
    )
    from .theory.stiffness import explicit_step_limit
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "DOP853",
    "LBFGS",
    "RK4",
    "SDIRK3",
    "Adam",
    "Architecture",
    "Arclength",
    "Attempt",
    "Auto",
    "BackwardEuler",
    "Branch",
    "Certificate",
    "Cluster",
    "Comparison",
    "Composite",
    "DormandPrince",
    "EnergyIdentity",
    "Equilibrium",
    "Euler",
    "Evaluation",
    "Event",
    "EverySeconds",
    "EverySteps",
    "Explanation",
    "ExplicitMidpoint",
    "Extremal",
    "ExtremalPoints",
    "Factors",
    "FixedStep",
    "FrankWolfe",
    "FreeSwitch",
    "GradientDescent",
    "GradientFlow",
    "GramTest",
    "Growth",
    "Hamiltonian",
    "Heun",
    "Hypothesis",
    "ImplicitMidpoint",
    "Interrupted",
    "KennedyCarpenter5",
    "Layer",
    "Linearised",
    "Lyapunov",
    "Minibatch",
    "MinimalNorm",
    "Minimum",
    "Monitor",
    "Multistart",
    "Nesterov",
    "Newton",
    "NewtonCG",
    "Objective",
    "OdeTest",
    "Path",
    "PointAtInfinity",
    "Progress",
    "Propagator",
    "ProximalNewton",
    "RadauIIA5",
    "Record",
    "ReducedObjective",
    "Reduction",
    "Refinement",
    "RiccatiNewton",
    "SampledObjective",
    "Snapshot",
    "Solution",
    "SolveError",
    "Spectrum",
    "StagedObjective",
    "Status",
    "SteadyState",
    "SteppedObjective",
    "Stop",
    "Theorem",
    "TrainedInputs",
    "Trajectory",
    "Unresolved",
    "architecture",
    "compare",
    "continue_minimizers",
    "continuous_adjoint",
    "cosine",
    "depth_error",
    "discretize",
    "energy_identity",
    "equal_values",
    "equilibria",
    "evaluate",
    "exact_reduction",
    "explain",
    "explicit_step_limit",
    "free_switch",
    "gradient_flow",
    "gram_test",
    "growth_class",
    "integrate",
    "integrate_stages",
    "l1_bound",
    "layer_hamiltonian",
    "linearize",
    "linearized_spectrum",
    "lyapunov_functional",
    "minimal_norm",
    "minimize",
    "multistart",
    "observed_orders",
    "ode_test",
    "operator_matrix",
    "picard",
    "points_at_infinity",
    "pontryagin_certificate",
    "propagator",
    "proximal_alternating",
    "refine",
    "richardson",
    "root_energy",
    "shoot",
    "singular_energy",
    "spectral_preconditioner",
    "steady_state",
    "successive_approximation",
    "symmetries",
    "trained_inputs",
    "velocity_jump",
    "width_error",
]
