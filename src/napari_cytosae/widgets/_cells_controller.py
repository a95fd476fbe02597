"""Connects step 2 with the session and the canvas: image, pixel size, search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.widgets import _image_tasks, _tasks
from napari_cytosae.widgets._connections import Connections
from napari_cytosae.widgets._layer_facts import layer_pixels, marked, stated_pixel_size
from napari_cytosae.widgets._sentences import counted, describe_cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image as ImageLayer
    from napari.layers import Labels, Layer

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Image
    from napari_cytosae.session import Session
    from napari_cytosae.session_values import CellSettings
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers
    from napari_cytosae.widgets.cells_panel import CellsPanel

_LANE = "image"


class CellsController:
    """Keeps `panel`, `layers` and `session` in step."""

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
        self._labels: list[Labels] = []
        self._marks: Labels | None = None
        self._marks_chosen = False
        panel.image_chosen.connect(self._on_image_chosen)
        panel.labels_chosen.connect(self._on_labels_chosen)
        panel.settings_changed.connect(session.set_settings)
        panel.pixel_size_edited.connect(self._on_pixel_size)
        panel.segment_clicked.connect(self.segment)
        panel.hide_flagged_toggled.connect(session.set_hide_flagged)
        desk.busy_changed.connect(self._show_ready)
        self._connections = Connections(
            (layers.choices_changed, self._on_choices),
            (layers.source_changed, self._on_source),
            (layers.source_moved, self._on_source_moved),
            (layers.removed, self._on_removed),
            (session.settings_changed, self._show_settings),
            (session.image_changed, self._show_image),
            (session.cells_changed, self._show_cells),
            (session.hide_flagged_changed, panel.set_hide_flagged),
        )
        self._on_choices()
        self._show_settings(session.settings)

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    # --- the image --------------------------------------------------------------------

    def _on_choices(self) -> None:
        images, labels = self._layers.images(), self._layers.labels()
        if self._layers.source is None and images:
            self._open(self._layers.preferred_image() or images[-1])
        self._images, self._labels = images, labels
        self._panel.set_images(
            [layer.name for layer in images], _place(images, self._layers.source)
        )
        if self._marks not in labels:
            # Another layer never slips in for the one that was chosen.
            self._marks = labels[0] if labels and not self._marks_chosen else None
        self._panel.set_labels([la.name for la in labels], _place(labels, self._marks))
        if not images:
            self._session.set_image(None)

    def _on_image_chosen(self, index: int) -> None:
        if 0 <= index < len(self._images):
            self.look_at(self._images[index])

    def look_at(self, layer: ImageLayer) -> None:
        """Analyse a layer of the viewer, unless that is being done."""
        if layer is not self._layers.source:
            self._open(layer)

    def open_images(self, images: Sequence[Image]) -> None:
        """Analyse the first of some images; those that are not open yet are opened."""
        for image in images:
            if image.sha256 not in self._layers.opened:
                # The others would lie over it.
                layer = self._layers.open_image(image, visible=image is images[0])
                self._layers.opened.know(image.sha256, layer)
        self.look_at_image(images[0].sha256)
        if self._layers.source is not None:
            self._layers.select(self._layers.source)

    def look_at_image(self, sha256: str) -> bool:
        """Analyse an image that was read before; False where it is no longer open."""
        layer = self._layers.opened.layer(sha256)
        if layer is None:
            return False
        self.look_at(layer)
        self._layers.view.bring_up()
        return True

    def _on_labels_chosen(self, index: int) -> None:
        if 0 <= index < len(self._labels):
            self._marks, self._marks_chosen = self._labels[index], True

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
        self._session.set_image(None)
        self._panel.set_reading()
        pixels = layer_pixels(layer)

        def ended(end: Ended) -> None:
            self._layers.opened.know(end.value.sha256, layer)
            self._session.set_image(end.value)
            # It may have been scaled meanwhile.
            self._on_source_moved()
            self._desk.say(self._what_is_known())

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

    def _what_is_known(self) -> str:
        """Of the image now looked at: what was said of the one before is over."""
        session = self._session
        if session.image is None:
            return ""
        text = f"{session.image.name}: "
        if session.cells is None:
            return text + ("; ".join(session.image.notes) or "not segmented yet") + "."
        if session.encoded is None:
            return f"{text}{counted(len(session.cells), 'cell')}, not encoded yet."
        cells = counted(len(session.cells), "cell")
        return f"{text}{cells}, {len(session.encoded):,} encoded."

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

    # --- the cells --------------------------------------------------------------------

    def segment(self) -> None:
        """Find the cells, as the settings say."""
        image, settings = self._session.image, self._session.settings
        if image is None:
            self._desk.fail("Choose an image first.")
            return
        labels, elsewhere = None, ""
        if settings.shows == "labels":
            layer = self._marks
            if layer is None:
                self._desk.fail("Choose the Labels layer that marks the cells first.")
                return
            labels = marked(layer, image.shape)
            if not self._layers.covers_source(layer):
                elsewhere = (
                    f"{layer.name} lies elsewhere on the canvas; its pixels were taken for "
                    f"those of {image.name}, one to one."
                )

        def done(cells: Cells) -> str:
            now = self._session.image
            if now is None or now.sha256 != image.sha256:
                return f"{image.name} is no longer open; its cells were dropped."
            self._session.set_cells(cells, settings, image.pixel_size)
            return " ".join(filter(None, (describe_cells(cells), elsewhere)))

        self._desk.run(
            "Segmenting", lambda: _tasks.find_cells(image, settings, labels), done
        )

    # --- session -> panel and canvas --------------------------------------------------

    def _show_settings(self, settings: CellSettings) -> None:
        self._panel.set_settings(settings)

    def _show_image(self, image: Image | Pyramid | None) -> None:
        self._panel.set_pixel_size(None if image is None else image.pixel_size)
        self._show_ready()

    def _show_ready(self, _: Any = None) -> None:
        self._panel.set_ready(self._session.image is not None, busy=self._desk.busy)

    def _show_cells(self, cells: Cells | None) -> None:
        if cells is None:
            self._panel.set_cells("", flagged=0, count=0)
            return
        self._panel.set_cells(
            describe_cells(cells),
            flagged=int((cells.table["qc"] != "ok").sum()),
            count=len(cells),
            slide=isinstance(cells.labels, LabelBlocks),
        )


def _place(layers: Sequence[Layer], layer: Layer | None) -> int:
    """Where a layer is in a list; -1 where it is not."""
    return next((i for i, one in enumerate(layers) if one is layer), -1)
