"""What the analyst called the cells of patients, kept while the cells are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_cytosae.core.case import Case

CellKey = tuple[str, int, tuple[float, ...]]
"""A cell of any image: sha256, id, and where and how large its outline is."""

_OUTLINE = ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1", "area_px")


class Calls:
    """Types of cells by the rows of their case; set aside while there is no case."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[int, str]] = {}
        self._aside: dict[CellKey, tuple[str, str]] = {}

    def of(self, patient: str) -> dict[int, str]:
        """What a patient's cells were called: row of the case -> type."""
        return self._rows.setdefault(patient, {})

    def set_aside(self, case: Case) -> None:
        """Keep the calls of a case that is let go, for one that has the same cells."""
        called = self._rows.pop(case.patient, {})
        if called:
            keys = _keys(case)
            for row, cell_type in called.items():
                if row < len(keys):
                    self._aside[keys[row]] = (case.patient, cell_type)

    def take_up(self, case: Case) -> int:
        """Find the calls again that were set aside; how many of the patient's went.

        Those go whose cell has another outline by now, and those whose image is no longer
        the patient's, where they are kept for whose it is.
        """
        if not self._aside:
            return 0
        rows = self.of(case.patient)
        for row, key in enumerate(_keys(case)):
            if key in self._aside:
                rows[row] = self._aside.pop(key)[1]
        went = {k: of for k, (who, of) in self._aside.items() if who == case.patient}
        there = {image.sha256 for image in case.images}
        for key, cell_type in went.items():
            if key[0] in there:
                del self._aside[key]
            else:
                self._aside[key] = ("", cell_type)
        return len(went)

    def everything(self, cases: Iterable[Case]) -> dict[CellKey, tuple[str, str]]:
        """All calls, of these cases and set aside: cell -> patient, type."""
        known = dict(self._aside)
        for case in cases:
            called = self.of(case.patient)
            if called:
                keys = _keys(case)
                known |= {keys[r]: (case.patient, called[r]) for r in called}
        return known

    def keep(self, calls: Mapping[CellKey, tuple[str, str]]) -> None:
        """Set calls aside, of `everything` before, for cases that have those cells."""
        self._aside |= calls

    def call(self, patient: str, rows: Iterable[int], cell_type: str) -> None:
        """Say what cells are; an empty type takes it back."""
        known = self.of(patient)
        for row in rows:
            if cell_type:
                known[row] = cell_type
            else:
                known.pop(row, None)


def _keys(case: Case) -> list[CellKey]:
    """The cell that each row of a case is."""
    keys: list[CellKey] = []
    for image in case.images:
        table = image.cells.table.set_index("cell_id")
        ids = [int(cell_id) for cell_id in image.encoded.cell_ids]
        outlines = table.loc[ids, list(_OUTLINE)].to_numpy(float).tolist()
        keys += [
            (image.sha256, cell_id, tuple(outline))
            for cell_id, outline in zip(ids, outlines, strict=True)
        ]
    return keys
