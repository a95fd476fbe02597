"""The only place that touches the viewer's layers.

Layers of ours carry a tag in ``layer.metadata["cytosae"]`` and are found by it, so they
may be renamed, reordered or deleted at any time. Layers of others are read, never changed;
camera and selection are left as they are unless the analyst asks to go somewhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from psygnal import Signal

from napari_cytosae.widgets._colours import outline_colormap, overlay_colormap
from napari_cytosae.widgets._layer_facts import (
    MOVES,
    TAG,
    merge_features,
    placement,
    role_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator

    from napari.components import ViewerModel

    from napari_cytosae.core.types import Cells
    from napari_cytosae.session_values import Overlay

SELECTION_COLOUR = "white"
_CLICK_PX = 4
_CELL_PX_ON_SCREEN = 60


class CanvasLayers:
    """Our layers on one viewer, and what the analyst does to the others.

    Signals
    -------
    choices_changed
        Image or Labels layers were added, removed or renamed.
    source_changed : the source layer's pixels were replaced or it was deleted
    overlay_deleted : slot
    overlay_restyled : slot, visible, opacity
        By napari's own controls.
    clicked : y, x, patch
        In pixels of the source image; `patch` where Shift was held.
    """

    choices_changed = Signal()
    source_changed = Signal()
    overlay_deleted = Signal(int)
    overlay_restyled = Signal(int, bool, float)
    clicked = Signal(float, float, bool)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._source: Image | None = None
        self._named: list[Layer] = []
        self._quiet = False
        viewer.layers.events.inserted.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.mouse_drag_callbacks.append(self._on_drag)
        self._watch_names()

    def close(self) -> None:
        """Leave the viewer; our layers stay where they are."""
        self._viewer.layers.events.inserted.disconnect(self._on_layers)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        if self._on_drag in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_drag)
        for layer in self._named:
            layer.events.name.disconnect(self._on_name)
        self._named = []
        self.set_source(None)
        for layer in self._tagged("overlay"):
            layer.events.visible.disconnect(self._on_restyled)
            layer.events.opacity.disconnect(self._on_restyled)

    # --- layers of others -------------------------------------------------------------

    def images(self) -> list[Image]:
        """Image layers that may hold a smear: all but our own."""
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and not role_of(layer)
        ]

    def preferred_image(self) -> Image | None:
        """The image layer the analyst has selected, or None."""
        active = self._viewer.layers.selection.active
        return active if isinstance(active, Image) and not role_of(active) else None

    def labels(self) -> list[Labels]:
        """Labels layers, our own cells included: they may have been corrected by hand."""
        return [layer for layer in self._viewer.layers if isinstance(layer, Labels)]

    @property
    def source(self) -> Image | None:
        """The image layer that is analysed."""
        return self._source

    def set_source(self, layer: Image | None) -> None:
        """Analyse another image layer."""
        if self._source is not None:
            self._source.events.set_data.disconnect(self._on_source_data)
            for name in MOVES:
                self._source.events[name].disconnect(self._on_source_moved)
        self._source = layer
        if layer is not None:
            self._seen = layer.data
            layer.events.set_data.connect(self._on_source_data)
            for name in MOVES:
                layer.events[name].connect(self._on_source_moved)

    # --- cells ------------------------------------------------------------------------

    def cells_layer(self) -> Labels | None:
        """Our Labels layer for the source image, or None."""
        for layer in self._tagged("cells"):
            if role_of(layer).get("source") is self._source_id() and isinstance(
                layer, Labels
            ):
                return layer
        return None

    def show_cells(self, cells: Cells, hidden: Collection[int] = ()) -> None:
        """Outline the cells, with their feature table.

        A layer that was corrected by hand since is let go, not overwritten.
        """
        layer = self.cells_layer()
        if layer is not None and self._edited(layer, cells):
            layer.metadata = {k: v for k, v in layer.metadata.items() if k != TAG}
            layer = None
        if layer is None:
            layer = Labels(
                cells.labels.copy(),
                name="Cells",
                opacity=0.9,
                metadata={TAG: {"role": "cells", "source": self._source_id()}},
                **self._placement(),
            )
            layer.contour = 2
            self._add(layer)
        elif not np.array_equal(layer.data, cells.labels):
            layer.data = cells.labels.copy()
        layer.metadata[TAG]["shown"] = cells.labels
        layer.features = merge_features(layer.features, cells.table)
        self.style_cells(cells, hidden)

    def style_cells(self, cells: Cells, hidden: Collection[int] = ()) -> None:
        """Colour the outlines by kind and flags; hidden cells get none."""
        layer = self.cells_layer()
        if layer is not None:
            layer.colormap = outline_colormap(cells, hidden)

    @staticmethod
    def _edited(layer: Labels, cells: Cells) -> bool:
        shown = role_of(layer).get("shown")
        return (
            shown is not None
            and not np.array_equal(layer.data, shown)
            and not np.array_equal(layer.data, cells.labels)
        )

    # --- overlays ---------------------------------------------------------------------

    def show_overlay(
        self, slot: int, name: str, data: Any, top: float, overlay: Overlay
    ) -> None:
        """Lay an activation map over the source image.

        Parameters
        ----------
        slot : int
            Each slot has one layer, re-used.
        name : str
            Of the layer.
        data : array (H, W) or list of arrays
            A list is a pyramid, shown lazily.
        top : float
            Activation at the end of the colour scale.
        overlay : Overlay
            How it looks.
        """
        multiscale = isinstance(data, list)
        layer = self._overlay(slot)
        if layer is not None and layer.multiscale != multiscale:
            self._remove(layer)
            layer = None
        limits = (0.0, max(float(top), 1e-6))
        if layer is None:
            layer = Image(
                data,
                name=name,
                multiscale=multiscale,
                rgb=False,
                blending="translucent",
                contrast_limits=limits,
                colormap=overlay_colormap(overlay.colour, overlay.threshold),
                metadata={TAG: {"role": "overlay", "slot": slot}},
                **self._placement(),
            )
            self._style(layer, overlay)
            self._add(layer)
            layer.events.visible.connect(self._on_restyled)
            layer.events.opacity.connect(self._on_restyled)
        else:
            layer.data = data
            layer.name = name
            self._place(layer)
            self._style(layer, overlay)
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        layer.metadata[TAG]["concept"] = overlay.concept

    def style_overlay(self, slot: int, overlay: Overlay) -> None:
        """Change how an overlay looks, not what it shows."""
        layer = self._overlay(slot)
        if layer is not None:
            self._style(layer, overlay)

    def name_overlay(self, slot: int, name: str) -> None:
        """Give an overlay's layer another name."""
        layer = self._overlay(slot)
        if layer is not None:
            layer.name = name

    def remove_overlay(self, slot: int) -> None:
        """Take an overlay away."""
        layer = self._overlay(slot)
        if layer is not None:
            self._remove(layer)

    def shown_concept(self, slot: int) -> int | None:
        """The concept whose map a slot's layer holds."""
        layer = self._overlay(slot)
        return None if layer is None else role_of(layer).get("concept")

    def _overlay(self, slot: int) -> Image | None:
        for layer in self._tagged("overlay"):
            if role_of(layer).get("slot") == slot and isinstance(layer, Image):
                return layer
        return None

    def _style(self, layer: Image, overlay: Overlay) -> None:
        self._quiet = True
        try:
            layer.colormap = overlay_colormap(overlay.colour, overlay.threshold)
            layer.interpolation2d = "linear" if overlay.smooth else "nearest"
            layer.opacity = overlay.opacity
            layer.visible = overlay.visible
        finally:
            self._quiet = False

    # --- selection and camera ---------------------------------------------------------

    def show_selection(self, boxes: list[tuple[float, float, float, float]]) -> None:
        """Frame crops and patches, given as ``y0, x0, y1, x1`` edges; none: no frame."""
        layer = next(iter(self._tagged("selection")), None)
        if not boxes:
            if layer is not None:
                self._remove(layer)
            return
        corners = [
            np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]) - 0.5
            for y0, x0, y1, x1 in boxes
        ]
        if isinstance(layer, Shapes):
            layer.data = corners
            self._place(layer)
        else:
            self._add(
                Shapes(
                    corners,
                    name="Selected cell",
                    edge_color=SELECTION_COLOUR,
                    face_color="transparent",
                    edge_width=1.5,
                    metadata={TAG: {"role": "selection"}},
                    **self._placement(),
                )
            )

    def go_to(self, y: float, x: float, size: float) -> None:
        """Bring a place of the source image into view; zoom in only where it is tiny."""
        if self._source is None:
            return
        here = np.asarray(self._source.data_to_world(self._pixel(y, x)))
        edge = np.asarray(self._source.data_to_world(self._pixel(y, x + size)))
        # The camera moved from the viewer to its scene in napari 0.9.
        camera = getattr(self._viewer, "scene", self._viewer).camera
        camera.center = tuple(here[-2:])
        on_screen = float(np.linalg.norm(edge - here)) * camera.zoom
        if 0 < on_screen < _CELL_PX_ON_SCREEN:
            camera.zoom *= 3 * _CELL_PX_ON_SCREEN / on_screen

    def _pixel(self, y: float, x: float) -> tuple[float, ...]:
        assert self._source is not None
        return (*[0.0] * (self._source.ndim - 2), y, x)

    # --- helpers ----------------------------------------------------------------------

    def _source_id(self) -> Any:
        return None if self._source is None else self._source.unique_id

    def _tagged(self, role: str) -> list[Layer]:
        return [
            layer for layer in self._viewer.layers if role_of(layer).get("role") == role
        ]

    def _placement(self) -> dict[str, Any]:
        return {} if self._source is None else placement(self._source)

    def _place(self, layer: Layer) -> None:
        for key, value in self._placement().items():
            setattr(layer, key, value)

    def _add(self, layer: Layer) -> None:
        with self._same_active_layer():
            self._viewer.add_layer(layer)

    def _remove(self, layer: Layer) -> None:
        self._quiet = True
        try:
            with self._same_active_layer():
                self._viewer.layers.remove(layer)
        finally:
            self._quiet = False

    @contextmanager
    def _same_active_layer(self) -> Iterator[None]:
        before = set(self._viewer.layers.selection)
        yield
        kept = before & set(self._viewer.layers)
        if kept:
            self._viewer.layers.selection = kept

    # --- what the analyst does --------------------------------------------------------

    def _watch_names(self) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._on_name)
        self._named = [*self.images(), *self.labels()]
        for layer in self._named:
            layer.events.name.connect(self._on_name)

    def _on_name(self, event: Any = None) -> None:
        self.choices_changed.emit()

    def _on_layers(self, event: Any = None) -> None:
        self._watch_names()
        self.choices_changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._source:
            self.set_source(None)
            self.source_changed.emit()
        tag = role_of(layer)
        if tag.get("role") == "overlay" and not self._quiet:
            self.overlay_deleted.emit(tag["slot"])
        self._on_layers()

    def _on_source_data(self, event: Any = None) -> None:
        # `set_data` also announces mere redraws; only other pixels matter.
        if self._source is not None and self._source.data is not self._seen:
            self._seen = self._source.data
            self.source_changed.emit()

    def _on_source_moved(self, event: Any = None) -> None:
        for role in ("overlay", "selection"):
            for layer in self._tagged(role):
                self._place(layer)
        cells = self.cells_layer()
        if cells is not None:
            self._place(cells)

    def _on_restyled(self, event: Any) -> None:
        layer = event.source
        if not self._quiet:
            self.overlay_restyled.emit(
                role_of(layer)["slot"], bool(layer.visible), float(layer.opacity)
            )

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        if event.button != 1 or self._source is None:
            return
        active = viewer.layers.selection.active
        if active is not None and str(active.mode) != "pan_zoom":
            return
        start = np.asarray(event.pos, dtype=float)
        patch = "Shift" in {str(getattr(m, "name", m)) for m in event.modifiers}
        yield
        while event.type == "mouse_move":
            if np.abs(np.asarray(event.pos) - start).max() > _CLICK_PX:
                return
            yield
        y, x = self._source.world_to_data(event.position)[-2:]
        self.clicked.emit(float(y), float(x), patch)
