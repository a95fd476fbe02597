"""Connects step 2 with the session and the canvas: which image is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cytosae.widgets import _image_tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._layer_facts import (
    known_image,
    layer_pixels,
    place_in,
    stated_pixel_size,
)
from napari_cytosae.widgets._sentences import describe_found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image as ImageLayer
    from napari.layers import Layer

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.cells_panel import CellsPanel

_LANE = "image"


class ImageController:
    """Keeps the image that `session` looks at and the layers in step."""

    def __init__(
        self,
        session: Session,
        desk: Desk,
        jobs: Jobs,
        layers: CanvasLayers,
        panel: CellsPanel,
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._layers, self._panel = layers, panel
        # The layers as listed: a place in a list says nothing once layers move.
        self._images: list[ImageLayer] = []
        self._missed: ImageLayer | None = None
        panel.image_chosen.connect(self._on_image_chosen)
        panel.pixel_size_edited.connect(self._on_pixel_size)
        self._connections = Connections(
            (layers.image_added, self._on_added),
            (layers.choices_changed, self._on_choices),
            (layers.source_changed, self._on_source),
            (layers.source_moved, self._on_source_moved),
            (layers.removed, self._on_removed),
            (session.image_changed, self._show_image),
        )
        self._on_choices()

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    def _on_choices(self) -> None:
        images = self._layers.images()
        if self._layers.source is None and images:
            self._open(self._layers.preferred_image() or images[-1])
        self._list_images()
        if not images:
            self._session.set_image(None)

    def _list_images(self) -> None:
        self._images, source = self._layers.images(), self._layers.source
        if self._missed is source or self._missed not in self._images:
            self._missed = None
        self._panel.set_images(
            [layer.name for layer in self._images],
            place_in(self._images, source),
            missed="" if self._missed is None else self._missed.name,
        )

    def _on_added(self, layer: ImageLayer) -> None:
        """Follow the analyst to an image just opened; not while a job needs the former."""
        if self._layers.source is None or known_image(layer) is not None:
            return
        if not layer.rgb and layer.ndim > 2:
            # A stack is no smear.
            return
        if self._desk.busy or self._jobs.running(_LANE) is not None:
            self._missed = layer
        else:
            self._open(layer)

    def _on_image_chosen(self, index: int) -> None:
        if 0 <= index < len(self._images):
            self._bring_up(self._images[index])

    def _bring_up(self, layer: ImageLayer) -> None:
        """Analyse a layer and show it; what may lie over it is hidden."""
        self.look_at(layer)
        self._layers.view.bring_up()

    def look_at(self, layer: ImageLayer) -> None:
        """Analyse a layer of the viewer, unless that is being done."""
        if layer is not self._layers.source:
            self._open(layer)

    def open_images(self, images: Sequence[Image | Pyramid], first: str) -> None:
        """Open images that are not open yet, one over the other, and analyse the `first`.

        Others that lie over it are hidden.
        """
        for image in images:
            if image.sha256 not in self._layers.opened:
                layer = self._layers.open_image(image, visible=image.sha256 == first)
                self._layers.opened.know(image.sha256, layer)
        self.look_at_image(first)
        if self._layers.source is not None:
            self._layers.select(self._layers.source)

    def look_at_image(self, sha256: str) -> bool:
        """Analyse an image that was read before; False where it is no longer open."""
        layer = self._layers.opened.layer(sha256)
        if layer is None:
            return False
        self._bring_up(layer)
        return True

    def _on_source(self) -> None:
        """The source's pixels were replaced, or its layer deleted."""
        source = self._layers.source
        if source is None:
            self._jobs.abandon(_LANE)
            self._session.set_image(None)
        else:
            self._open(source)

    def _on_removed(self, layer: Layer, by_us: bool) -> None:
        """An image that is closed takes what the models saw of it along."""
        for sha256 in self._layers.opened.images_of(layer):
            self._session.close_image(sha256)

    def _open(self, layer: ImageLayer) -> None:
        self._layers.set_source(layer)
        self._list_images()
        self._session.set_image(None)
        self._panel.set_reading()
        pixels = layer_pixels(layer)

        def ended(end: Ended) -> None:
            self._layers.opened.know(end.value.sha256, layer)
            self._session.set_image(end.value)
            # It may have been scaled meanwhile.
            self._on_source_moved()
            # What was said of the image before is over.
            session = self._session
            if session.image is not None:
                self._desk.say(
                    describe_found(session.image, session.cells, session.encoded)
                )

        def failed(error: JobError) -> None:
            self._panel.set_pixel_size(None)
            self._desk.fail_job(error)

        self._jobs.run(
            _LANE,
            f"Reading {layer.name}",
            lambda: _image_tasks.open_image(pixels),
            on_ended=ended,
            on_failed=failed,
        )

    def _on_source_moved(self) -> None:
        """Another scale may say another pixel size; files and analysts know better."""
        image, source = self._session.image, self._layers.source
        if image is None or source is None:
            return
        size, known = stated_pixel_size(source), image.pixel_size.source
        if known in ("metadata", "user") or size == image.pixel_size:
            return
        if size.um is not None:
            self._session.set_image(replace(image, pixel_size=size))
        elif known == "layer":
            # It says nothing any more; the red cells may.
            self._open(source)

    def _on_pixel_size(self, um: float) -> None:
        image, source = self._session.image, self._layers.source
        if image is None or source is None:
            return
        self._session.type_pixel_size(um if um > 0 else None)
        if um <= 0:
            # Nothing typed: what the file, the layer or the red cells say holds again.
            self._open(source)

    def _show_image(self, image: Image | Pyramid | None) -> None:
        self._panel.set_pixel_size(None if image is None else image.pixel_size)
