"""State of one dock: what is loaded, found, selected and shown, and events when it changes.

Widgets and layers are views of a `Session`; they change it only through its methods. It
knows neither Qt nor napari, so all of its behaviour is tested without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.core.flags import flagged
from napari_cytosae.core.types import PixelSize
from napari_cytosae.session_exploration import Exploration
from napari_cytosae.session_focus import Focus
from napari_cytosae.session_found import Found
from napari_cytosae.session_images import ImagesSeen
from napari_cytosae.session_names import Naming
from napari_cytosae.session_overlays import Overlays
from napari_cytosae.session_review import ReviewList
from napari_cytosae.session_values import (
    CellSettings,
    ModelChoice,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Encoded, Image


class Session:
    """Models, image, cells and activations of one dock.

    What is known of each image is in `session_images`, what is selected in `focus`, what is
    laid over the slide in `overlays`, what is said of concepts in `naming`, which cells
    show them in `review`, and what was gathered about the SAE in `exploration`.

    Each ``*_changed`` signal carries the new value; `kept` says that something was found on
    an image elsewhere, or let go there. What depends on a changed value is cleared first,
    and every value is in place before the first signal goes out: nothing a listener can see
    mixes two images or two models.
    """

    choice_changed = Signal(object)
    models_changed = Signal(object)
    image_changed = Signal(object)
    settings_changed = Signal(object)
    cells_changed = Signal(object)
    encoded_changed = Signal(object)
    kept = Signal()
    hide_flagged_changed = Signal(bool)
    spared_changed = Signal(object)

    def __init__(self) -> None:
        self._choice = ModelChoice()
        self._models: Models | None = None
        self.naming = Naming()
        self.exploration = Exploration()
        self.overlays = Overlays()
        self.focus = Focus()
        self._settings = CellSettings()
        self._hide_flagged = False
        self._spared: frozenset[str] = frozenset()
        self._images = ImagesSeen()
        self.review = ReviewList(self._images)

    # --- models -----------------------------------------------------------------------

    @property
    def choice(self) -> ModelChoice:
        """The models picked in the dock."""
        return self._choice

    @property
    def models(self) -> Models | None:
        """The loaded models, or None until something has needed them."""
        return self._models

    def choose(self, choice: ModelChoice) -> None:
        """Pick other models; everything the former ones made is let go."""
        if choice == self._choice:
            return
        self._choice = choice
        self._models = None
        self.naming.set_names(None)
        self._images.forget_encoded()
        self._look_afresh()
        self.focus.forget_models()
        self.overlays.forget()
        self.exploration.forget_models()
        self.choice_changed.emit(choice)
        self.models_changed.emit(None)
        self._announce_results()

    def set_models(self, models: Models, names: ConceptNames) -> None:
        """Keep the models that the current choice loaded."""
        self._models = models
        self.naming.set_names(names)
        self.models_changed.emit(models)
        self.naming.changed.emit()

    # --- image and cells --------------------------------------------------------------

    @property
    def image(self) -> Image | Pyramid | None:
        """The image being looked at."""
        return self._images.front

    @property
    def settings(self) -> CellSettings:
        """How the next segmentation will look for cells."""
        return self._settings

    @property
    def cells(self) -> Cells | None:
        """The cells of the image."""
        return self._images.found.cells

    @property
    def found(self) -> Found:
        """All that is known of the image: its cells, how they were found and cropped."""
        return self._images.found

    @property
    def crops(self) -> Crops | None:
        """What the models saw of each encoded cell."""
        return self._images.found.crops

    @property
    def encoded(self) -> Encoded | None:
        """Concept activations and kept tokens of the cells."""
        return self._images.found.encoded

    def set_image(self, image: Image | Pyramid | None) -> None:
        """Look at another image; what was found on the former one is kept for a return.

        So is the pixel size that the analyst typed for it.
        """
        another = self._images.look_at(image)
        if another:
            self._look_afresh()
        self.image_changed.emit(self.image)
        if another:
            if self.cells is not None:
                self.set_settings(self.found.settings)
            self.cells_changed.emit(self.cells)
            self._announce_results()

    @property
    def typed_sizes(self) -> Mapping[str, PixelSize]:
        """Pixel sizes that the analyst typed, by the image's sha256."""
        return self._images.typed_sizes

    def type_pixel_size(self, um: float | None) -> None:
        """Take the analyst's pixel size for the image; None takes it back."""
        if self._images.type_size(um):
            self.set_image(self.image)

    def set_settings(self, settings: CellSettings) -> None:
        """Change how cells will be found; cells that are there stay until the next run."""
        if settings != self._settings:
            self._settings = settings
            self.settings_changed.emit(settings)

    def set_cells(
        self, cells: Cells, settings: CellSettings, pixel_size: PixelSize | None = None
    ) -> None:
        """Keep the cells that `settings` found; activations of former ones are let go.

        `pixel_size` is that of the image when the search began; by default, that of now.
        """
        now = PixelSize() if self.image is None else self.image.pixel_size
        size = now if pixel_size is None else pixel_size
        self._images.found = Found(cells, settings, size)
        self._look_afresh()
        self.cells_changed.emit(cells)
        self._announce_results()

    def set_found(self, found: Found) -> None:
        """Keep all that was found on the image looked at, as it was before."""
        self._images.found = found
        self._look_afresh()
        self.cells_changed.emit(found.cells)
        self._announce_results()
        self.review.changed.emit()

    def set_encoded(self, encoded: Encoded, crops: Crops, field_of_view_um: float) -> None:
        """Keep activations of (some of) the cells, and the field of view asked for."""
        self._images.found = self.found.seen(crops, encoded, field_of_view_um)
        self._look_afresh()
        self._announce_results()

    def keep(self, sha256: str, found: Found) -> None:
        """Keep what was found on an image elsewhere, for when it is looked at."""
        self._images.keep(sha256, found)
        self.kept.emit()

    def close_image(self, sha256: str) -> None:
        """Let go of what the models saw of an image elsewhere, tokens and pixels.

        Its cells, corrected or not, and the review list stay; encoding it again is a
        matter of reading the cache.
        """
        self._images.close(sha256)
        self.focus.keep_examples(self._images.still_encoded(self.focus.examples))
        self.kept.emit()

    def found_images(self) -> dict[str, Found]:
        """What is known of all images, by their sha256; that in front first."""
        return self._images.everything()

    def encoded_images(self) -> dict[str, tuple[Cells, Crops, Encoded]]:
        """All images whose cells are encoded completely, by their sha256."""
        return {
            sha256: (found.cells, found.crops, found.encoded)
            for sha256, found in self.found_images().items()
            if found.cells is not None
            and found.crops is not None
            and found.encoded is not None
            and found.encoded.complete
        }

    def take_over(self, former: Session) -> None:
        """Go on where another session, which nobody uses any more, was left."""
        self.choose(former._choice)
        if former._models is not None and former.naming.names is not None:
            self.set_models(former._models, former.naming.names)
        self.set_settings(former._settings)
        self.set_spared(former._spared)
        self.set_hide_flagged(former._hide_flagged)
        gathered = former.exploration
        self.exploration.set_catalogues(
            gathered.catalogues, gathered.classes, gathered.folder
        )
        self.overlays.take_over(former.overlays)
        self._images.take_over(former._images)
        image, self._images.front = self.image, None
        self.set_image(image)

    def _look_afresh(self) -> None:
        """Other cells are there: none is selected.

        The concepts looked at stay the same, and so do the cells searched by, as long as
        they are encoded.
        """
        self.overlays.allow(self.encoded is not None)
        self.exploration.forget_cells()
        here = "" if self.image is None else self.image.sha256
        self.focus.look_at(here, self._images.still_encoded(self.focus.examples))

    def _announce_results(self) -> None:
        self.encoded_changed.emit(self.encoded)
        self.focus.announce()
        self.overlays.announce()

    # --- which cells count ------------------------------------------------------------

    @property
    def hide_flagged(self) -> bool:
        """Whether cells that quality control flagged are left out of what is shown."""
        return self._hide_flagged

    def set_hide_flagged(self, hide: bool) -> None:
        """Leave flagged cells out of outlines, ranking and gallery, or bring them back."""
        if hide != self._hide_flagged:
            self._hide_flagged = hide
            self.hide_flagged_changed.emit(hide)

    @property
    def spared(self) -> frozenset[str]:
        """Reasons of quality control, of `core.flags.REASONS`, that hide no cell."""
        return self._spared

    def set_spared(self, reasons: Iterable[str]) -> None:
        """Say for which reasons no cell is hidden."""
        spared = frozenset(reasons)
        if spared != self._spared:
            self._spared = spared
            self.spared_changed.emit(spared)
            if self._hide_flagged:
                self.hide_flagged_changed.emit(True)

    def hidden_cells(self, cells: Cells | None = None) -> frozenset[int]:
        """Ids of the cells that are left out at the moment; of the image's by default."""
        cells = self.cells if cells is None else cells
        if not self._hide_flagged or cells is None:
            return frozenset()
        table = cells.table
        return frozenset(table.loc[flagged(table["qc"], self._spared), "cell_id"].tolist())

    def rows(self, cell_ids: Iterable[int] | None = None) -> npt.NDArray[np.int64]:
        """Rows of `encoded` that hold these cells (None: all), hidden cells left out."""
        import numpy as np

        if self.encoded is None:
            return np.empty(0, np.int64)
        hidden = self.hidden_cells()
        wanted = np.ones(len(self.encoded.cell_ids), bool)
        if hidden:
            wanted = ~np.isin(self.encoded.cell_ids, list(hidden))
        if cell_ids is not None:
            wanted &= np.isin(self.encoded.cell_ids, list(cell_ids))
        return np.flatnonzero(wanted).astype(np.int64)
