"""What theorems say of a network: stability, growth, functionals along runs."""
