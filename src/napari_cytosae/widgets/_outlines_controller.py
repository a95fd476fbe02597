"""Connects the cells of the session with their outlines on the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cytosae.widgets import _tasks
from napari_cytosae.widgets._connections import Connections

if TYPE_CHECKING:
    import pandas as pd

    from napari_cytosae.core.types import Cells
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, JobError, Jobs
    from napari_cytosae.widgets._layers import CanvasLayers

_OUTLINES, _SHAPES = "outlines", "shapes"


class OutlinesController:
    """Has the session's cells outlined and described in their layers."""

    def __init__(
        self, session: Session, desk: Desk, jobs: Jobs, layers: CanvasLayers
    ) -> None:
        self._session, self._desk, self._jobs = session, desk, jobs
        self._layers = layers
        self._described: Cells | None = None
        self._former: tuple[str, Cells, pd.DataFrame] | None = None
        self._connections = Connections(
            (layers.correction.changed, self._outline),
            (session.cells_changed, self.outline_anew),
            (session.hide_flagged_changed, self._outline),
        )

    def close(self) -> None:
        """Leave session and canvas."""
        self._connections.close()

    def outline_anew(self, _: Cells | None = None) -> None:
        """Outline and describe the session's cells, whatever was there."""
        self._jobs.abandon(_OUTLINES)
        self._jobs.abandon(_SHAPES)
        self._described = None
        self._outline()

    def _outline(self) -> None:
        cells, hidden = self._session.cells, self._session.hidden_cells()
        if cells is None or self._layers.source is None:
            return

        def ended(end: Ended) -> None:
            if not self._layers.outlines.show(end.value):
                self._outline()
                return
            self._layers.correction.dress(cells, hidden)
            if self._described is not cells:
                self._describe(cells)

        self._jobs.run(
            _OUTLINES,
            "Outlining the cells",
            self._layers.outlines.work(cells, hidden),
            on_ended=ended,
            on_failed=self._failed,
        )

    def _describe(self, cells: Cells) -> None:
        """Add to the outlines' features what takes longer than outlining."""
        image, self._described = self._session.image, cells
        if image is None:
            return
        former = None
        if self._former is not None and self._former[0] == image.sha256:
            former = self._former[1:]

        def ended(end: Ended) -> None:
            self._former = (image.sha256, cells, end.value)
            self._layers.outlines.add_features(cells, end.value)

        self._jobs.run(
            _SHAPES,
            "Measuring shapes and colours",
            lambda: _tasks.describe_shapes(image, cells, former),
            on_ended=ended,
            on_failed=self._failed,
        )

    def _failed(self, error: JobError) -> None:
        self._desk.fail_job(error)
