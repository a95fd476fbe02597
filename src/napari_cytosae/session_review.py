"""The review list: cells that the analyst accepted or rejected as showing a concept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cytosae.core.types import Cells
    from napari_cytosae.session_images import ImagesSeen
    from napari_cytosae.session_values import Verdict


class ReviewList:
    """Evented; kept with what else is known of each image."""

    changed = Signal()

    def __init__(self, images: ImagesSeen) -> None:
        self._images = images

    def judge(
        self,
        concept: int,
        cell_ids: Iterable[int],
        verdict: Verdict,
        sha256: str | None = None,
    ) -> None:
        """Accept or reject cells as showing a concept; an empty verdict takes theirs back.

        They are of the image with this `sha256`, by default of the one looked at.
        """
        self._images.judge(concept, cell_ids, verdict, sha256)
        self.changed.emit()

    def here(self) -> list[tuple[int, int, Verdict]]:
        """All verdicts on the cells of the image looked at: concept, cell, verdict."""
        return self._images.found.review_list()

    def everywhere(self) -> dict[str, tuple[Cells, list[tuple[int, int, Verdict]]]]:
        """Cells of all images and the verdicts on them, by sha256; that in front first."""
        return {
            sha256: (found.cells, found.review_list())
            for sha256, found in self._images.everything().items()
            if found.cells is not None
        }
