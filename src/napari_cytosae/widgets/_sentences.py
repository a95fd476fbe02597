"""What the dock says of cells and pixel sizes; no Qt, no napari."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from napari_cytosae.core.doubts import scale_doubt

if TYPE_CHECKING:
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Encoded, Image, PixelSize
    from napari_cytosae.session_values import Shows

PLAUSIBLE_UM = (0.03, 0.6)
"""Pixels of light-microscope smears: 100x oil with binning up to a 20x scan."""
_SHORT_NAMES = {"wbc": "WBC", "rbc": "RBC"}


def encode_label(count: int) -> str:
    """What the button says that encodes `count` cells."""
    return f"Encode {counted(count, 'cell')}"


def segment_label(shows: Shows) -> str:
    """What the button says that finds the cells, or takes those that are given."""
    return "Segment" if shows == "smear" else "Measure"


def counted(count: int, thing: str) -> str:
    """E.g. ``1 cell``, ``1,200 cells``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def is_plausible(um: float) -> bool:
    """Whether a pixel of a stained smear can be that large."""
    return PLAUSIBLE_UM[0] <= um <= PLAUSIBLE_UM[1]


def describe_pixel_size(size: PixelSize) -> str:
    """Where a pixel size came from, and a warning where it cannot be."""
    if size.um is None:
        return (
            "Unknown: too few red cells in view to tell. Crops follow the size of the "
            "white cells instead; type the size if you know it."
        )
    said = {
        "metadata": "from the image's metadata",
        "layer": "from the layer's scale",
        "user": "typed by you",
        "estimated": "estimated",
    }.get(size.source, str(size.source))
    if size.source == "estimated" and size.n_cells is not None:
        said = f"estimated from {size.n_cells} red cells"
        if size.spread is not None:
            said += f", \N{PLUS-MINUS SIGN}{100 * size.spread:.0f} %"
    if not is_plausible(size.um):
        low, high = PLAUSIBLE_UM
        said += f". Implausible for a smear (expected {low:g} to {high:g}); please check"
    return said


def counts_of(cells: Cells) -> str:
    """E.g. ``7 WBC, 42 RBC, 1 platelet``."""
    counts = Counter(cells.table["kind"])
    return ", ".join(
        f"{n:,} {_SHORT_NAMES[kind]}" if kind in _SHORT_NAMES else counted(n, kind)
        for kind, n in counts.items()
    )


def describe_cells(cells: Cells) -> str:
    """E.g. ``23 WBC, 4 platelets; 2 flagged (border 1, blurred 1)``."""
    doubt = scale_doubt(cells)
    if not len(cells):
        why = "; ".join(cells.notes)
        advice = doubt or why or "check the pixel size, or mark them in a Labels layer"
        return f"No cells were found. {advice[:1].upper()}{advice[1:]}."
    text = counts_of(cells)
    flagged = cells.table.loc[cells.table["qc"] != "ok", "qc"]
    if len(flagged):
        reasons: Counter[str] = Counter()
        for qc, n in flagged.value_counts().items():
            reasons.update(dict.fromkeys(map(str.strip, str(qc).split(";")), n))
        why = ", ".join(f"{reason} {n:,}" for reason, n in reasons.most_common())
        text += f"; {len(flagged):,} flagged ({why})"
    said = [f"{note[:1].upper()}{note[1:]}" for note in (*cells.notes, doubt) if note]
    return ". ".join([text, *said, ""]).rstrip() if said else text


def describe_found(
    image: Image | Pyramid, cells: Cells | None, encoded: Encoded | None
) -> str:
    """What is known of an image: ``smear.png: 1 cell, not encoded yet.``, for example."""
    if cells is None:
        return f"{image.name}: {'; '.join(image.notes) or 'not segmented yet'}."
    known = "not encoded yet" if encoded is None else f"{len(encoded):,} encoded"
    return f"{image.name}: {counted(len(cells), 'cell')}, {known}."
