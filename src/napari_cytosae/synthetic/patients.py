"""Patients drawn in code: mixtures of cells, with a morphology of their subtype.

Nobody has these diseases. They are there so that the patient panel, its head and its
explanations can be tried offline, and every name says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_cytosae.synthetic.camera import Camera
from napari_cytosae.synthetic.smear import COMMON, make_slide
from napari_cytosae.synthetic.stain import Stain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cytosae.synthetic.smear import Slide

SUBTYPES: dict[str, str] = {
    "synthetic control": "",
    "synthetic granular": "granular_blast",
    "synthetic folded": "folded_blast",
    "synthetic small": "small_blast",
}
"""Each subtype's name, and the blasts in its blood."""

BLASTS = (0.4, 0.85)
"""Least and largest share of a patient's white cells that are blasts."""

CELLS, IMAGES = 14, 2
"""White cells of a smear, and smears of a patient."""

SHAPE, PIXEL_SIZE = (768, 1024), 0.1
"""Of a smear, px, and um."""

_STRENGTH = 40.0
"""How like each other patients are: concentration of the Dirichlet distribution."""


def patient_slides(subtype: str, seed: int) -> Iterator[Slide]:
    """The smears of one patient: one laboratory, one mixture of cells.

    Parameters
    ----------
    subtype : str
        One of `SUBTYPES`.
    seed : int
        Same arguments, same pixels.
    """
    rng = np.random.default_rng([seed, 6, list(SUBTYPES).index(subtype)])
    names = list(COMMON)
    shares = rng.dirichlet(_STRENGTH * np.array([COMMON[name] for name in names]))
    blast = SUBTYPES[subtype]
    if blast:
        share = rng.uniform(*BLASTS)
        names, shares = [*names, blast], np.append(shares * (1 - share), share)
    stain, camera = Stain.random(rng), Camera.random(rng)
    for image in range(IMAGES):
        counts = rng.multinomial(CELLS, shares)
        wbc = {name: int(count) for name, count in zip(names, counts, strict=True)}
        yield make_slide(
            SHAPE,
            PIXEL_SIZE,
            seed=100_000 * (1 + list(SUBTYPES).index(subtype)) + 10 * seed + image,
            wbc=wbc,
            stain=stain,
            camera=camera,
        )
