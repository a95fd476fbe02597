"""What was found in one image: cells, their corrections, activations and verdicts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import PixelSize
from napari_cytosae.session_values import CellSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_cytosae.core.correction import Box
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Encoded, Image
    from napari_cytosae.session_values import Shows, Verdict


@dataclass(frozen=True, slots=True)
class Edits:
    """Ids of the cells that were drawn by hand, and of those whose outline was changed."""

    added: frozenset[int] = frozenset()
    changed: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What is known of one image.

    Attributes
    ----------
    cells : Cells or None
    settings : CellSettings
        How the cells were found and cropped.
    pixel_size : PixelSize
        Of the image when the search for them began.
    crops : Crops or None
        What the models saw of each encoded cell.
    encoded : Encoded or None
        Concept activations and kept tokens of the cells.
    verdicts : mapping of (concept, cell) to Verdict
        The analyst's review list.
    image : Image or Pyramid or None
        None where it was closed, or never looked at.
    edits : Edits or None
        What was corrected by hand; None where nothing was.
    gone : mapping of int to Box
        Where the cells lay that were removed by hand: no other cell gets their ids.
    """

    cells: Cells | None = None
    settings: CellSettings = field(default_factory=CellSettings)
    pixel_size: PixelSize = field(default_factory=PixelSize)
    crops: Crops | None = None
    encoded: Encoded | None = None
    verdicts: Mapping[tuple[int, int], Verdict] = field(default_factory=dict)
    image: Image | Pyramid | None = None
    edits: Edits | None = None
    gone: Mapping[int, Box] = field(default_factory=dict)

    @property
    def by_hand(self) -> bool:
        """Whether the cells were corrected by hand."""
        return self.edits is not None

    def as_parameters(self) -> dict[str, Any]:
        """What ``run.json`` says of how the cells were found."""
        how = self.settings.as_parameters()
        if self.edits is None or self.cells is None:
            return how
        there, added = self._ids(), self.edits.added
        counts = {
            "cells_added": len(added & there),
            "cells_changed": len(self.edits.changed & there - added),
            "cells_removed": len(self.gone.keys() - added),
        }
        how["cells"] += ", corrected by hand"
        # Sessions of before do not say which.
        return how | counts if any(counts.values()) else how

    def has_encoded(self, cell_id: int) -> bool:
        """Whether the models have seen a cell of it."""
        return self.encoded is not None and cell_id in self.encoded.cell_ids

    def cells_to_count(
        self, shows: Shows
    ) -> tuple[Cells, Crops | None, Encoded | None] | None:
        """The cells that step 4 takes as they are, and what was seen of them; or None.

        None where it finds them itself: there are none, or they were not encoded, nor
        corrected, and are other than the white cells of an image that `shows` that.
        """
        if self.cells is None:
            return None
        if self.crops is not None and self.encoded is not None and self.encoded.complete:
            return self.cells, self.crops, self.encoded
        white = self.settings.shows == shows and (
            shows == "labels" or self.settings.kinds == ("wbc",)
        )
        return (self.cells, None, None) if white or self.by_hand else None

    def _ids(self) -> set[int]:
        return set() if self.cells is None else set(self.cells.table["cell_id"].tolist())

    def review_list(self) -> list[tuple[int, int, Verdict]]:
        """The verdicts: concept, cell, verdict."""
        said = self.verdicts
        return sorted((concept, cell, said[concept, cell]) for concept, cell in said)

    def judged(self, concept: int, cell_ids: Iterable[int], verdict: Verdict) -> Found:
        """With a verdict on cells; an empty one takes theirs back."""
        judged = {(concept, cell_id): verdict for cell_id in cell_ids}
        both = {**self.verdicts, **judged}
        return replace(self, verdicts={key: said for key, said in both.items() if said})

    def seen(self, crops: Crops, encoded: Encoded, field_of_view_um: float) -> Found:
        """With what the models saw of the cells, and the field of view asked for."""
        settings = replace(self.settings, field_of_view_um=field_of_view_um)
        return replace(self, settings=settings, crops=crops, encoded=encoded)

    def corrected(
        self,
        cells: Cells,
        changed: Iterable[int],
        gone: Mapping[int, Box],
    ) -> Found:
        """With cells as corrected by hand, not encoded; how they were found stays.

        So do the verdicts on the cells that were not `changed`.
        """
        changed, former = set(changed), self.edits or Edits()
        known = {*self.gone, *self._ids()}
        edits = Edits(former.added | (changed - known), former.changed | changed)
        same = set(cells.table["cell_id"].tolist()) - changed
        return Found(
            cells,
            self.settings,
            self.pixel_size,
            verdicts={key: said for key, said in self.verdicts.items() if key[1] in same},
            image=self.image,
            edits=edits,
            gone=gone,
        )


def how_found(everything: Iterable[Found]) -> dict[str, Any]:
    """What a record of several images says of how their cells were found."""
    said = [found.as_parameters() for found in everything]
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for each in said for key in each):
        values = [each[key] for each in said if key in each]
        if key == "cells":
            merged[key] = "; ".join(dict.fromkeys(values))
        elif key == "kinds":
            merged[key] = list(dict.fromkeys(kind for kinds in values for kind in kinds))
        else:
            merged[key] = sum(values)
    return merged
