"""Dyes of a Romanowsky stain as optical densities (Beer-Lambert).

Densities add where cells and dyes lie over each other; transmitted light is
``10 ** -density``. A slide differs from the next in how much of each dye it took and in
the dyes' hue (pH, age of the stain, thickness of the film).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Dye(IntEnum):
    """Planes of the canvas."""

    AZURE = 0
    """Azure B / methylene blue on RNA: sky-blue cytoplasm."""
    EOSIN = 1
    """Eosin Y on basic protein: pink to orange."""
    PURPLE = 2
    """The azure B-eosin complex on DNA and azurophilic granules."""
    HEMOGLOBIN = 3
    """Hemoglobin with its eosin: red cells, and the brick hue of eosinophil granules."""
    NEUTRAL = 4
    """Light lost without hue: refraction at edges, dirt."""


ABSORBANCE = (
    (0.85, 0.52, 0.14),
    (0.07, 0.90, 0.45),
    (0.61, 1.00, 0.33),
    (0.18, 0.64, 0.52),
    (1.00, 1.00, 1.00),
)
"""Density in red, green and blue of one unit of each `Dye`."""


@dataclass(frozen=True, slots=True)
class Stain:
    """How one slide took its stain; every number 1 (or 0) is a textbook smear.

    Attributes
    ----------
    absorbance : tuple of 5 RGB triples
        Density of one unit of each `Dye`.
    nucleus, cytoplasm, eosin, hemoglobin : float
        Strength relative to the textbook: DNA, cytoplasmic RNA, granules and cytoplasmic
        protein, red cells.
    contrast : float
        Of the chromatin's texture.
    pallor : float
        Depth of the red cells' central pallor, 0..1.
    lysis : float
        Share of hemoglobin the red cells lost, 0..1; 1 leaves ghosts.
    refraction : float
        Density of the dark line at cell edges (film mounted dry, or out of focus).
    plasma : float
        Density of stained plasma between the cells.
    precipitate : float
        Grains of stain precipitate per 1000 um2.
    """

    absorbance: tuple[tuple[float, float, float], ...] = ABSORBANCE
    nucleus: float = 1.0
    cytoplasm: float = 1.0
    eosin: float = 1.0
    hemoglobin: float = 1.0
    contrast: float = 1.0
    pallor: float = 0.6
    lysis: float = 0.0
    refraction: float = 0.03
    plasma: float = 0.01
    precipitate: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Stain:
        """A slide from some laboratory: any stain strength and hue met in practice."""
        hue = np.asarray(ABSORBANCE)
        hue = hue * np.exp(rng.normal(0, 0.10, hue.shape))
        hue[Dye.NEUTRAL] = 1.0
        # Nuclei run from blue (much methylene blue, alkaline buffer) to red-violet.
        blue = rng.uniform(-0.25, 0.35)
        hue[Dye.PURPLE] += blue * (hue[Dye.AZURE] - hue[Dye.PURPLE])
        hue[Dye.PURPLE, 2] *= rng.choice(
            [rng.uniform(0.3, 1.0), 1.0, rng.uniform(1.0, 1.7)]
        )
        # Granules and red cells run from pink to brick.
        hue[Dye.EOSIN, 2] *= rng.uniform(0.6, 1.5)
        hue[Dye.HEMOGLOBIN, 2] *= rng.uniform(0.55, 1.15)
        hue[Dye.HEMOGLOBIN, 0] *= rng.uniform(0.4, 1.9)
        ghosts = rng.random() < 0.22
        return cls(
            absorbance=tuple(tuple(float(v) for v in row) for row in hue),  # type: ignore[misc]
            nucleus=float(np.exp(rng.normal(0, 0.25))),
            cytoplasm=float(np.exp(rng.normal(0, 0.30))),
            eosin=float(np.exp(rng.normal(0, 0.25))),
            hemoglobin=float(np.exp(rng.normal(0, 0.30))),
            contrast=float(rng.uniform(0.6, 1.5)),
            pallor=float(rng.choice([0.1, 0.5, 0.75]) + rng.uniform(-0.1, 0.2)),
            lysis=float(rng.uniform(0.6, 1.0)) if ghosts else 0.0,
            refraction=float(rng.choice([0.0, 0.03, 0.12], p=[0.3, 0.45, 0.25]))
            * float(rng.uniform(0.5, 1.5)),
            plasma=float(rng.exponential(0.012)),
            precipitate=float(rng.exponential(4.0)) if rng.random() < 0.25 else 0.0,
        )
