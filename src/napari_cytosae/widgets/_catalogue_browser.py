"""Fills the window of a catalogue whose SAE is not the one loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_cytosae.core.types import Progress
from napari_cytosae.widgets import _catalogue_cells, _concept_tasks, _explorer_tasks
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import pandas as pd

    from napari_cytosae.core._annotation import Annotation
    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.widgets._concept_rows import ConceptRows
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets._thumbnails import Thumbnail
    from napari_cytosae.widgets.catalogue_window import CatalogueWindow
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel
    from napari_cytosae.widgets.latent_atlas import LatentAtlas

_ROWS, _CONCEPT, _ATLAS = "catalogue rows", "catalogue concept", "catalogue atlas"


@dataclass(frozen=True, slots=True, eq=False)
class ConceptPage:
    """What the window says of one concept."""

    about: str
    images: tuple[Thumbnail, ...]


class CatalogueBrowser:
    """Needs neither models nor cells, and changes nothing of the session."""

    def __init__(self, desk: Desk, jobs: Jobs, panel: ConceptsPanel) -> None:
        self._desk, self._jobs, self._panel = desk, jobs, panel
        self._catalogues: Mapping[str, Catalogue] = {}
        self._classes: pd.DataFrame | None = None
        self._said: Mapping[int, Annotation] = {}
        self.window: CatalogueWindow | None = None
        self.atlas: LatentAtlas | None = None

    def close(self) -> None:
        """Close the windows."""
        for window in (self.window, self.atlas):
            if window is not None:
                window.close()

    def show(self, catalogues: Mapping[str, Catalogue], classes: pd.DataFrame) -> None:
        """List the concepts of some catalogues."""
        self._catalogues, self._classes = catalogues, classes
        size = len(next(iter(catalogues.values())))
        title = f"Catalogue {', '.join(catalogues)}: {counted(size, 'concept')}"

        def ended(end: Ended) -> None:
            if self.window is None:
                from napari_cytosae.widgets.catalogue_window import CatalogueWindow

                self.window = CatalogueWindow(parent=self._panel)
                self.window.concept_selected.connect(self._show_concept)
                self.window.atlas_clicked.connect(self._show_atlas)
            rows, self._said = end.value
            self.window.set_rows(title, rows)
            self.window.show()
            self.window.raise_()

        self._jobs.run(
            _ROWS,
            "Listing the catalogue",
            lambda: _list(catalogues, classes),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def _show_concept(self, concept: int) -> None:
        window, catalogues, classes = self.window, self._catalogues, self._classes
        assert window is not None
        assert classes is not None
        name = self._said[concept].name if concept in self._said else ""
        self._jobs.run(
            _CONCEPT,
            "Looking a concept up",
            lambda: concept_page(catalogues, classes, concept, name),
            on_ended=lambda end: window.show_concept(end.value.about, end.value.images),
            on_failed=self._desk.fail_job,
        )

    def _show_atlas(self) -> None:
        window, catalogues = self.window, self._catalogues
        assert window is not None
        if self.atlas is None:
            from napari_cytosae.widgets.latent_atlas import LatentAtlas

            self.atlas = LatentAtlas(parent=window)
            self.atlas.concept_clicked.connect(window.table.select)
            self.atlas.concepts_picked.connect(window.search.pick)
            self.atlas.source_chosen.connect(lambda _: self._show_atlas())
        atlas = self.atlas
        chosen = atlas.set_sources(list(catalogues))

        def ended(end: Ended) -> None:
            atlas.set_points(end.value)
            atlas.show()
            atlas.raise_()

        self._jobs.run(
            _ATLAS,
            "Drawing the atlas",
            lambda: _explorer_tasks.atlas_of_catalogue(chosen, catalogues[chosen]),
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )


def _list(
    catalogues: Mapping[str, Catalogue], classes: pd.DataFrame
) -> Generator[Progress, None, tuple[ConceptRows, Mapping[int, Annotation]]]:
    """The concepts of the first data set, and what was said of those of its SAE."""
    yield Progress("Listing the catalogue", 0, 0)
    from napari_cytosae.core.class_labels import names_of

    names = names_of(catalogues)
    said = {} if names is None else names.annotations()
    first = next(iter(catalogues.values()))
    rows = yield from _concept_tasks.rank_catalogue(first, classes, said)
    return rows, said


def concept_page(
    catalogues: Mapping[str, Catalogue],
    classes: pd.DataFrame,
    concept: int,
    name: str = "",
) -> Generator[Progress, None, ConceptPage]:
    """What the data sets say of a concept, in words and in their top images."""
    yield Progress("Looking a concept up", 0, 0)
    from napari_cytosae.core.class_labels import distribution

    counted = distribution(catalogues, concept)
    text = classes["text"].iloc[concept] or "no class is known"
    title = f"{concept} {name}".rstrip()
    lines = [f"Concept {title}: {text}"]
    for name, each in catalogues.items():
        known = each.describe(concept)
        labels = counted[counted["dataset"] == name].head(3)
        shown = ", ".join(
            f"{label} {images}" for label, images in labels[["label", "images"]].to_numpy()
        )
        line = f"{name}: fires in {known.sparsity:.2%} of the images"
        if known.top:
            line += f", mean activation {known.mean_act:.3g}"
        if not math.isnan(known.entropy):
            line += f", label entropy {abs(known.entropy):.2f}"
        lines.append(f"{line}; {shown}" if shown else line)
    work = _catalogue_cells.CatalogueWork(catalogues, concept)
    images = yield from _catalogue_cells.fill_from_catalogues(work)
    return ConceptPage("\n".join(lines), images)
