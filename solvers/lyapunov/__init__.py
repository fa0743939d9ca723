"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates,
attacks.
"""

from .attack import Attack, attack
from .audit import Audit, Share, audit, share

__all__ = ["Attack", "Audit", "Share", "attack", "audit", "share"]
