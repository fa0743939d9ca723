"""What an attack measures when its numbers are in other units than those of the images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from continuum.checks import check_count
from solvers.lyapunov import attack
from solvers.lyapunov.attack import Norm

from ..bench.parameters import Count, Seed
from ..bench.registry import Picture, study
from ..bench.store import case_parameters
from ..datasets import Samples
from ..draw.figures import BLACK, BLUE, GREEN, ORANGE, VERMILION, new_figure
from ..shared import described
from .digits import Contender, Settings, digits_data
from .digits import contender as trained
from .paper import PAPER

Attacked: TypeAlias = Literal["NODE", "MC s=5", "tube"]
Scaling: TypeAlias = Literal["normalised", "pixels"]
SCALES = {"normalised": (2.0, -1.0), "pixels": (1.0, 0.0)}
"""What a network sees of pixels x in [0, 1]: a x + b."""
SMALL, RADIUS, SHORT = 8 / 255, 127 / 255, 2 / 255
"""Radii in the maximum norm and in l_2, and the printed step, in units of pixels."""
STEPS = 10
RADII = np.array([5, 10, 20, 40, 80, 127]) / 255
CONDITIONS = {
    "none": "no attack",
    "clamped": "clamped to [0, 1],\nno adversary",
    "script": "as the script:\n8/255, clamped",
    "units": r"$\ell_\infty$ 8/255 of" + "\nnormalised units",
    "right": r"$\ell_\infty$ 8/255 of" + "\npixels",
    "short": r"$\ell_2$ 127/255," + "\nsteps of 2/255",
    "long": r"$\ell_2$ 127/255," + "\nlonger steps",
}


def clamped(x: np.ndarray) -> np.ndarray:
    """Pixels x whose normalised values (x - 0.5) / 0.5 were cut to [0, 1], as by an attack that
    takes these for pixels.
    """
    return 0.5 + 0.5 * np.clip(2.0 * x - 1.0, 0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Fit:
    """A network that sees a x + b of pixels x (n, M), with labels (M,)."""

    network: Contender
    scaling: Scaling
    x: np.ndarray
    labels: np.ndarray

    def error(self, x: np.ndarray) -> float:
        """The share of the images that is wrong with pixels x."""
        a, b = SCALES[self.scaling]
        *_, right = self.network.along(a * x + b, self.labels)
        return float(np.mean(~right[-1]))

    def perturbed(
        self, radius: float, norm: Norm, short: bool = False, bounded: bool = True
    ) -> np.ndarray:
        """Pixels after an attack within `radius`.

        short : steps of 2/255 from the image itself, else of 2.5 radius / STEPS from a random start
        bounded : whether pixels stay in [0, 1]
        """
        a, b = SCALES[self.scaling]
        seen = a * self.x + b
        found = attack(
            self.network.problem(seen, self.labels),
            self.network.control,
            a * radius,
            norm=norm,
            steps=STEPS,
            step=a * SHORT if short else None,
            restarts=0 if short else 1,
            bounds=(b, a + b) if bounded else None,
            stepper=self.network.stepper,
        )
        return self.x + (found.inputs - seen) / a


def fitted(
    contender: Attacked, data: Samples, scaling: Scaling, epochs: int, points: int, seed: int
) -> Fit:
    """Trained on a x + b, to be attacked at the first `points` test images."""
    a, b = SCALES[scaling]
    scaled = Samples(a * data.train + b, data.train_labels, a * data.test + b, data.test_labels)
    network = trained(contender, scaled, seed, Settings(step=5e-3, epochs=epochs))
    return Fit(network, scaling, data.test[:, :points], data.test_labels[:points])


def _plot(cases: Sequence[xr.Dataset]) -> list[Picture]:
    figure, axes = new_figure(1, 2, width=11.0, height=4.6)
    bars, curves = axes[0]
    styles = ((BLUE, "o", "//"), (VERMILION, "D", ""), (ORANGE, "s", ".."), (GREEN, "^", "xx"))
    height = 0.8 / len(cases)
    for n, (case, (color, marker, hatch)) in enumerate(zip(cases, styles, strict=False)):
        given = case_parameters(case)
        of = f"{given['contender']}, {given['scaling']}"
        places = np.arange(len(CONDITIONS)) + (n - 0.5 * (len(cases) - 1)) * height
        bars.barh(
            places,
            100.0 * case["error"],
            height,
            color=color,
            hatch=hatch,
            edgecolor="white",
            label=of,
        )
        if given["scaling"] == "pixels" and len(cases) > 1:
            continue
        radii = 255.0 * case["radius"].values
        for name, line in (("long", "-"), ("short", "--")):
            told = f"{given['contender']}, {'longer steps' if name == 'long' else 'steps of 2/255'}"
            style = {"color": color, "marker": marker, "fillstyle": "none", "label": told}
            curves.plot(radii, 100.0 * case[f"{name}_error"], line, **style)
    bars.set_yticks(np.arange(len(CONDITIONS)), list(CONDITIONS.values()))
    bars.invert_yaxis()
    bars.set(xlabel="test points that are wrong [%]", xlim=(0.0, 100.0), ylabel="attack")
    bars.legend(loc="center right", bbox_to_anchor=(1.0, 0.35))
    curves.axvline(20.0, color=BLACK, linestyle=":", linewidth=1.0)
    curves.annotate("ten steps of 2/255", (20.0, 97.0), (24.0, 97.0), va="top")
    curves.set(xlabel=r"radius in $\ell_2$, pixels [1/255]", ylabel="wrong [%]", ylim=(0.0, 100.0))
    curves.legend(loc="upper left", bbox_to_anchor=(0.0, 0.92))
    for ax in (bars, curves):
        ax.grid(True)
    caption = (
        "Networks trained on pixels x of digits or on normalised ones, (x - 0.5) / 0.5. Left: "
        "wrong test points under attacks that differ in their units alone; right, normalised: "
        "attacks in l_2 by ten steps of 2/255 from the image and by longer ones from a random "
        f"start. {' '.join(_note(case) for case in cases)}"
    )
    return [Picture("attack_pitfalls", caption, figure)]


def _note(case: xr.Dataset) -> str:
    error = {str(c): 100.0 * float(case["error"].sel(condition=c)) for c in CONDITIONS}
    two = {str(c): float(case["two"].sel(condition=c)) for c in CONDITIONS}
    most = {str(c): float(case["most"].sel(condition=c)) for c in CONDITIONS}
    given = case_parameters(case)
    return (
        f"{given['contender']}, {given['scaling']}: clamping alone, {error['none']:.2g} to "
        f"{error['clamped']:.2g} % wrong, pixels move by up to {most['clamped']:.2g} and images by "
        f"{two['clamped']:.3g} in l_2 on average; attack and clamp {error['script']:.2g} %, which "
        f"is no attack of radius 8/255; within 8/255 in units of pixels {error['right']:.2g} %, in "
        f"normalised ones, which is half of it, {error['units']:.2g} %. In l_2 short steps move "
        f"images by at most {255 * float(case['reach'].max()):.3g}/255 and leave "
        f"{error['short']:.2g} % wrong, longer ones {error['long']:.2g} %."
    )


@study(
    "lyanet/attack_pitfalls",
    paper=PAPER,
    figure="Table 1",
    plot=_plot,
    cases=[{"contender": ("NODE", "MC s=5"), "scaling": ("normalised", "pixels")}],
)
def attack_pitfalls(
    contender: Attacked = "NODE",
    scaling: Scaling = "normalised",
    epochs: Count = 12,
    points: Count = 120,
    seed: Seed = 0,
) -> xr.Dataset:
    """What does an attack measure that takes normalised images for pixels, or steps that are short?

    Ten digits.  The script of the paper normalises images, clamps what it changed to [0, 1], where
    no pixel below 1/2 lies, measures radii in normalised units, and takes ten steps of 2/255 in l_2
    without its random start, which reach 20/255 of a radius 127/255.

    scaling : what the network is trained on; attacks work in its units, numbers are told in pixels
    epochs : of training;  points : test points that are attacked
    error: the share that is wrong; most, two: the largest change of a pixel, and the mean l_2 norm
    of the change; short_error, long_error, reach: the share against the radius in l_2, and how far
    short steps go.
    """
    check_count("points", points)
    fit = fitted(contender, digits_data(seed), scaling, epochs, points, seed)
    attacks = {
        "none": fit.x,
        "clamped": clamped(fit.x),
        "script": clamped(fit.perturbed(0.5 * SMALL, "inf", bounded=False)),
        "units": fit.perturbed(0.5 * SMALL, "inf"),
        "right": fit.perturbed(SMALL, "inf"),
        "short": fit.perturbed(RADIUS, "two", short=True),
        "long": fit.perturbed(RADIUS, "two"),
    }
    short = [fit.perturbed(r, "two", short=True) for r in RADII]
    long = [fit.perturbed(r, "two") for r in RADII]
    errors, by = [fit.error(at) for at in attacks.values()], ("condition",)
    against = [[fit.error(at) for at in found] for found in (short, long)]
    moved = [at - fit.x for at in attacks.values()]
    two = [np.mean(np.sqrt(np.sum(d**2, axis=0))) for d in moved]
    reach = [np.max(np.sqrt(np.sum((at - fit.x) ** 2, axis=0))) for at in short]
    most = [np.max(np.abs(d)) for d in moved]
    return xr.Dataset(
        {
            "error": described("error", errors, "1", "share that is wrong", by),
            "most": described("most", most, "1", "largest change of a pixel", by),
            "two": described("two", two, "1", "mean l_2 norm of the change", by),
            "short_error": described("short_error", against[0], "1", "share", ("radius",)),
            "long_error": described("long_error", against[1], "1", "share", ("radius",)),
            "reach": described("reach", reach, "1", "largest l_2 norm reached", ("radius",)),
        },
        coords={"condition": list(CONDITIONS), "radius": ("radius", RADII, {"units": "1"})},
    )
