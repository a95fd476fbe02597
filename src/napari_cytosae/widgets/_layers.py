"""The only place that touches the viewer's layers.

The other modules ``_layers_*`` go through it. Layers of ours carry a tag in
``layer.metadata["cytosae"]`` and are found by it, so they may be renamed, reordered or
deleted at any time. Layers of others are read, never changed; camera and
selection are left as they are unless the analyst asks to go somewhere.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from psygnal import Signal

from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.widgets._layer_facts import (
    MOVES,
    TAG,
    known_image,
    placement,
    role_of,
    same,
)
from napari_cytosae.widgets._layers_cells import CellOutlines
from napari_cytosae.widgets._layers_correction import CorrectionLayer
from napari_cytosae.widgets._layers_looks import LayerLooks
from napari_cytosae.widgets._layers_overlays import OverlayLayers
from napari_cytosae.widgets._layers_pointer import Pointer
from napari_cytosae.widgets._layers_preview import PreviewLayer
from napari_cytosae.widgets._layers_view import View
from napari_cytosae.widgets._open_images import OpenImages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel

    from napari_cytosae.core.types import Image as ReadImage

SELECTION_COLOUR = "white"


class CanvasLayers:
    """Our layers on one viewer, and what the analyst does to the others.

    Signals
    -------
    image_added : layer
        An image layer of others came; before `choices_changed`.
    choices_changed
        Image or Labels layers were added, removed, moved or renamed.
    source_changed : the source layer's pixels were replaced or it was deleted
    source_moved
        Its scale, another transform or its units changed.
    removed : layer, by_us
        A layer was taken away, by us or by the analyst.
    clicked : y, x, patch
    picked : y, x
        Clicked with Ctrl held.
        In pixels of the source image; `patch` where Shift was held.
    hovered : y, x
        The cursor moved over the source image, no button held.
    """

    image_added = Signal(object)
    choices_changed = Signal()
    source_changed = Signal()
    source_moved = Signal()
    removed = Signal(object, bool)
    clicked = Signal(float, float, bool)
    picked = Signal(float, float)
    hovered = Signal(float, float)

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._source: Image | None = None
        self._named: list[Layer] = []
        self._removing = False
        self.opened = OpenImages(self.images)
        self.outlines = CellOutlines(self)
        self.overlays = OverlayLayers(self)
        self.preview = PreviewLayer(self)
        self.correction = CorrectionLayer(self)
        self.view = View(self, viewer)
        self.looks = LayerLooks(self)
        self._pointer = Pointer(self, viewer)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.reordered.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_removed)
        self._watch_names()

    def close(self) -> None:
        """Leave the viewer; our layers stay where they are."""
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)
        self._viewer.layers.events.reordered.disconnect(self._on_layers)
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in self._named:
            layer.events.name.disconnect(self._on_name)
        self._named = []
        self.set_source(None)
        ours = (self.view, self.overlays, self.preview, self.correction)
        for part in (self._pointer, *ours):
            part.close()

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
        # A plugin's viewer hands out a wrapper, which equals the layer but is not it.
        active = self._viewer.layers.selection.active
        return next((layer for layer in self.images() if layer == active), None)

    def labels(self) -> list[Labels]:
        """Labels layers, our own cells included: they may have been corrected by hand."""
        parts = ("preview", "correction")
        return [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Labels) and role_of(layer).get("role") not in parts
        ]

    def covers_source(self, layer: Layer) -> bool:
        """Whether a layer's pixels lie on those of the source image."""
        wanted = self.placement()
        return all(same(here, wanted[key]) for key, here in placement(layer).items())

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

    def open_image(self, image: ReadImage | Pyramid, *, visible: bool = True) -> Image:
        """Open an image beside the others, named as napari names the layer of a file."""
        um = image.pixel_size.um
        levels = image.as_dask() if isinstance(image, Pyramid) else [image.rgb]
        several = len(levels) > 1
        self._viewer.add_image(
            levels if several else levels[0],
            multiscale=several,
            name=PurePath(image.name).stem,
            rgb=True,
            scale=(um, um) if um else (1.0, 1.0),
            units="um" if um else "pixel",
            metadata={TAG: {"image": image, "shown": levels[0]}},
            visible=visible,
        )
        # What the viewer hands out may be a wrapper: the list has the layer.
        return next(la for la in reversed(self.images()) if known_image(la) is image)

    def select(self, layer: Layer) -> None:
        """Make a layer the active one, as opening it does."""
        self._viewer.layers.selection.active = layer

    # --- selection --------------------------------------------------------------------

    def show_selection(self, boxes: list[tuple[float, float, float, float]]) -> None:
        """Frame crops and patches, given as ``y0, x0, y1, x1`` edges; none: no frame."""
        layer = next(iter(self.tagged("selection")), None)
        if not boxes:
            if layer is not None:
                self.remove(layer)
            return
        corners = [
            np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]) - 0.5
            for y0, x0, y1, x1 in boxes
        ]
        if isinstance(layer, Shapes):
            layer.data = corners
            layer.metadata[TAG]["source"] = self.source_id()
            self.place(layer)
        else:
            self.add(
                Shapes(
                    corners,
                    name="Selected cell",
                    edge_color=SELECTION_COLOUR,
                    face_color="transparent",
                    edge_width=1.5,
                    metadata={TAG: {"role": "selection", "source": self.source_id()}},
                    **self.placement(),
                )
            )

    # --- for our own layers -----------------------------------------------------------

    def source_id(self) -> Any:
        """What tells the source layer from all others, also after renaming."""
        return None if self._source is None else self._source.unique_id

    def tagged(self, role: str) -> list[Layer]:
        """Our layers of a role."""
        return [
            layer for layer in self._viewer.layers if role_of(layer).get("role") == role
        ]

    def of_source(self, role: str) -> list[Layer]:
        """Our layers of a role that belong to the source image."""
        here = self.source_id()
        return [la for la in self.tagged(role) if role_of(la).get("source") == here]

    def placement(self, offset: tuple[int, int] = (0, 0)) -> dict[str, Any]:
        """Transforms that lay a 2-d layer over the source image, from `offset` on."""
        return {} if self._source is None else placement(self._source, offset)

    def place(self, layer: Layer) -> None:
        """Lay a layer over the source image; what is right already is not touched."""
        for key, value in self.placement(role_of(layer).get("offset", (0, 0))).items():
            if not same(getattr(layer, key), value):
                setattr(layer, key, value)

    def add(self, layer: Layer, *, select: bool = False) -> None:
        """Add a layer of ours; unless to `select` it, the active layer stays active."""
        with nullcontext() if select else self._same_active_layer():
            self._viewer.add_layer(layer)

    def put_on_top(self, layer: Layer) -> None:
        """Bring a layer of ours where `add` would have put it."""
        layers = self._viewer.layers
        if layers[-1] is not layer:
            layers.move(layers.index(layer), len(layers))

    def put_under(self, layer: Layer, role: str) -> None:
        """Move a layer of ours under all of a role."""
        layers = self._viewer.layers
        places = [layers.index(other) for other in self.tagged(role)]
        if places and min(places) < layers.index(layer):
            layers.move(layers.index(layer), min(places))

    def remove(self, layer: Layer) -> None:
        """Take a layer of ours away."""
        self._removing = True
        try:
            with self._same_active_layer():
                self._viewer.layers.remove(layer)
        finally:
            self._removing = False

    @contextmanager
    def _same_active_layer(self) -> Iterator[None]:
        selection = self._viewer.layers.selection
        before, active = set(selection), selection.active
        # napari selects what is added and shows its controls, which takes longer than all
        # else; where that is taken back at once, nobody needs to hear of it.
        unheard = nullcontext() if active is None else selection.events.blocker_all()
        with unheard:
            yield
            kept = before & set(self._viewer.layers)
            if kept or not before:
                self._viewer.layers.selection = kept

    # --- what the analyst does --------------------------------------------------------

    def _watch_names(self) -> None:
        for layer in self._named:
            layer.events.name.disconnect(self._on_name)
        self._named = [*self.images(), *self.labels(), *self.tagged("correction")]
        for layer in self._named:
            layer.events.name.connect(self._on_name)

    def _on_name(self, event: Any = None) -> None:
        self.choices_changed.emit()

    def _on_layers(self, event: Any = None) -> None:
        self._watch_names()
        self.choices_changed.emit()

    def _on_inserted(self, event: Any) -> None:
        if isinstance(event.value, Image) and not role_of(event.value):
            self.image_added.emit(event.value)
        self.looks.dress(event.value)
        self._on_layers()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._source:
            self.set_source(None)
            self.source_changed.emit()
        self.removed.emit(layer, self._removing)
        self._on_layers()

    def _on_source_data(self, event: Any = None) -> None:
        # `set_data` also announces mere redraws; only other pixels matter.
        if self._source is not None and self._source.data is not self._seen:
            self._seen = self._source.data
            self.source_changed.emit()

    def _on_source_moved(self, event: Any = None) -> None:
        for role in ("cells", "overlay", "selection", "preview", "correction"):
            for layer in self.of_source(role):
                self.place(layer)
        self.source_moved.emit()
