"""Populations of granules in white cells.

Densities are of one unit of dye (`stain.Dye`), ranges are drawn from uniformly, lengths
are um.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from napari_cytosae.synthetic.stain import Dye

Range: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Granules:
    """One population of granules.

    Attributes
    ----------
    dyes : dict of Dye to Range
        Density in a granule's middle.
    spacing, size : Range
        Distance between neighbours and diameter.
    share : Range
        Of the places on the lattice that hold one.
    over_nucleus : float
        How many of them lie over the nucleus, 0..1.
    """

    dyes: dict[Dye, Range]
    spacing: Range
    size: Range
    share: Range
    over_nucleus: float = 0.1


LILAC = Granules(
    {Dye.PURPLE: (0.04, 0.26), Dye.EOSIN: (0.02, 0.12)},
    spacing=(0.36, 0.52),
    size=(0.22, 0.36),
    share=(0.3, 0.8),
)
"""Specific granules of neutrophils."""

AZUROPHILIC = Granules(
    {Dye.PURPLE: (0.4, 0.8), Dye.EOSIN: (0.0, 0.3)},
    spacing=(0.55, 0.9),
    size=(0.3, 0.5),
    share=(0.35, 0.8),
    over_nucleus=0.35,
)
"""Primary granules of promyelocytes, some over the nucleus."""

FEW_AZUROPHILIC = Granules(
    {Dye.PURPLE: (0.3, 0.6), Dye.EOSIN: (0.0, 0.2)},
    spacing=(1.0, 1.6),
    size=(0.3, 0.5),
    share=(0.05, 0.3),
)
"""The handful in large granular lymphocytes and myelocytes."""

DUST = Granules(
    {Dye.PURPLE: (0.08, 0.3)},
    spacing=(0.45, 0.7),
    size=(0.18, 0.3),
    share=(0.15, 0.6),
)
"""Fine granules of a monocyte's ground glass."""

EOSINOPHILIC = Granules(
    {Dye.EOSIN: (0.12, 0.36), Dye.HEMOGLOBIN: (0.15, 0.50), Dye.PURPLE: (0.0, 0.28)},
    spacing=(0.50, 0.88),
    size=(0.55, 0.88),
    share=(0.85, 1.0),
    over_nucleus=0.22,
)
"""Coarse, refractile, filling the cell."""

BASOPHILIC = Granules(
    {Dye.PURPLE: (0.35, 1.1), Dye.AZURE: (0.0, 0.25)},
    spacing=(0.75, 1.25),
    size=(0.55, 1.0),
    share=(0.4, 0.9),
    over_nucleus=0.7,
)
"""Coarse, dark, of uneven size, hiding the nucleus."""
