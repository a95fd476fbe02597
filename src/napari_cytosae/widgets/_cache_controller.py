"""Connects the row of kept cells with the cache on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_cytosae.widgets import _tasks

if TYPE_CHECKING:
    from napari_cytosae.session import Session
    from napari_cytosae.widgets._desk import Desk
    from napari_cytosae.widgets._jobs import Ended, Jobs
    from napari_cytosae.widgets.cache_row import CacheRow

_LANE = "cache"


class CacheController:
    """Shows what the cache holds whenever cells were encoded, and clears it."""

    def __init__(self, session: Session, desk: Desk, jobs: Jobs, row: CacheRow) -> None:
        self._session, self._desk, self._jobs, self._row = session, desk, jobs, row
        row.clear_clicked.connect(self.clear)
        session.encoded_changed.connect(self._look)
        self._look()

    def close(self) -> None:
        """Leave the session."""
        self._session.encoded_changed.disconnect(self._look)

    def clear(self) -> None:
        """Forget all cells kept on disk; those in view stay."""
        self._run(clear=True)

    def _look(self, _: Any = None) -> None:
        self._run(clear=False)

    def _run(self, *, clear: bool) -> None:
        def show(ended: Ended) -> None:
            if ended.value is None:
                self._row.set_off()
            else:
                self._row.set_usage(*ended.value)

        self._jobs.run(
            _LANE,
            "Looking at the kept cells",
            lambda: _tasks.cache_usage(clear=clear),
            on_ended=show,
            on_failed=self._desk.fail_job,
        )
