"""Training in finite time, executable: laws, settling times, and what the tables can show."""
