"""The atlas and the heatmap: windows beside the dock, filled by jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cytosae.widgets import _explorer_tasks, _scopes

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.groups import Groups
    from napari_cytosae.core.types import Progress
    from napari_cytosae.patient_session import PatientSession
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.concepts_panel import ConceptsPanel
    from napari_cytosae.widgets.group_heatmap import GroupHeatmap
    from napari_cytosae.widgets.latent_atlas import AtlasPoints, LatentAtlas

_ATLAS, _GROUPS = "atlas", "groups"


class ExplorerWindows:
    """Opens them when they are first asked for; what is clicked is selected in the dock."""

    def __init__(
        self,
        session: Session,
        patients: PatientSession,
        desk: Desk,
        jobs: Jobs,
        panel: ConceptsPanel,
    ) -> None:
        self._session, self._patients = session, patients
        self._desk, self._jobs, self._panel = desk, jobs, panel
        self.atlas: LatentAtlas | None = None
        self.heatmap: GroupHeatmap | None = None

    def close(self) -> None:
        """Close the windows."""
        for window in (self.atlas, self.heatmap):
            if window is not None:
                window.close()

    def show_atlas(self) -> None:
        """Show all concepts, as they fire in the catalogue or in these cells."""
        session = self._session
        encoded, catalogues = session.encoded, session.exploration.catalogues
        if encoded is None and not catalogues:
            self._desk.fail("Encode the cells first, or open a catalogue.")
            return
        if self.atlas is None:
            from napari_cytosae.widgets.latent_atlas import LatentAtlas

            self.atlas = LatentAtlas(parent=self._panel)
            self.atlas.concept_clicked.connect(session.focus.select_concept)
            self.atlas.concepts_picked.connect(self._panel.search.pick)
            self.atlas.source_chosen.connect(lambda _: self.show_atlas())
        atlas, known = self.atlas, session.exploration
        measured = _explorer_tasks.Known(known.where, known.stability)
        cells = [] if encoded is None else [_explorer_tasks.THESE_CELLS]
        chosen = atlas.set_sources([*catalogues, *cells])

        def work() -> Generator[Progress, None, AtlasPoints]:
            if chosen in catalogues:
                return _explorer_tasks.atlas_of_catalogue(
                    chosen, catalogues[chosen], measured
                )
            assert encoded is not None
            return _explorer_tasks.atlas_of_cells(encoded, measured)

        def ended(end: Ended) -> None:
            atlas.set_points(end.value)
            atlas.show()
            atlas.raise_()

        self._jobs.run(
            _ATLAS,
            "Drawing the atlas",
            work,
            on_ended=ended,
            on_failed=self._desk.fail_job,
        )

    def show_groups(self) -> None:
        """Show groups of the cells of all encoded images against concepts."""
        if not self._session.encoded_images():
            self._desk.fail("Encode the cells first.")
            return
        if self.heatmap is None:
            from napari_cytosae.widgets.group_heatmap import GroupHeatmap

            self.heatmap = GroupHeatmap(parent=self._panel)
            self.heatmap.grouping_chosen.connect(self._group_by)
            self.heatmap.concept_clicked.connect(self._show_cells)
        self.heatmap.show()
        self.heatmap.raise_()
        self._group_by("kind")

    def _group_by(self, grouping: str) -> None:
        session, heatmap = self._session, self.heatmap
        assert heatmap is not None
        parts = [
            _explorer_tasks.GroupPart(
                encoded.activations,
                _scopes.shown_rows(session, cells, encoded),
                _scopes.groups_of(self._patients, grouping, cells, encoded),
            )
            for cells, _, encoded in session.encoded_images().values()
        ]

        def ended(end: Ended) -> None:
            groups: Groups = end.value
            titles = {int(c): session.naming.title_of(int(c)) for c in groups.concepts}
            heatmap.set_groups(grouping, groups, titles)

        self._jobs.run(
            _GROUPS,
            "Comparing groups",
            lambda: _explorer_tasks.compare_parts(parts),
            on_ended=ended,
            on_failed=lambda error: heatmap.set_trouble(str(error)),
        )

    def _show_cells(self, concept: int) -> None:
        self._session.focus.select_concept(concept)
        self._panel.below.setCurrentIndex(0)
