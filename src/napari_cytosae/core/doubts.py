"""What cells that were found say against the scale they were found at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from napari_cytosae.core.types import PixelSize

_TELLING = 3
"""Least number of cells whose flags say something of the image."""
_NEARLY_ALL = 0.9
_OTHER_SCALE = 1.5
"""Factor by which red cells in view may differ from normal ones, and a measurement err:
the mean diameter of macrocytes is 1.2 times the normal one, that of microcytes 0.8."""


def scale_doubt(table: pd.DataFrame, size: PixelSize) -> str:
    """What to look at where the scale may be wrong, a sentence without its stop.

    Either many red cells in view tell another one than was stated, or nearly no cell is
    fit to use; cells that only the border cuts speak for no other scale. Empty where there
    is no doubt, too few cells to tell, or a scale that the red cells told themselves.
    """
    if size.um is not None and size.seen_um is not None:
        odds = size.um / size.seen_um
        if not 1 / _OTHER_SCALE < odds < _OTHER_SCALE:
            return (
                f"The red cells in view fit about {size.seen_um:.2g} um a pixel: check the "
                f"pixel size ({size.um:g} um, {size.source})"
            )
    whole = table.loc[table["qc"] != "border", "qc"]
    if size.um is None or size.source == "estimated" or len(whole) < _TELLING:
        return ""
    if (whole != "ok").mean() < _NEARLY_ALL:
        return ""
    return (
        f"Nearly all cells are flagged: check the pixel size ({size.um:g} um, "
        f"{size.source}) and the focus"
    )
