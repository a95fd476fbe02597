"""What cells that were found say against the scale they were found at."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from napari_cytosae.core.types import PixelSize

_TELLING = 3
"""Least number of cells whose flags say something of the image."""
_NEARLY_ALL = 0.9


def scale_doubt(table: pd.DataFrame, size: PixelSize) -> str:
    """What to look at where nearly no cell is fit to use, a sentence without its stop.

    Cells that only the border cuts speak for no other scale. Empty where there is no doubt,
    too few cells to tell, or a scale that the red cells told themselves.
    """
    whole = table.loc[table["qc"] != "border", "qc"]
    if size.um is None or size.source == "estimated" or len(whole) < _TELLING:
        return ""
    if (whole != "ok").mean() < _NEARLY_ALL:
        return ""
    return (
        f"Nearly all cells are flagged: check the pixel size ({size.um:g} um, "
        f"{size.source}) and the focus"
    )
