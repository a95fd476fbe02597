"""State of one dock: what is loaded, found, selected and shown, and events when it changes.

Widgets and layers are views of a `Session`; they change it only through its methods. It
knows neither Qt nor napari, so all of its behaviour is tested without them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.core.types import PixelSize
from napari_cytosae.session_exploration import Exploration
from napari_cytosae.session_values import (
    OVERLAY_COLOURS,
    CellSettings,
    Found,
    Look,
    ModelChoice,
    Overlay,
    Scope,
    Selection,
    Step,
    StepState,
    Verdict,
    placed,
    slot_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from napari_cytosae.core.concepts import Annotation, ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Encoded, Image


_NOTHING_SHOWN: tuple[Overlay | None, ...] = (None,) * len(OVERLAY_COLOURS)


class Session:
    """Models, image, cells, activations, selection and overlays of one dock.

    Each ``*_changed`` signal carries the new value. What depends on a changed value is
    cleared first, and every value is in place before the first signal goes out: nothing a
    listener can see mixes two images or two models.
    """

    choice_changed = Signal(object)
    models_changed = Signal(object)
    image_changed = Signal(object)
    settings_changed = Signal(object)
    cells_changed = Signal(object)
    encoded_changed = Signal(object)
    scope_changed = Signal(str)
    selection_changed = Signal(object)
    overlays_changed = Signal(object)
    names_changed = Signal()
    verdicts_changed = Signal()
    hide_flagged_changed = Signal(bool)

    def __init__(self) -> None:
        self._choice = ModelChoice()
        self._models: Models | None = None
        self._names: ConceptNames | None = None
        self.exploration = Exploration()
        self._image: Image | Pyramid | None = None
        self._settings = CellSettings()
        self._found = Found()
        self._typed_sizes: dict[str, PixelSize] = {}
        self._scope: Scope = "image"
        self._examples: tuple[int, ...] = ()
        self._selection = Selection()
        self._overlays = _NOTHING_SHOWN
        self._hide_flagged = False
        self._elsewhere: dict[str, Found] = {}

    # --- models -----------------------------------------------------------------------

    @property
    def choice(self) -> ModelChoice:
        """The models picked in the dock."""
        return self._choice

    @property
    def models(self) -> Models | None:
        """The loaded models, or None until something has needed them."""
        return self._models

    @property
    def names(self) -> ConceptNames | None:
        """The analyst's names for the loaded SAE's concepts."""
        return self._names

    def choose(self, choice: ModelChoice) -> None:
        """Pick other models; everything the former ones made is let go."""
        if choice == self._choice:
            return
        self._choice = choice
        self._models = self._names = None
        self._found = replace(self._found, encoded=None)
        self._elsewhere = {
            key: replace(found, encoded=None) for key, found in self._elsewhere.items()
        }
        self._look_afresh()
        self._selection, self._overlays = Selection(), _NOTHING_SHOWN
        self.exploration.forget_models()
        self.choice_changed.emit(choice)
        self.models_changed.emit(None)
        self._announce_results()

    def set_models(self, models: Models, names: ConceptNames) -> None:
        """Keep the models that the current choice loaded."""
        self._models, self._names = models, names
        self.models_changed.emit(models)
        self.names_changed.emit()

    def name_of(self, concept: int) -> str:
        """The analyst's or the SAE's own name of a concept, or an empty text."""
        return "" if self._names is None else self._names.get(concept)

    def title_of(self, concept: int) -> str:
        """Number and name of a concept, as on its layer."""
        return f"{concept} {self.name_of(concept)}".rstrip()

    def rename(self, concept: int, name: str) -> None:
        """Give a concept a name; an empty one takes the analyst's name away."""
        if self._names is None or self._names.get(concept) == name:
            return
        self._names.set(concept, name)
        self.names_changed.emit()

    def annotate(self, concept: int, annotation: Annotation) -> None:
        """Keep what the analyst says of a concept, as one change."""
        if self._names is None or self._names.annotation(concept) == annotation:
            return
        self._names.annotate(concept, annotation)
        self.names_changed.emit()

    def undo_naming(self) -> list[int]:
        """Take back the last change of names, tags, notes and stars; whose they were."""
        undone = [] if self._names is None else self._names.undo()
        if undone:
            self.names_changed.emit()
        return sorted({entry["concept"] for entry in undone})

    # --- image and cells --------------------------------------------------------------

    @property
    def image(self) -> Image | Pyramid | None:
        """The image being looked at."""
        return self._image

    @property
    def settings(self) -> CellSettings:
        """How the next segmentation will look for cells."""
        return self._settings

    @property
    def used_settings(self) -> CellSettings:
        """How the present cells were found and cropped."""
        return self._found.settings

    @property
    def cells(self) -> Cells | None:
        """The cells of the image."""
        return self._found.cells

    @property
    def crops(self) -> Crops | None:
        """What the models saw of each encoded cell."""
        return self._found.crops

    @property
    def encoded(self) -> Encoded | None:
        """Concept activations and kept tokens of the cells."""
        return self._found.encoded

    def set_image(self, image: Image | Pyramid | None) -> None:
        """Look at another image; what was found on the former one is kept for a return.

        So is the pixel size that the analyst typed for it.
        """
        if image is not None and image.sha256 in self._typed_sizes:
            image = replace(image, pixel_size=self._typed_sizes[image.sha256])
        same = (
            image is not None
            and self._image is not None
            and image.sha256 == self._image.sha256
            and image.shape == self._image.shape
        )
        if not same:
            self._leave_image()
            if image is not None:
                self._found = self._elsewhere.pop(image.sha256, self._found)
            self._look_afresh()
        self._image = image
        self.image_changed.emit(image)
        if not same:
            if self.cells is not None:
                self.set_settings(self._found.settings)
            self.cells_changed.emit(self.cells)
            self._announce_results()

    @property
    def typed_sizes(self) -> Mapping[str, PixelSize]:
        """Pixel sizes that the analyst typed, by the image's sha256."""
        return self._typed_sizes

    def type_pixel_size(self, um: float | None) -> None:
        """Take the analyst's pixel size for the image; None takes it back."""
        if self._image is None:
            return
        if um is None:
            self._typed_sizes.pop(self._image.sha256, None)
            return
        self._typed_sizes[self._image.sha256] = PixelSize(um, "user")
        self.set_image(self._image)

    def set_settings(self, settings: CellSettings) -> None:
        """Change how cells will be found; cells that are there stay until the next run."""
        if settings != self._settings:
            self._settings = settings
            self.settings_changed.emit(settings)

    def correct_cells(self, cells: Cells) -> None:
        """Keep cells as they were corrected by hand; how they were found stays."""
        self.set_cells(cells, self._found.settings, self._found.pixel_size)

    def set_cells(
        self, cells: Cells, settings: CellSettings, pixel_size: PixelSize | None = None
    ) -> None:
        """Keep the cells that `settings` found; activations of former ones are let go.

        `pixel_size` is that of the image when the search began; by default, that of now.
        """
        now = PixelSize() if self._image is None else self._image.pixel_size
        self._found = Found(cells, settings, now if pixel_size is None else pixel_size)
        self._look_afresh()
        self.cells_changed.emit(cells)
        self._announce_results()

    def set_encoded(self, encoded: Encoded, crops: Crops, field_of_view_um: float) -> None:
        """Keep activations of (some of) the cells, and the field of view asked for."""
        settings = replace(self._found.settings, field_of_view_um=field_of_view_um)
        self._found = replace(self._found, settings=settings, crops=crops, encoded=encoded)
        self._look_afresh()
        self._announce_results()

    def keep(
        self,
        sha256: str,
        cells: Cells,
        settings: CellSettings,
        crops: Crops,
        encoded: Encoded,
    ) -> None:
        """Keep what was found on an image elsewhere, for when it is looked at."""
        if self._image is None or self._image.sha256 != sha256:
            found = Found(cells, settings, cells.pixel_size, crops, encoded)
            self._elsewhere[sha256] = found

    def encoded_images(self) -> dict[str, tuple[Cells, Crops, Encoded]]:
        """All images whose cells are encoded completely, by their sha256."""
        known = dict(self._elsewhere)
        if self._image is not None:
            known[self._image.sha256] = self._found
        return {
            sha256: (found.cells, found.crops, found.encoded)
            for sha256, found in known.items()
            if found.cells is not None
            and found.crops is not None
            and found.encoded is not None
            and found.encoded.complete
        }

    def take_over(self, former: Session) -> None:
        """Go on where another session, which nobody uses any more, was left."""
        former._leave_image()
        self.choose(former._choice)
        if former._models is not None and former._names is not None:
            self.set_models(former._models, former._names)
        self.set_settings(former._settings)
        self.set_hide_flagged(former._hide_flagged)
        gathered = former.exploration
        self.exploration.set_catalogues(gathered.catalogues, gathered.classes)
        self._overlays = former._overlays
        self._elsewhere = {**former._elsewhere, **self._elsewhere}
        self._typed_sizes = {**former._typed_sizes, **self._typed_sizes}
        image, self._image = self._image, None
        self.set_image(image)

    def _leave_image(self) -> None:
        if self._image is not None and self._found.cells is not None:
            self._elsewhere[self._image.sha256] = self._found
        self._found = Found()

    def _look_afresh(self) -> None:
        """Other cells are there: none is selected; the concepts looked at stay the same."""
        self.exploration.forget_cells()
        self._selection = Selection(concept=self._selection.concept)
        self._scope = "image"
        self._examples = ()

    def _announce_results(self) -> None:
        self.encoded_changed.emit(self.encoded)
        self.scope_changed.emit(self._scope)
        self.selection_changed.emit(self._selection)
        self.overlays_changed.emit(self.overlays)

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

    def hidden_cells(self) -> frozenset[int]:
        """Ids of the cells that are left out at the moment."""
        if not self._hide_flagged or self.cells is None:
            return frozenset()
        table = self.cells.table
        return frozenset(int(i) for i in table.loc[table["qc"] != "ok", "cell_id"])

    def rows(self, cell_ids: Iterable[int] | None = None) -> npt.NDArray[np.int64]:
        """Rows of `encoded` that hold these cells (None: all), hidden cells left out."""
        import numpy as np

        if self.encoded is None:
            return np.empty(0, np.int64)
        wanted = ~np.isin(self.encoded.cell_ids, list(self.hidden_cells()))
        if cell_ids is not None:
            wanted &= np.isin(self.encoded.cell_ids, list(cell_ids))
        return np.flatnonzero(wanted).astype(np.int64)

    # --- what is looked at ------------------------------------------------------------

    @property
    def scope(self) -> Scope:
        """What concepts are ranked by, e.g. the image, its red cells, or a patch."""
        return self._scope

    @property
    def examples(self) -> tuple[int, ...]:
        """Cells that others are compared with while the scope is ``like``."""
        return self._examples

    def set_scope(self, scope: Scope) -> None:
        """Rank concepts by something else; for ``like``, by the cells selected now."""
        examples = self._selection.cell_ids if scope == "like" else ()
        if (scope, examples) != (self._scope, self._examples):
            self._scope, self._examples = scope, examples
            self.scope_changed.emit(scope)

    @property
    def selection(self) -> Selection:
        """The cells, the patch and the concept being looked at."""
        return self._selection

    def select_cells(
        self, cell_ids: Iterable[int], patch: tuple[int, int] | None = None
    ) -> None:
        """Look at cells, and at a patch of the first of them."""
        self._select(replace(self._selection, cell_ids=tuple(cell_ids), patch=patch))

    def select_concept(self, concept: int | None) -> None:
        """Look at a concept."""
        self._select(replace(self._selection, concept=concept))

    def _select(self, selection: Selection) -> None:
        if selection != self._selection:
            self._selection = selection
            self.selection_changed.emit(selection)

    # --- the review list --------------------------------------------------------------

    def judge(self, concept: int, cell_ids: Iterable[int], verdict: Verdict) -> None:
        """Accept or reject cells as showing a concept; the same again takes it back."""
        verdicts = dict(self._found.verdicts)
        for cell_id in cell_ids:
            key = (concept, cell_id)
            if verdicts.get(key) == verdict:
                del verdicts[key]
            else:
                verdicts[key] = verdict
        self._found = replace(self._found, verdicts=verdicts)
        self.verdicts_changed.emit()

    def review_list(self) -> list[tuple[int, int, Verdict]]:
        """All verdicts on the cells of the image: concept, cell, verdict."""
        said = self._found.verdicts
        return sorted((concept, cell, said[concept, cell]) for concept, cell in said)

    # --- overlays ---------------------------------------------------------------------

    @property
    def overlays(self) -> tuple[Overlay | None, ...]:
        """One entry a slot; None where a slot is free, or nothing is encoded to be shown.

        What was ticked on one image is ticked on the next one too.
        """
        return _NOTHING_SHOWN if self.encoded is None else self._overlays

    def slot_of(self, concept: int) -> int | None:
        """The slot that shows a concept, or None."""
        return slot_of(self.overlays, concept)

    def show(self, concept: int, slot: int | None = None) -> bool:
        """Lay a concept over the slide; False when all slots are taken.

        `slot`, and so the colour, is the first free one by default; what a given one holds
        makes room.
        """
        if slot is None and self.slot_of(concept) is not None:
            return True
        if slot is None and None not in self._overlays:
            return False
        chosen = self._overlays.index(None) if slot is None else slot
        self._set_overlays(placed(self._overlays, concept, chosen))
        return True

    def put(self, slot: int, overlay: Overlay) -> None:
        """Show an overlay in a slot just as it is."""
        self.show(overlay.concept, slot)
        self._set_overlays(
            overlay if index == slot else each for index, each in enumerate(self.overlays)
        )

    def hide(self, concept: int) -> None:
        """Take a concept off the slide."""
        self._set_overlays(
            None if o is not None and o.concept == concept else o for o in self._overlays
        )

    def restyle(self, concept: int, look: Look) -> None:
        """Change how a shown concept looks."""
        self._set_overlays(
            look.applied_to(o) if o is not None and o.concept == concept else o
            for o in self._overlays
        )

    def _set_overlays(self, overlays: Iterable[Overlay | None]) -> None:
        new = tuple(overlays)
        if new != self._overlays:
            self._overlays = new
            self.overlays_changed.emit(self.overlays)

    # --- the steps --------------------------------------------------------------------

    def state_of(self, step: Step) -> StepState:
        """Whether a step is done, still to do, or needs attention.

        Attention: what is shown was made with other settings than the ones chosen now, or
        only in part.
        """
        if step == "models":
            return "done"
        if step == "cells":
            if self.cells is None:
                return "todo"
            return "attention" if self.cells_outdated() else "done"
        if self.encoded is None:
            return "todo"
        changed = self._settings.field_of_view_um != self._found.settings.field_of_view_um
        return "attention" if changed or not self.encoded.complete else "done"

    def cells_outdated(self) -> bool:
        """Whether the cells were found with other settings or another pixel size."""
        if self.cells is None or self._image is None:
            return False
        now, used = self._settings, self._found.settings
        return (now.shows, now.kinds) != (used.shows, used.kinds) or (
            self._image.pixel_size.um != self._found.pixel_size.um
        )
