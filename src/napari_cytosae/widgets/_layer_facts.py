"""What a layer says of itself: whose it is, where it lies, how large its pixels are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import Affine

from napari_cytosae.core.types import PixelSize
from napari_cytosae.widgets._image_tasks import LayerPixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from napari.layers import Image, Labels, Layer

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image as ReadImage

TAG = "cytosae"
"""Key of our entry in ``layer.metadata``."""

Box = tuple[int, int, int, int]
"""``y0, x0, y1, x1`` in pixels of the source image, half-open."""

_MICROMETRES = (0.005, 20.0)
_LAST_LABEL = 2**31 - 1


def role_of(layer: Layer) -> dict[str, Any]:
    """The tag of a layer of ours; empty for a layer of others."""
    tag = layer.metadata.get(TAG)
    return tag if isinstance(tag, dict) and "role" in tag else {}


def let_go(layer: Layer) -> None:
    """Leave a layer of ours to the analyst."""
    layer.metadata = {k: v for k, v in layer.metadata.items() if k != TAG}


def layer_pixel_size(layer: Layer) -> float | None:
    """Micrometres a pixel as the layer's scale says, or None.

    A scale without a unit is taken for micrometres where it is not 1 and could be that of
    a light microscope.
    """
    scale, unit = float(layer.scale[-1]), layer.units[-1]
    if scale <= 0 or not np.isclose(abs(layer.scale[-1]), abs(layer.scale[-2]), rtol=0.05):
        return None
    if unit.is_compatible_with("micrometer"):
        return float((scale * unit).to("micrometer").magnitude)
    low, high = _MICROMETRES
    return scale if scale != 1.0 and low <= scale <= high else None


def noted_pixel_size(layer: Layer) -> float | None:
    """Micrometres a pixel as the built-in samples note it, or None."""
    um: float | None = _note(layer, "pixel_size_um")
    return um


def _note(layer: Layer, key: str) -> Any:
    """What our entry in the layer's metadata says of `key`, or None."""
    tag = layer.metadata.get(TAG)
    return tag.get(key) if isinstance(tag, dict) else None


def stated_pixel_size(layer: Layer) -> PixelSize:
    """Size of a pixel by the built-in samples' note or the layer's scale."""
    noted, um = noted_pixel_size(layer), layer_pixel_size(layer)
    if noted is not None:
        return PixelSize(noted, "metadata")
    return PixelSize() if um is None else PixelSize(um, "layer")


def known_image(layer: Image) -> ReadImage | Pyramid | None:
    """The image that the layer was made of, as long as it shows its pixels."""
    finest = layer.data[0] if layer.multiscale else layer.data
    known: ReadImage | Pyramid | None = _note(layer, "image")
    return known if known is not None and finest is _note(layer, "shown") else None


def layer_pixels(layer: Image) -> LayerPixels:
    """What an image layer holds, for a job to read."""
    return LayerPixels(
        levels=tuple(layer.data) if layer.multiscale else (layer.data,),
        name=layer.name,
        path=layer.source.path,
        size=stated_pixel_size(layer),
        rgb=bool(layer.rgb),
        known=known_image(layer),
        drawn=bool(_note(layer, "synthetic")),
    )


def marked(layer: Labels, shape: tuple[int, int]) -> Any:
    """The labels of a layer at its finest, for an image of this shape.

    What was drawn from a file of outlines ends where the last outline does; there is
    background from there on.
    """
    labels = layer.data[0] if layer.multiscale else layer.data
    tag = layer.metadata.get(TAG)
    if isinstance(tag, dict) and tag.get("from_outlines") and labels.ndim == len(shape):
        missing = [(0, max(0, n - m)) for n, m in zip(shape, labels.shape, strict=True)]
        return np.pad(labels, missing)
    return labels


def classes_of(layer: Labels) -> dict[int, str]:
    """What the features of a layer call its labels, as of a file that QuPath wrote."""
    table = layer.features
    if "index" not in table or "kind" not in table:
        return {}
    said = table[["index", "kind"]].dropna().to_numpy().tolist()
    return {int(i): kind for i, kind in said if isinstance(kind, str) and _is_number(i)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == int(value)


MOVES = ("scale", "translate", "rotate", "shear", "affine", "units")
"""What `placement` is made of; a layer has an event of each name."""


def placement(source: Layer, offset: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Transforms that put a 2-d layer where the last two dimensions of `source` lie.

    Its first pixel comes to lie on the pixel `offset` (row, column) of `source`.
    """
    turn = {
        "scale": source.scale[-2:],
        "rotate": np.asarray(source.rotate)[-2:, -2:],
        "shear": source.shear[-1:],
    }
    return {
        **turn,
        "translate": Affine(translate=source.translate[-2:], **turn)(offset),
        "affine": np.asarray(source.affine)[-3:, -3:],
        "units": source.units[-2:],
    }


def same(here: Any, wanted: Any) -> bool:
    """Whether two transforms, or two tuples of units, are the same."""
    if isinstance(wanted, tuple):
        return bool(here == wanted)
    return np.array_equal(np.asarray(here), np.asarray(wanted))


def place_in(layers: Sequence[Layer], layer: Layer | None) -> int:
    """Where a layer is in a list; -1 where it is not."""
    return next((i for i, one in enumerate(layers) if one is layer), -1)


def pick_new_label(layer: Labels, table: pd.DataFrame) -> None:
    """Have the next stroke paint a cell of its own, that the `table` does not have.

    napari would begin with a label that some cell has.
    """
    last = int(table["cell_id"].max()) if len(table) else 0
    layer.selected_label = min(last + 1, _LAST_LABEL)


def merge_features(present: pd.DataFrame | None, table: pd.DataFrame) -> pd.DataFrame:
    """Cell features for a Labels layer; columns of other plugins are kept.

    Parameters
    ----------
    present : DataFrame or None
        What the layer has; rows are matched by its column ``index`` (label id), where it
        has one.
    table : DataFrame
        `Cells.table`; its ``cell_id`` becomes ``index``, which napari reads as label id.
    """
    ours = table.rename(columns={"cell_id": "index"})
    ours = ours[["index", *(c for c in ours.columns if c not in ("index", "image"))]]
    if present is None or "index" not in present.columns:
        return ours.reset_index(drop=True)
    theirs = present[["index", *(c for c in present.columns if c not in ours.columns)]]
    return ours.merge(theirs, on="index", how="left").reset_index(drop=True)
