"""What the claims on this paper share."""

PAPER = "lyanet"
