"""Lyapunov methods: losses that pull states where they should go, audits, certificates, attacks."""
