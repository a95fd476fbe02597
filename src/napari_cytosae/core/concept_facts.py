"""Gathers what is known of a concept: in some cells, in catalogues, in its own weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np
import pandas as pd

from napari_cytosae.core.concepts import flags, location, mask_fractions, ranking
from napari_cytosae.core.encoded_cells import concatenate_activations, some_activations
from napari_cytosae.core.enrichment import compare
from napari_cytosae.core.passport import Passport
from napari_cytosae.core.provenance import provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.provenance import Named
    from napari_cytosae.core.types import Cells, Crops, Encoded, Int64Array, UInt8Array


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The encoded cells of one image, with their tokens.

    Attributes
    ----------
    image : Named
    cells : Cells
    crops : Crops
    encoded : Encoded
    shown : ndarray of int64, optional
        Rows of the cells that count; all by default.
    """

    image: Named
    cells: Cells
    crops: Crops
    encoded: Encoded
    shown: Int64Array | None = None

    @property
    def rows(self) -> Int64Array:
        """Of the cells that count."""
        return np.arange(len(self.encoded)) if self.shown is None else self.shown


class _Driving(Sequence["UInt8Array"]):
    """Crops of the cells seen, read when they are asked for."""

    def __init__(self, seen: Sequence[Seen]) -> None:
        self._places = [(each.crops.images, int(row)) for each in seen for row in each.rows]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> UInt8Array: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[UInt8Array, ...]: ...
    def __getitem__(self, index: int | slice) -> UInt8Array | tuple[UInt8Array, ...]:
        if isinstance(index, slice):
            return tuple(images[row] for images, row in self._places[index])
        images, row = self._places[index]
        return images[row]


def passport_of(
    concept: int,
    seen: Sequence[Seen],
    models: Models,
    names: ConceptNames,
    catalogues: Mapping[str, Catalogue],
    stability: pd.DataFrame | None,
    parameters: dict[str, Any],
    selected: npt.NDArray[np.int64] | None = None,
) -> Passport:
    """Everything known of a concept; where no cells were seen, what is known without.

    Parameters
    ----------
    concept : int
        Its number.
    seen : sequence of Seen
        Cells that it is described by, of any number of images.
    models : Models
        That encoded them.
    names : ConceptNames
        What is said of the SAE's concepts.
    catalogues : mapping of data set to Catalogue
        Of the same SAE.
    stability : DataFrame or None
        Of `core.stability.measure_stability`.
    parameters : dict
        How the cells were found, for the record.
    selected : ndarray of int64, optional
        Which of the cells that count are told from the others, by their FDR.

    Raises
    ------
    CytoError
        If the SAE has no such concept, or the cells were encoded without their tokens.
    """
    similar = [
        (other, names.get(other), cosine)
        for other, cosine in models.similar_concepts(concept)
    ]
    record = provenance(
        [each.image for each in seen], parameters, models.backbone_info, models.sae_info
    )
    said, history = names.annotation(concept), names.history(concept)
    known = None if stability is None else _row(stability, concept)
    filled = [each for each in seen if len(each.rows)]
    if not filled:
        return Passport(
            concept,
            said,
            record,
            catalogues=catalogues,
            similar=similar,
            stability=known,
            history=history,
        )
    grids = np.concatenate(
        [models.concept_grids(each.encoded, [concept])[:, each.rows] for each in filled],
        axis=1,
    )
    masks = np.concatenate(
        [
            mask_fractions(each.cells, each.encoded.boxes[each.rows], models.grid)
            for each in filled
        ]
    )
    activations = concatenate_activations(
        [some_activations(each.encoded.activations, each.rows) for each in filled]
    )
    here = _row(ranking(activations).set_index("concept").drop(columns="name"), concept)
    where = location(grids, masks, [concept]) if grids.any() else None
    if here is not None:
        here["flags"] = _flags(
            concept, here, len(activations), where, catalogues, stability
        )
        if selected is not None and 0 < len(selected) < len(activations):
            compared = compare(activations.mean, selected)["fdr"]
            here[f"fdr of {len(selected)} selected cells"] = compared.get(concept, np.nan)
        count = np.asarray(activations.n_patches[:, [concept]].todense())
        here["cells"] = f"{int((count >= 1).sum())} of {len(activations)}"
    place = None if where is None else _row(where, concept)
    one = len(filled) == 1
    return Passport(
        concept,
        said,
        record,
        here,
        place,
        grids[0],
        activations.strongest(concept),
        _Driving(filled),
        [
            f"cell {cell}" if one else f"{each.image.name}, cell {cell}"
            for each in filled
            for cell in each.encoded.cell_ids[each.rows]
        ],
        catalogues,
        similar,
        known,
        history,
    )


def _flags(
    concept: int,
    here: pd.Series[Any],
    n_cells: int,
    where: pd.DataFrame | None,
    catalogues: Mapping[str, Catalogue],
    stability: pd.DataFrame | None,
) -> str:
    """What the table's column of flags says; "none" where it is empty."""
    row = pd.DataFrame({"concept": [concept], "prevalence": [here["prevalence"]]})
    catalogue = next(iter(catalogues.values()), None)
    strength = None if catalogue is None else catalogue.mean_acts
    said = flags(row, n_cells, where, strength, stability=stability)
    return str(said.iat[0]) or "none"


def _row(table: pd.DataFrame, concept: int) -> pd.Series[Any] | None:
    """A concept's row, or None where the table has none."""
    if concept not in table.index:
        return None
    row = table.loc[concept]
    # Concepts are there once: it is one row.
    return cast("pd.Series[Any]", row).astype(object)
