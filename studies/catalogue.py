"""Every study and claim there is: importing this module registers them all."""

from .liu_markowich import claims as liu_markowich_claims
from .liu_markowich import resnet_limit as liu_markowich_resnet_limit

PAPERS = {"liu_markowich": (liu_markowich_claims, liu_markowich_resnet_limit)}
"""The modules of each paper."""
