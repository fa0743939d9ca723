"""What every run has: how it ended, what it returns, what looks at it on the way."""
