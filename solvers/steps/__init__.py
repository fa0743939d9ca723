"""One-step methods: explicit tableaux, embedded pairs, implicit methods, and Newton for their
equations.
"""
