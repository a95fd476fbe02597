"""The Labels layer that outlines the cells, with their feature table.

Copying, comparing, colouring and outlining a large label image take long, so a worker does
it all beforehand; the GUI thread only hands the finished layer to napari.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.types import Progress
from napari_cytosae.widgets._colours import OUTLINE_PX, outline_colormap
from napari_cytosae.widgets._layer_facts import (
    TAG,
    Box,
    let_go,
    merge_features,
    pick_new_label,
    placement,
    role_of,
)
from napari_cytosae.widgets._layers_correction import write_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator

    import pandas as pd
    from napari.layers import Image
    from napari.utils.colormaps import DirectLabelColormap

    from napari_cytosae.core.types import Cells, LabelImage
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets._tasks import Corrected


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """What a worker has made ready for the GUI thread.

    Attributes
    ----------
    layer : Labels
        To be added where `present` is None; else `present` itself.
    present : Labels or None
        Our layer that was there when the work began, where it can be used again.
    former : Labels or None
        Our layer that was corrected by hand since, and is let go.
    labels : ndarray of int32, (H, W), or list of LabelLevel, or None
        New content of `present`; None where it shows these cells already.
    table : DataFrame
        Of the cells.
    colormap : DirectLabelColormap
    shown : ndarray of int32, (H, W), or LabelBlocks
        The cells' own label image.
    without : Box or None
        Where no cell is shown: another layer shows them there.
    """

    layer: Labels
    present: Labels | None
    former: Labels | None
    labels: Any
    table: pd.DataFrame
    colormap: DirectLabelColormap
    shown: LabelImage
    without: Box | None


class CellOutlines:
    """Our Labels layers, one an image."""

    def __init__(self, canvas: CanvasLayers) -> None:
        self._canvas = canvas

    def layer(self) -> Labels | None:
        """Our Labels layer for the source image, or None."""
        for layer in self._canvas.of_source("cells"):
            if isinstance(layer, Labels):
                return layer
        return None

    def work(
        self, cells: Cells, hidden: Collection[int] = ()
    ) -> Callable[[], Generator[Progress, None, Outlines]]:
        """What a worker has to do before `show`; `hidden` cells get no outline.

        Where cells of a slide are being corrected, that layer shows them.
        """
        source, layer = self._canvas.source, self.layer()
        without = self._canvas.correction.box()
        return lambda: _prepare(cells, frozenset(hidden), source, layer, without)

    def show(self, outlines: Outlines) -> bool:
        """Outline the cells; False where the layer is not as it was at `work`.

        A layer that was corrected by hand is let go for other cells, not overwritten.
        """
        layer, present = outlines.layer, outlines.present
        if self.layer() is not (outlines.former or present):
            return False
        if present is not None and outlines.labels is not None and _edited(present):
            return False
        if outlines.former is not None:
            let_go(outlines.former)
        if outlines.present is None:
            layer.metadata[TAG] = {"role": "cells", "source": self._canvas.source_id()}
            self._canvas.place(layer)
            self._canvas.add(layer)
            # Overlays lie over the outlines, whichever were there first.
            self._canvas.put_under(layer, "overlay")
        else:
            if outlines.labels is not None:
                layer.data = outlines.labels
            layer.features = merge_features(layer.features, outlines.table)
            layer.colormap = outlines.colormap
        if present is None or outlines.labels is not None:
            pick_new_label(layer, outlines.table)
        layer.metadata[TAG] |= {"shown": outlines.shown, "without": outlines.without}
        return True

    def edited(self, cells: Cells) -> bool:
        """Whether something was painted in the layer that `cells` do not have."""
        layer = self.layer()
        # Those just measured in it may not be outlined anew yet.
        return layer is not None and _edited(layer) and not _holds(layer, cells.labels)

    def add_features(self, cells: Cells, features: pd.DataFrame) -> None:
        """Add columns (``cell_id`` first) to the layer, if it still shows `cells`."""
        layer = self.layer()
        if layer is not None and role_of(layer).get("shown") is cells.labels:
            merged = merge_features(layer.features, features)
            layer.features = merge_features(merged, cells.table)

    def adopt(self, layer: Labels, made: Corrected) -> None:
        """Take `layer` for the outlines of the cells made of what was painted in it."""
        layer.metadata[TAG]["shown"] = made.labels
        write_ids(layer, made)
        pick_new_label(layer, made.correction.cells.table)


def _prepare(
    cells: Cells,
    hidden: frozenset[int],
    source: Image | None,
    layer: Labels | None,
    without: Box | None,
) -> Generator[Progress, None, Outlines]:
    yield Progress("Outlining the cells", 0, 0)
    colormap = outline_colormap(cells, hidden)
    former = None
    same = layer is not None and _shows(layer, cells.labels, without)
    if layer is not None and not same and _edited(layer):
        former, layer = layer, None
    if layer is not None:
        labels = None if same else _editable(cells.labels, without)
        return Outlines(
            layer, layer, None, labels, cells.table, colormap, cells.labels, without
        )
    present = None if former is None else former.features
    where: dict[str, Any] = {} if source is None else placement(source)
    layer = Labels(
        _editable(cells.labels, without),
        name="Cells",
        opacity=0.9,
        features=merge_features(present, cells.table),
        colormap=colormap,
        **where,
    )
    layer.contour = OUTLINE_PX
    return Outlines(layer, None, former, None, cells.table, colormap, cells.labels, without)


def _editable(labels: LabelImage, without: Box | None) -> Any:
    """What a layer is to hold: a copy to paint in, or a slide's lazy pyramid."""
    if not isinstance(labels, LabelBlocks):
        return labels.copy()
    if without is not None:
        y0, x0, y1, x1 = without
        labels = labels.copy()
        labels[y0:y1, x0:x1] = np.zeros((y1 - y0, x1 - x0), np.int32)
    return labels.pyramid()


def _shows(layer: Labels, labels: LabelImage, without: Box | None) -> bool:
    """Whether a layer is there for these labels already, corrected since or not."""
    if role_of(layer).get("shown") is labels:
        return bool(role_of(layer).get("without") == without)
    return _holds(layer, labels)


def _holds(layer: Labels, labels: LabelImage) -> bool:
    if layer.multiscale or isinstance(labels, LabelBlocks):
        return False
    return np.array_equal(layer.data, labels)


def _edited(layer: Labels) -> bool:
    shown = role_of(layer).get("shown")
    # What a slide's outlines are drawn from cannot be painted in, of one level or of more.
    if layer.multiscale or not isinstance(shown, np.ndarray):
        return False
    return not _holds(layer, shown)
