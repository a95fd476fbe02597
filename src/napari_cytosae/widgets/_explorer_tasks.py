"""Long work of the tools: catalogues, stability, passports; no Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import Progress
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

    Opened = tuple[Models, ConceptNames, dict[str, Catalogue], pd.DataFrame]


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
    selected: npt.NDArray[np.int64]


def open_catalogues(
    folder: Path, choice: ModelChoice, loaded: tuple[Models, ConceptNames] | None
) -> Generator[Progress, None, Opened]:
    """Read the catalogues in a folder and what their labels say.

    The models that are chosen are loaded first where that has not been done.

    Raises
    ------
    CytoError
        If there is none, or they are of another SAE.
    """
    yield Progress("Opening the catalogue", 0, 0)
    from napari_cytosae.core.class_labels import (
        describe_classes,
        load_all,
        require_same_sae,
    )

    found = load_all(folder)
    models, names = loaded or (yield from _tasks.load(choice))
    require_same_sae(found, models.sae_info)
    yield Progress("Counting labels", 0, 0)
    return models, names, found, describe_classes(found)


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


def atlas_points(
    encoded: Encoded | None,
    catalogues: Mapping[str, Catalogue],
    flags: Mapping[int, str],
) -> Generator[Progress, None, AtlasPoints]:
    """Density, strength and entropy of the first catalogue, else of the encoded cells.

    Of cells the density is the share of them in which the concept fires, its strength the
    mean activation in these, as the published statistics count images. `flags` are those
    of the concepts that have any.
    """
    yield Progress("Drawing the atlas", 0, 0)
    import numpy as np

    from napari_cytosae.widgets.latent_atlas import AtlasPoints

    for name, each in catalogues.items():
        fires = np.flatnonzero((each.sparsity > 0) & (each.mean_acts > 0))
        entropy = each.entropy
        colour = np.full(len(each), np.nan) if entropy is None else entropy
        return AtlasPoints(
            fires.astype(np.int64),
            each.sparsity[fires].astype(float),
            each.mean_acts[fires].astype(float),
            np.asarray(colour, float)[fires],
            [flags.get(concept, "") for concept in fires.tolist()],
            name,
        )
    assert encoded is not None
    matrix = encoded.activations.mean_with_cls
    count = np.bincount(matrix.indices, minlength=matrix.shape[1])
    total = np.bincount(matrix.indices, matrix.data, minlength=matrix.shape[1])
    fires = np.flatnonzero(total > 0)
    unknown = np.full(len(fires), np.nan)
    return AtlasPoints(
        fires.astype(np.int64),
        count[fires] / len(encoded),
        total[fires] / count[fires],
        unknown,
        [flags.get(concept, "") for concept in fires.tolist()],
        "These cells",
    )


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
