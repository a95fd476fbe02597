"""Long work of the tools: catalogues, stability, passports; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import CytoError, Progress
from napari_cytosae.widgets import _tasks

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.concept_facts import Seen
    from napari_cytosae.core.concepts import ConceptNames
    from napari_cytosae.core.groups import Groups
    from napari_cytosae.core.models import Models
    from napari_cytosae.core.types import (
        ConceptActivations,
        Encoded,
    )
    from napari_cytosae.session_values import ModelChoice
    from napari_cytosae.widgets.latent_atlas import AtlasPoints


@dataclass(frozen=True, slots=True, eq=False)
class PassportWork:
    """What `write_passport` needs, read from the session before it starts."""

    concept: int
    seen: Sequence[Seen]
    models: Models
    names: ConceptNames
    catalogues: Mapping[str, Catalogue]
    stability: pd.DataFrame | None
    parameters: dict[str, Any]
    selected: npt.NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What was measured on the present cells: the flags of an atlas rest on it."""

    where: pd.DataFrame | None = None
    stability: pd.DataFrame | None = None


@dataclass(frozen=True, slots=True, eq=False)
class OpenedCatalogues:
    """Result of `open_catalogues`.

    Attributes
    ----------
    catalogues : mapping of data set to Catalogue
    classes : DataFrame
        Of `core.class_labels.describe_classes`.
    models, names
        Of their SAE; None where that is not the one chosen.
    why_alone : str
        Why they cannot be joined with cells that the chosen models encode.
    """

    catalogues: Mapping[str, Catalogue]
    classes: pd.DataFrame
    models: Models | None = None
    names: ConceptNames | None = None
    why_alone: str = ""


def open_catalogues(
    folder: Path, choice: ModelChoice, loaded: tuple[Models, ConceptNames] | None
) -> Generator[Progress, None, OpenedCatalogues]:
    """Read the catalogues in a folder and what their labels say.

    The models that are chosen are loaded where that has not been done, to see whether the
    catalogues are of their SAE.

    Raises
    ------
    CytoError
        If there is none.
    """
    yield Progress("Opening the catalogue", 0, 0)
    from napari_cytosae.core.class_labels import (
        describe_classes,
        load_all,
        require_same_sae,
    )

    found = load_all(folder)
    yield Progress("Counting labels", 0, 0)
    classes = describe_classes(found)
    try:
        models, names = loaded or (yield from _tasks.load(choice))
        require_same_sae(found, models.sae_info)
    except CytoError as error:
        return OpenedCatalogues(found, classes, why_alone=str(error))
    return OpenedCatalogues(found, classes, models, names)


THESE_CELLS = "These cells"
"""What the atlas is of that is drawn without a catalogue."""


@dataclass(frozen=True, slots=True, eq=False)
class GroupPart:
    """The cells of one image: which rows count, and the group of each of its cells."""

    activations: ConceptActivations
    rows: npt.NDArray[np.int64]
    groups: Sequence[str]


def compare_parts(parts: Sequence[GroupPart]) -> Generator[Progress, None, Groups]:
    """Groups of the cells of several images; see `core.groups.compare_groups`."""
    yield Progress("Comparing groups", 0, 0)
    from scipy import sparse

    from napari_cytosae.core.groups import compare_groups

    means = [part.activations.mean[part.rows] for part in parts]
    labels = [part.groups[row] for part in parts for row in part.rows.tolist()]
    return compare_groups(sparse.csr_array(sparse.vstack(means, format="csr")), labels)


def compare_raters(
    ratings: Mapping[str, Mapping[int, str]],
) -> Generator[Progress, None, tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Agreement in all, tag by tag, and the concepts that are called differently."""
    yield Progress("Comparing raters", 0, 0)
    from napari_cytosae.core.rating import agreement, agreement_by_tag, disagreements

    return agreement(ratings), agreement_by_tag(ratings), disagreements(ratings)


def atlas_of_catalogue(
    title: str, catalogue: Catalogue, known: Known | None = None
) -> Generator[Progress, None, AtlasPoints]:
    """Density, strength and entropy of all concepts that fire in a catalogue."""
    yield Progress("Drawing the atlas", 0, 0)
    import numpy as np

    from napari_cytosae.core.concepts import MIN_CELLS
    from napari_cytosae.widgets.latent_atlas import AtlasPoints

    density, strength = catalogue.sparsity, catalogue.mean_acts
    fires = np.flatnonzero((density > 0) & (strength > 0)).astype(np.int64)
    entropy = catalogue.entropy
    colour = np.full(len(catalogue), np.nan) if entropy is None else entropy
    # A catalogue is of many images: what fires in nearly all of them is always on.
    flags = _flags(fires, density[fires], MIN_CELLS, strength, known)
    return AtlasPoints(
        fires,
        density[fires].astype(float),
        strength[fires].astype(float),
        np.asarray(colour, float)[fires],
        flags,
        title,
    )


def atlas_of_cells(
    encoded: Encoded, known: Known
) -> Generator[Progress, None, AtlasPoints]:
    """Density and strength of all concepts that fire in the encoded cells.

    Density is the share of the cells in which a concept fires, its strength the mean
    activation in these, as the published statistics count images.
    """
    yield Progress("Drawing the atlas", 0, 0)
    import numpy as np

    from napari_cytosae.core.concepts import summarise
    from napari_cytosae.widgets.latent_atlas import AtlasPoints

    matrix = encoded.activations.mean_with_cls
    count = np.bincount(matrix.indices, minlength=matrix.shape[1])
    total = np.bincount(matrix.indices, matrix.data, minlength=matrix.shape[1])
    fires = np.flatnonzero(total > 0).astype(np.int64)
    prevalence = summarise(encoded.activations).prevalence
    return AtlasPoints(
        fires,
        count[fires] / len(encoded),
        total[fires] / count[fires],
        np.full(len(fires), np.nan),
        _flags(fires, prevalence[fires], len(encoded), None, known),
        THESE_CELLS,
        counted="cells",
    )


def _flags(
    concepts: npt.NDArray[np.int64],
    prevalence: npt.NDArray[np.floating[Any]],
    n: int,
    mean_acts: npt.NDArray[np.float32] | None,
    known: Known | None,
) -> list[str]:
    """Flags of all concepts, as the table has them of those it lists."""
    import pandas as pd

    from napari_cytosae.core.concepts import flags

    table = pd.DataFrame({"concept": concepts, "prevalence": prevalence})
    where, stability = (None, None) if known is None else (known.where, known.stability)
    return flags(table, n, where, mean_acts, stability=stability).tolist()


def write_passport(path: Path, work: PassportWork) -> Generator[Progress, None, Path]:
    """Write a concept's passport, as PDF where the file is called so, else as HTML."""
    yield Progress("Writing the passport", 0, 0)
    from napari_cytosae.core.concept_facts import passport_of
    from napari_cytosae.core.passport import passport_page
    from napari_cytosae.widgets._printing import write_page

    passport = passport_of(
        work.concept,
        work.seen,
        work.models,
        work.names,
        work.catalogues,
        work.stability,
        work.parameters,
        work.selected,
    )
    write_page(path, passport_page(passport))
    return path
