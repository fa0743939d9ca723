"""Derivatives of a discretized problem: of one step, of a run, with checkpoints; and the continuous
adjoint.
"""
