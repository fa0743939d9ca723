"""What the claims on this paper share."""

PAPER = "nar_sastry"
