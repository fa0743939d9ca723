"""Lyapunov methods: losses that pull dynamics where they should go, audits, certificates, attacks."""
