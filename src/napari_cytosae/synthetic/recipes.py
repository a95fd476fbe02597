"""What each white cell type looks like: the words of the atlas as numbers.

Densities are of one unit of dye (`stain.Dye`), ranges are drawn from uniformly, lengths
are um on a dried film.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_cytosae.synthetic import nuclei
from napari_cytosae.synthetic.granules import (
    AZUROPHILIC,
    BASOPHILIC,
    DUST,
    EOSINOPHILIC,
    FEW_AZUROPHILIC,
    LILAC,
)

if TYPE_CHECKING:
    from napari_cytosae.synthetic.granules import Granules, Range
    from napari_cytosae.synthetic.nuclei import NucleusShape


@dataclass(frozen=True, slots=True)
class Recipe:
    """A white cell type.

    Attributes
    ----------
    diameter : (float, float)
        Mean and standard deviation.
    nucleus : NucleusShape or tuple of them
        One is drawn.
    dna : Range
        Density of the nucleus.
    clumps, clump_size : float, Range
        Contrast and wavelength of heterochromatin.
    lace : float
        Contrast of a fine net of strands.
    azure, eosin : Range
        Density of the cytoplasm.
    texture : float
        Unevenness of the cytoplasm.
    rim : float
        How much darker the cytoplasm is at its edge.
    hof : float
        How much paler it is beside the nucleus.
    ragged : float
        Irregularity of the outline; 1 is a monocyte's.
    granules : tuple of Granules
    vacuoles, nucleoli : float
        Probability that the cell has some.
    """

    diameter: tuple[float, float]
    nucleus: tuple[NucleusShape, ...]
    dna: Range
    clumps: float
    clump_size: Range
    lace: float
    azure: Range
    eosin: Range
    texture: float = 0.2
    rim: float = 0.2
    hof: float = 0.0
    ragged: float = 0.4
    granules: tuple[Granules, ...] = ()
    vacuoles: float = 0.03
    nucleoli: float = 0.0


RECIPES: dict[str, Recipe] = {
    "neutrophil": Recipe(
        diameter=(13.0, 0.9),
        nucleus=(nuclei.segmented,),
        dna=(0.55, 1.05),
        clumps=0.28,
        clump_size=(1.5, 2.4),
        lace=0.06,
        azure=(0.0, 0.13),
        eosin=(0.04, 0.20),
        rim=0.15,
        granules=(LILAC,),
        vacuoles=0.06,
    ),
    "band_neutrophil": Recipe(
        diameter=(13.3, 0.9),
        nucleus=(nuclei.band,),
        dna=(0.55, 1.0),
        clumps=0.25,
        clump_size=(1.5, 2.4),
        lace=0.06,
        azure=(0.0, 0.13),
        eosin=(0.04, 0.20),
        rim=0.15,
        granules=(LILAC,),
        vacuoles=0.06,
    ),
    "lymphocyte": Recipe(
        diameter=(9.0, 0.8),
        nucleus=(nuclei.round_nucleus,),
        dna=(0.75, 1.1),
        clumps=0.24,
        clump_size=(1.8, 3.0),
        lace=0.03,
        azure=(0.09, 0.30),
        eosin=(0.0, 0.02),
        rim=0.45,
        ragged=0.4,
    ),
    "large_lymphocyte": Recipe(
        diameter=(12.5, 1.3),
        nucleus=(nuclei.small_round, nuclei.round_nucleus),
        dna=(0.6, 0.9),
        clumps=0.22,
        clump_size=(1.7, 2.8),
        lace=0.05,
        azure=(0.05, 0.24),
        eosin=(0.0, 0.02),
        rim=0.5,
        hof=0.25,
        ragged=0.6,
        granules=(FEW_AZUROPHILIC,),
    ),
    "monocyte": Recipe(
        diameter=(16.5, 1.4),
        nucleus=(nuclei.kidney,),
        dna=(0.48, 0.75),
        clumps=0.16,
        clump_size=(1.8, 3.0),
        lace=0.16,
        azure=(0.07, 0.22),
        eosin=(0.01, 0.06),
        texture=0.3,
        rim=0.15,
        ragged=1.0,
        granules=(DUST,),
        vacuoles=0.5,
    ),
    "eosinophil": Recipe(
        diameter=(13.5, 1.0),
        nucleus=(nuclei.bilobed,),
        dna=(0.5, 0.95),
        clumps=0.26,
        clump_size=(1.5, 2.4),
        lace=0.05,
        azure=(0.02, 0.08),
        eosin=(0.06, 0.28),
        granules=(EOSINOPHILIC,),
        vacuoles=0.1,
    ),
    "basophil": Recipe(
        diameter=(12.0, 1.0),
        nucleus=(nuclei.clover, nuclei.bilobed),
        dna=(0.5, 0.8),
        clumps=0.15,
        clump_size=(1.7, 2.8),
        lace=0.05,
        azure=(0.05, 0.22),
        eosin=(0.02, 0.16),
        ragged=0.6,
        granules=(BASOPHILIC,),
        vacuoles=0.2,
    ),
    "blast": Recipe(
        diameter=(15.0, 1.8),
        nucleus=(nuclei.large_round, nuclei.large_round, nuclei.kidney),
        dna=(0.5, 0.75),
        clumps=0.07,
        clump_size=(0.7, 1.1),
        lace=0.10,
        azure=(0.20, 0.42),
        eosin=(0.0, 0.02),
        rim=0.35,
        hof=0.15,
        ragged=0.5,
        nucleoli=0.85,
    ),
    "promyelocyte": Recipe(
        diameter=(17.0, 1.6),
        nucleus=(nuclei.large_round, nuclei.small_round),
        dna=(0.5, 0.75),
        clumps=0.10,
        clump_size=(0.9, 1.4),
        lace=0.10,
        azure=(0.15, 0.32),
        eosin=(0.0, 0.05),
        hof=0.35,
        granules=(AZUROPHILIC,),
        nucleoli=0.6,
    ),
    "metamyelocyte": Recipe(
        diameter=(14.5, 1.0),
        nucleus=(nuclei.kidney,),
        dna=(0.65, 0.9),
        clumps=0.22,
        clump_size=(1.6, 2.6),
        lace=0.06,
        azure=(0.01, 0.08),
        eosin=(0.05, 0.14),
        ragged=0.3,
        granules=(LILAC,),
    ),
    "myelocyte": Recipe(
        diameter=(15.5, 1.2),
        nucleus=(nuclei.small_round, nuclei.round_nucleus),
        dna=(0.6, 0.85),
        clumps=0.18,
        clump_size=(1.4, 2.2),
        lace=0.08,
        azure=(0.03, 0.14),
        eosin=(0.03, 0.10),
        hof=0.2,
        ragged=0.3,
        granules=(LILAC, FEW_AZUROPHILIC),
    ),
    "plasma_cell": Recipe(
        diameter=(14.5, 1.5),
        nucleus=(nuclei.eccentric,),
        dna=(0.75, 1.05),
        clumps=0.34,
        clump_size=(1.8, 2.8),
        lace=0.0,
        azure=(0.30, 0.55),
        eosin=(0.0, 0.04),
        rim=0.2,
        hof=0.6,
        ragged=0.6,
        vacuoles=0.2,
    ),
    "erythroblast": Recipe(
        diameter=(9.5, 1.2),
        nucleus=(nuclei.small_round,),
        dna=(0.9, 1.25),
        clumps=0.35,
        clump_size=(1.7, 2.8),
        lace=0.0,
        azure=(0.08, 0.30),
        eosin=(0.05, 0.16),
        rim=0.1,
        ragged=0.3,
    ),
    "smudge_cell": Recipe(
        diameter=(14.0, 2.0),
        nucleus=(nuclei.smeared,),
        dna=(0.25, 0.55),
        clumps=0.28,
        clump_size=(2.0, 5.0),
        lace=0.15,
        azure=(0.0, 0.02),
        eosin=(0.0, 0.01),
        ragged=1.5,
    ),
}
"""White cell types and how they are drawn."""

WBC_TYPES = tuple(RECIPES)

VARIANTS: dict[str, Recipe] = {
    "granular_blast": replace(
        RECIPES["blast"],
        nucleus=(nuclei.kidney, nuclei.small_round),
        azure=(0.12, 0.24),
        granules=(AZUROPHILIC,),
        nucleoli=0.3,
    ),
    "folded_blast": replace(
        RECIPES["blast"],
        diameter=(17.0, 1.4),
        nucleus=(nuclei.kidney,),
        azure=(0.08, 0.2),
        lace=0.18,
        ragged=1.0,
        granules=(DUST,),
        vacuoles=0.4,
    ),
    "small_blast": replace(
        RECIPES["blast"],
        diameter=(11.5, 0.9),
        nucleus=(nuclei.round_nucleus,),
        dna=(0.65, 0.95),
        azure=(0.28, 0.5),
        rim=0.5,
        nucleoli=0.4,
    ),
}
"""Blasts of the synthetic patients' subtypes; no model is trained on them."""

DRAWN = RECIPES | VARIANTS
"""All that can be drawn."""
