"""LyaNet, executable: training with Lyapunov losses, certificates and attacks."""
