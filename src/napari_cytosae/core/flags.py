"""Quality flags of cells: the reasons against one, and which of them leave it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import pandas as pd

    from napari_cytosae.core.types import BoolArray

REASONS = ("border", "out of focus", "clump", "smudge", "overstained", "understained")
"""As column ``qc`` of a table of cells names them; see `morphometry.quality`."""


def flagged(qc: pd.Series, spared: Collection[str] = ()) -> BoolArray:
    """Which cells there is a reason against, other than those that are `spared`.

    Parameters
    ----------
    qc : Series of str, (n,)
        ``ok`` or the reasons, joined by ``;``.
    spared : collection of str
        Reasons that leave no cell out.
    """
    found: BoolArray = (qc != "ok").to_numpy()
    if spared:
        against = [
            text
            for text in qc[found].unique()
            if not {reason.strip() for reason in text.split(";")} <= set(spared)
        ]
        found = qc.isin(against).to_numpy()
    return found
