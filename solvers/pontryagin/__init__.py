"""Pontryagin's principle: the Hamiltonian, successive approximation, shooting, the certificate."""
