"""Every study and claim there is: importing this module registers them all."""

from .liu_markowich import architectures as liu_markowich_architectures
from .liu_markowich import bang_bang as liu_markowich_bang_bang
from .liu_markowich import box_against_tikhonov as liu_markowich_box_against_tikhonov
from .liu_markowich import choice_of_lambda as liu_markowich_choice_of_lambda
from .liu_markowich import claims as liu_markowich_claims
from .liu_markowich import conditioning as liu_markowich_conditioning
from .liu_markowich import contractive as liu_markowich_contractive
from .liu_markowich import depth_convergence as liu_markowich_depth_convergence
from .liu_markowich import gradient_accuracy as liu_markowich_gradient_accuracy
from .liu_markowich import growth as liu_markowich_growth
from .liu_markowich import many_extremals as liu_markowich_many_extremals
from .liu_markowich import mnist_sample as liu_markowich_mnist_sample
from .liu_markowich import msa_cycle as liu_markowich_msa_cycle
from .liu_markowich import pam_monotone as liu_markowich_pam_monotone
from .liu_markowich import refine_after_training as liu_markowich_refine_after_training
from .liu_markowich import resnet_limit as liu_markowich_resnet_limit
from .liu_markowich import selection as liu_markowich_selection
from .liu_markowich import sharp_fronts as liu_markowich_sharp_fronts
from .liu_markowich import sine_toy as liu_markowich_sine_toy
from .liu_markowich import steady_states as liu_markowich_steady_states
from .liu_markowich import train_digits as liu_markowich_train_digits
from .liu_markowich import width_convergence as liu_markowich_width_convergence

PAPERS = {
    "liu_markowich": (
        liu_markowich_claims,
        liu_markowich_architectures,
        liu_markowich_bang_bang,
        liu_markowich_box_against_tikhonov,
        liu_markowich_choice_of_lambda,
        liu_markowich_conditioning,
        liu_markowich_contractive,
        liu_markowich_depth_convergence,
        liu_markowich_gradient_accuracy,
        liu_markowich_growth,
        liu_markowich_many_extremals,
        liu_markowich_mnist_sample,
        liu_markowich_msa_cycle,
        liu_markowich_pam_monotone,
        liu_markowich_refine_after_training,
        liu_markowich_resnet_limit,
        liu_markowich_selection,
        liu_markowich_sharp_fronts,
        liu_markowich_sine_toy,
        liu_markowich_steady_states,
        liu_markowich_train_digits,
        liu_markowich_width_convergence,
    )
}
"""The modules of each paper."""
