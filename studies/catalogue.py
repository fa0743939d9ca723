"""Every study and claim there is: importing this module registers them all."""

from .liu_markowich import architectures as liu_markowich_architectures
from .liu_markowich import claims as liu_markowich_claims
from .liu_markowich import conditioning as liu_markowich_conditioning
from .liu_markowich import contractive as liu_markowich_contractive
from .liu_markowich import depth_convergence as liu_markowich_depth_convergence
from .liu_markowich import growth as liu_markowich_growth
from .liu_markowich import resnet_limit as liu_markowich_resnet_limit
from .liu_markowich import selection as liu_markowich_selection
from .liu_markowich import sharp_fronts as liu_markowich_sharp_fronts
from .liu_markowich import steady_states as liu_markowich_steady_states
from .liu_markowich import width_convergence as liu_markowich_width_convergence

PAPERS = {
    "liu_markowich": (
        liu_markowich_claims,
        liu_markowich_architectures,
        liu_markowich_conditioning,
        liu_markowich_contractive,
        liu_markowich_depth_convergence,
        liu_markowich_growth,
        liu_markowich_resnet_limit,
        liu_markowich_selection,
        liu_markowich_sharp_fronts,
        liu_markowich_steady_states,
        liu_markowich_width_convergence,
    )
}
"""The modules of each paper."""
