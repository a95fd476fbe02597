"""The right side of the overview: the ranking, and the cells that drive each concept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from napari_cytosae.core._drawing import blend_grid, colour_bar, fit, text
from napari_cytosae.core.concepts import RANKING_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from napari_cytosae.core.overlay import OverlayMap
    from napari_cytosae.core.types import Crops, Float32Array, UInt8Array

OVERLAY_COLOURS = ("#00e5ff", "#ffe600", "#76ff03", "#ff00c8")
"""Cyan, yellow, lime, magenta: none of them is a colour of a Romanowsky stain."""

PANEL, CARD, LIGHT, DIM = "#262930", "#31353d", "#f0f1f2", "#9fa5ad"

_TABLE_HEAD = (
    ("concept", 30, "la"),
    ("name", 110, "la"),
    ("activation", 330, "la"),
    ("in cells", 520, "ra"),
    ("specificity", 628, "ra"),
)


@dataclass(frozen=True, slots=True, eq=False)
class FigureConcept:
    """A concept as it is shown: its map, scale and colour.

    Attributes
    ----------
    concept : int
    name : str
    overlay : OverlayMap
    vmax : float
        End of the colour scale, from `robust_scale`.
    colour : str
    """

    concept: int
    name: str
    overlay: OverlayMap
    vmax: float
    colour: str = OVERLAY_COLOURS[0]

    @property
    def title(self) -> str:
        """Id and name, as the overlay layers are called."""
        return f"{self.concept} {self.name}".strip()


def side_panel(
    width: int,
    crops: Crops,
    ranking: pd.DataFrame,
    shown: Sequence[FigureConcept],
    background: tuple[int, int, int],
) -> PillowImage.Image:
    """The ranking, then one row of cells a concept."""
    rows = ranking.head(10)
    colours = {concept.concept: concept.colour for concept in shown}
    table_height, row = 44 + 30 * len(rows), 150
    panel = PillowImage.new("RGB", (width, table_height + 24 + row * len(shown)), PANEL)
    draw = ImageDraw.Draw(panel)
    for title, x, anchor in _TABLE_HEAD:
        text(draw, (x, 4), title, 15, DIM, anchor=anchor)
    draw.line((0, 30, width, 30), fill=DIM)
    strongest = float(rows["here"].max()) if len(rows) else 1.0
    columns = [rows[column].tolist() for column in RANKING_COLUMNS]
    entries = zip(*columns, strict=True)
    for index, (concept_id, name, here, prevalence, specificity) in enumerate(entries):
        y = 52 + 30 * index
        if concept_id in colours:
            draw.rounded_rectangle((4, y - 7, 18, y + 7), 3, fill=colours[concept_id])
        text(draw, (30, y), str(concept_id), 16, LIGHT, anchor="lm")
        text(draw, (110, y), name or "-", 16, LIGHT, width=210, anchor="lm")
        draw.rectangle((330, y - 6, 330 + 100 * here / strongest, y + 6), fill="#6c7480")
        text(draw, (520, y), f"{prevalence:.0%}", 16, LIGHT, anchor="rm")
        if np.isfinite(specificity):  # of one cell there is none
            text(draw, (628, y), f"{specificity:.1f}", 16, LIGHT, anchor="rm")
    for index, concept in enumerate(shown):
        top = table_height + 24 + row * index
        _gallery_row(panel, top, row - 10, crops, concept, background)
    return panel


def _gallery_row(
    panel: PillowImage.Image,
    top: int,
    height: int,
    crops: Crops,
    shown: FigureConcept,
    background: tuple[int, int, int],
) -> None:
    """Title, scale, and the cells in which a concept is strongest."""
    draw = ImageDraw.Draw(panel)
    draw.rounded_rectangle((0, top, panel.width - 1, top + height), 6, fill=CARD)
    draw.rounded_rectangle((10, top + 11, 24, top + 25), 3, fill=shown.colour)
    text(draw, (34, top + 18), shown.title, 16, LIGHT, width=330, anchor="lm")
    bar = (panel.width - 190, top + 11, panel.width - 60, top + 25)
    colour_bar(panel, bar, shown.colour, background, shown.vmax, LIGHT)
    side, gap = height - 46, 10
    strength = shown.overlay.grids.max(axis=(1, 2), initial=0)
    order = np.argsort(-strength, kind="stable")[: (panel.width - gap) // (side + gap)]
    for place, index in enumerate(order[strength[order] > 0]):
        grid = shown.overlay.grids[index]
        thumbnail = drawn_crop(crops[int(index)], grid, shown.colour, shown.vmax, side)
        panel.paste(thumbnail, (gap + place * (side + gap), top + 36))


def drawn_crop(
    crop: UInt8Array, grid: Float32Array, colour: str, vmax: float, side: int
) -> PillowImage.Image:
    """A cell with its own patches drawn in, whatever its neighbours' crops say there.

    Parameters
    ----------
    crop : ndarray of uint8, (h, w, 3)
        The cell.
    grid : ndarray of float32, (grid, grid)
        A concept's activation in its patches.
    colour : str
        Of the strongest activation.
    vmax : float
        Activation that gets it.
    side : int
        Of the square picture in px.
    """
    lit = blend_grid(crop, grid, colour, vmax)
    square = PillowImage.new("RGB", (side, side), CARD)
    small = fit(lit, side, side)
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    return square
