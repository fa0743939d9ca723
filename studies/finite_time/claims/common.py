"""What the claims on this paper share."""

PAPER = "finite_time"
