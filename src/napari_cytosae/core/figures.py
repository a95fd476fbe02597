"""Figures of results, drawn without a display: overlays on the slide, and an overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from napari_cytosae.core._drawing import (
    background_colour,
    blend,
    colour_bar,
    fit,
    outlines,
    scale_bar,
    text,
    text_width,
)
from napari_cytosae.core._panel import (
    DIM,
    LIGHT,
    OVERLAY_COLOURS,
    PANEL,
    FigureConcept,
    side_panel,
)
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import RESEARCH_USE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Image

__all__ = [
    "OVERLAY_COLOURS",
    "FigureConcept",
    "overlay_figure",
    "overview_figure",
    "save_png",
]

OUTLINE = "#10217a"
FLAGGED_OUTLINE = "#ff8c00"

_MAX_SIDE = 1600
_MIN_SIDE = 800
_SCALE_PX, _NOTE_PX = 370, 28
"""Width of a figure's colour scale with its numbers, and height of a note below it."""


def save_png(figure: PillowImage.Image, path: Path | str) -> None:
    """Write a figure; the file is whole or not there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with atomic_file(path) as temporary:
        figure.save(temporary, "PNG")


def overlay_figure(
    image: Image | Pyramid, shown: FigureConcept, cells: Cells | None = None
) -> PillowImage.Image:
    """One concept on the slide, with title, colour scale, scale bar and note.

    Parameters
    ----------
    image : Image
        The smear; large ones are shown reduced.
    shown : FigureConcept
        The concept, on the pixels of `image`.
    cells : Cells, optional
        To outline them, and for a pixel size that the image itself does not have.
    """
    side = min(max(*image.shape, _MIN_SIDE), _MAX_SIDE)
    picture, um_scale = _slide(image, [shown], cells, (side, side))
    um = _um(image, cells)
    if um:
        scale_bar(picture, um * um_scale)
    note = RESEARCH_USE if um else f"Pixel size unknown. {RESEARCH_USE}"
    margin, head, foot = 24, 64, 64
    width = max(picture.width, _SCALE_PX) + 2 * margin
    beside = margin + _SCALE_PX + text_width(note, 15) + margin <= width
    height = picture.height + head + foot + (0 if beside else _NOTE_PX)
    figure = PillowImage.new("RGB", (width, height), "white")
    figure.paste(picture, (margin, head))
    draw = ImageDraw.Draw(figure)
    swatch = (margin, 21, margin + 22, 43)
    draw.rounded_rectangle(swatch, 4, fill=shown.colour, outline="#555")
    room = width - 2 * margin - 40.0
    left = (margin + 34, 32)
    used = text(draw, left, shown.title, 24, "black", width=room, bold=True, anchor="lm")
    room -= used + 24
    if room > 80:
        text(draw, (width - margin, 32), image.name, 17, "#666", width=room, anchor="rm")
    middle = head + picture.height + foot // 2
    text(draw, (margin, middle), "activation", 17, "#333", anchor="lm")
    bar = (margin + 112, middle - 10, margin + 300, middle + 10)
    colour_bar(figure, bar, shown.colour, background_colour(image), shown.vmax, "#333")
    below = middle if beside else middle + _NOTE_PX
    room = width - 2.0 * margin
    text(draw, (width - margin, below), note, 15, "#666", width=room, anchor="rm")
    return figure


def overview_figure(
    image: Image | Pyramid,
    cells: Cells,
    crops: Crops,
    ranking: pd.DataFrame,
    shown: Sequence[FigureConcept],
    caption: str = "",
) -> PillowImage.Image:
    """The whole result at a glance, as the viewer shows it.

    The smear with the outlines of the cells and the overlays, the concepts' ranking, and
    for each shown concept the cells that drive it.

    Parameters
    ----------
    image : Image
        The smear.
    cells : Cells
        Outlined; flagged ones in orange.
    crops : Crops
        In the order of the grids of the overlays.
    ranking : DataFrame
        Of `concepts.ranking`; its first rows are shown.
    shown : sequence of FigureConcept
        At most four.
    caption : str
        For example the names of the models.
    """
    margin, head, foot = 24, 64, 56
    right = side_panel(640, crops, ranking, shown, background_colour(image))
    picture, um_scale = _slide(image, shown, cells, (1400, max(right.height, 700)))
    um = _um(image, cells)
    if um:
        scale_bar(picture, um * um_scale)
    width = picture.width + right.width + 3 * margin
    height = head + max(picture.height, right.height) + foot
    figure = PillowImage.new("RGB", (width, height), PANEL)
    figure.paste(picture, (margin, head))
    figure.paste(right, (picture.width + 2 * margin, head))
    draw = ImageDraw.Draw(figure)
    used = text(draw, (margin, 32), image.name, 24, LIGHT, bold=True, anchor="lm")
    facts = f"{_counted(cells)}   {_pixel_size_text(cells)}"
    text(draw, (margin + used + 24, 33), facts, 17, DIM, anchor="lm")
    bottom = height - foot // 2
    room = width - 2 * margin - 330
    text(draw, (margin, bottom), caption, 15, DIM, width=room, anchor="lm")
    text(draw, (width - margin, bottom), RESEARCH_USE, 15, DIM, anchor="rm")
    return figure


def _slide(
    image: Image | Pyramid,
    shown: Sequence[FigureConcept],
    cells: Cells | None,
    box: tuple[int, int],
) -> tuple[PillowImage.Image, float]:
    """The smear with overlays and outlines in a box, and its pixels a shown pixel."""
    height, width = image.shape
    step = max(1, round(max(width / box[0], height / box[1]) / 2))
    rgb = image.thinned(step)
    rows, cols = rgb.shape[:2]
    for concept in shown:
        activation = concept.overlay.region(0, 0, height, width, step)[:rows, :cols]
        rgb = blend(rgb, activation, concept.colour, concept.vmax)
    picture = fit(rgb, *box)
    if cells is not None and not cells.single_cell:
        _draw_outlines(picture, cells, step)
    return picture, width / picture.width


def _draw_outlines(picture: PillowImage.Image, cells: Cells, step: int) -> None:
    labels = PillowImage.fromarray(cells.labels[step // 2 :: step, step // 2 :: step])
    shown = np.asarray(labels.resize(picture.size, PillowImage.Resampling.NEAREST))
    edge = outlines(shown, 2)
    flagged = cells.table.loc[cells.table["qc"] != "ok", "cell_id"].to_numpy()
    for colour, where in (
        (OUTLINE, edge),
        (FLAGGED_OUTLINE, edge & np.isin(shown, flagged)),
    ):
        picture.paste(colour, mask=PillowImage.fromarray(where.astype(np.uint8) * 255))


def _um(image: Image | Pyramid, cells: Cells | None) -> float | None:
    return image.pixel_size.um or (cells.pixel_size.um if cells is not None else None)


def _counted(cells: Cells) -> str:
    flagged = int((cells.table["qc"] != "ok").sum())
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    return count + (f", {flagged} flagged" if flagged else "")


def _pixel_size_text(cells: Cells) -> str:
    size = cells.pixel_size
    return f"{size.um:.3g} um a pixel ({size.source})" if size.um else "pixel size unknown"
