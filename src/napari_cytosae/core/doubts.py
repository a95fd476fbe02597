"""What cells that were found say against the scale they were found at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cytosae.core.types import Cells

_TELLING = 3
"""Least number of cells whose flags say something of the image."""
_NEARLY_ALL = 0.9
_FIELD_UM = 10.0
"""What no image of a white cell is narrower than."""
_OTHER_SCALE = 1.5
"""Factor by which red cells in view may differ from normal ones, and a measurement err:
the mean diameter of macrocytes is 1.2 times the normal one, that of microcytes 0.8."""


def scale_doubt(cells: Cells) -> str:
    """What to look at where the scale may be wrong, a sentence without its stop.

    Either many red cells in view tell another one than was stated, or the whole image is
    no wider than a cell, or no cell is whole, or nearly none is fit to use; those that only
    the border cuts tell nothing of the others. Empty where there is no doubt, too few cells
    to tell, or a scale that the red cells told themselves.
    """
    table, size = cells.table, cells.pixel_size
    if size.um is not None and size.seen_um is not None:
        odds = size.um / size.seen_um
        if not 1 / _OTHER_SCALE < odds < _OTHER_SCALE:
            return (
                f"The red cells in view fit about {size.seen_um:.2g} um a pixel: check the "
                f"pixel size ({size.um:g} um, {size.source})"
            )
    whole = table.loc[table["qc"] != "border", "qc"]
    if size.um is None or size.source == "estimated":
        return ""
    width = max(cells.labels.shape) * size.um
    if width < _FIELD_UM:
        return (
            f"The image is {width:.2g} um wide at {size.um:g} um a pixel ({size.source}): "
            "check the pixel size"
        )
    if len(table) and not len(whole):
        return f"No cell is whole: check the pixel size ({size.um:g} um, {size.source})"
    if len(whole) < _TELLING:
        return ""
    if (whole != "ok").mean() < _NEARLY_ALL:
        return ""
    return (
        f"Nearly all cells are flagged: check the pixel size ({size.um:g} um, "
        f"{size.source}) and the focus"
    )
