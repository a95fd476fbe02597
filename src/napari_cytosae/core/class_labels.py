"""What a concept's top images show: ``basophil (MLL23 10/10, Matek 9/10)``.

Data sets call the same cell by different names; here they are brought to one, that of MLL23
(Matek et al. 2019, doi:10.1038/s42256-019-0101-9, use three-letter codes).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_cytosae.core import catalogue, registry
from napari_cytosae.core.catalogue import VALUES_FILE
from napari_cytosae.core.concepts import ConceptNames
from napari_cytosae.core.known_models import KNOWN
from napari_cytosae.core.types import CytoError
from napari_cytosae.core.words import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_cytosae.core.catalogue import Catalogue
    from napari_cytosae.core.types import BoolArray, SaeInfo

MATEK: dict[str, str] = {
    "BAS": "basophil",
    "EBO": "erythroblast",
    "EOS": "eosinophil",
    "KSC": "smudge cell",
    "LYA": "lymphocyte atypical",
    "LYT": "lymphocyte",
    "MMZ": "metamyelocyte",
    "MOB": "monoblast",
    "MON": "monocyte",
    "MYB": "myelocyte",
    "MYO": "myeloblast",
    "NGB": "neutrophil band",
    "NGS": "neutrophil segmented",
    "PMB": "promyelocyte bilobed",
    "PMO": "promyelocyte",
}
"""Class codes of the Munich AML morphology data set."""

TITLES = {"mll23": "MLL23", "matek": "Matek", "hehr": "AML_Hehr"}
"""How the published data sets are written, by the name of their folder."""

_CYTOSAE = 49_152
"""Concepts of the published SAE."""

CLASSES_FOLDER = "classnames"


def class_name(label: str) -> str:
    """A label in words that all data sets share: ``plasma_cell`` -> ``plasma cell``."""
    return MATEK.get(label, label.replace("_", " ").replace("normoblast", "erythroblast"))


def load_all(folder: Path | str) -> dict[str, Catalogue]:
    """Read every catalogue in or under a folder, in the published layout or built here.

    Class names are looked for beside the files (``classnames.txt``) and, as published, in
    ``classnames/<folder>_classnames.txt`` of a folder above.

    Parameters
    ----------
    folder : path-like
        A catalogue, or a folder that holds catalogues.

    Returns
    -------
    dict of str to Catalogue
        By data set, published ones first.

    Raises
    ------
    CytoError
        If there is none, one is damaged, or they are of SAEs of different sizes.
    """
    folder = Path(folder)
    places = sorted(path.parent for path in folder.rglob(VALUES_FILE))
    if not places:
        raise CytoError(f"{folder} holds no catalogue: give the folder with its .pt files.")
    order = list(TITLES)
    places.sort(key=lambda p: order.index(p.name) if p.name in order else len(order))
    found = {
        TITLES.get(place.name, place.name): catalogue.load(place, _classnames(place))
        for place in places
    }
    sizes = {name: len(each) for name, each in found.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        raise CytoError(
            f"The catalogues in {folder} are of different SAEs: {listed} concepts."
        )
    return found


def names_of(catalogues: Mapping[str, Catalogue]) -> ConceptNames | None:
    """What is said of the concepts of the catalogues' SAE; None where nobody knows which.

    The published ones do not say it: they are of CytoSAE, as it was downloaded here.
    """
    known = {each.sae_sha256 for each in catalogues.values()} - {""}
    sizes = {len(each) for each in catalogues.values()}
    if not known and set(catalogues) <= set(TITLES.values()) and sizes == {_CYTOSAE}:
        entry = next(each for each in KNOWN if each.name == "cytosae")
        known = {registry.status(entry).sha256} - {""}
    return ConceptNames(known.pop()) if len(known) == 1 else None


def require_same_sae(catalogues: Mapping[str, Catalogue], info: SaeInfo) -> None:
    """Check that catalogues are of an SAE.

    Raises
    ------
    CytoError
        Naming the first that is of another one.
    """
    for name, each in catalogues.items():
        if len(each) != info.d_sae or each.sae_sha256 not in ("", info.sha256):
            raise CytoError(
                f"The catalogue {name} is of another SAE ({len(each):,} concepts) than "
                f"{info.name} ({info.d_sae:,}): choose that SAE, or build a catalogue with "
                "this one."
            )


def describe_classes(catalogues: Mapping[str, Catalogue]) -> pd.DataFrame:
    """The class that each concept's top images show most, over all data sets.

    Parameters
    ----------
    catalogues : mapping of data set to Catalogue
        Of one SAE. Data sets without class names say nothing; nor do those whose labels are
        patients, because no other data set knows these names.

    Returns
    -------
    DataFrame
        Index ``concept``, all of them; ``class`` and ``text``, for example ``basophil`` and
        ``basophil (MLL23 10/10, Matek 9/10)``, empty where no image fires; ``images``, how
        many top images show the class, and ``purity``, their share of all. A data set is
        listed when it has such a class. Ties go to the class with the larger activation.
        Fewer than two classes, of all data sets together, say nothing.
    """
    named = {name: each for name, each in catalogues.items() if _has_classes(name, each)}
    size = len(next(iter(catalogues.values()))) if catalogues else 0
    concept = pd.RangeIndex(size, name="concept")
    classes = sorted({class_name(c) for each in named.values() for c in each.classnames})
    if len(classes) < 2:
        # One label tells no concept from another: that of a folder of crops, say.
        nothing = {"class": "", "images": 0, "purity": 0.0, "text": ""}
        return pd.DataFrame(nothing, index=concept)
    hits = {name: _hits(each, classes) for name, each in named.items()}
    counts = np.stack([hit.sum(axis=1) for hit in hits.values()])
    strength = sum(
        np.einsum("ktc,kt->kc", hit, named[name].values) for name, hit in hits.items()
    )
    fired = np.stack([(each.values > 0).sum(axis=1) for each in named.values()])
    best = np.lexsort((strength, counts.sum(axis=0)), axis=1)[:, -1]
    of_best = np.take_along_axis(counts, best[None, :, None], axis=2)[:, :, 0]
    fires = fired.sum(axis=0) > 0
    parts = np.full(size, "", dtype=object)
    for name, count, seen in zip(named, of_best, fired, strict=True):
        own = {class_name(label) for label in named[name].classnames}
        listed = (seen > 0) & np.array([c in own for c in classes])[best]
        joint = np.where(parts[listed] == "", "", ", ")
        shares = [
            f"{name} {k}/{n}" for k, n in zip(count[listed], seen[listed], strict=True)
        ]
        parts[listed] = parts[listed] + joint + np.array(shares, dtype=object)
    names = np.where(fires, np.array(classes, dtype=object)[best], "")
    return pd.DataFrame(
        {
            "class": names,
            "images": of_best.sum(axis=0),
            "purity": of_best.sum(axis=0) / np.maximum(fired.sum(axis=0), 1),
            "text": np.where(fires, names + " (" + parts + ")", ""),
        },
        index=concept,
    )


def find_concepts(
    catalogues: Mapping[str, Catalogue], text: str, names: Mapping[int, str] | None = None
) -> pd.DataFrame:
    """Concepts whose class or name says `text`, those with the most evidence first.

    Parameters
    ----------
    catalogues : mapping of data set to Catalogue
        Of one SAE.
    text : str
        A class, or words of it; a typing error is forgiven where nothing else is found.
    names : mapping from concept to str, optional
        What is said of concepts; found as their class is.

    Returns
    -------
    DataFrame
        As of `describe_classes`, by the top images that show the class, then their share,
        then the mean activation in the first data set; and ``name``.
    """
    said = names or {}
    classes = describe_classes(catalogues)
    searched = {
        concept: f"{said.get(concept, '')} {shown}".strip()
        for concept, shown in enumerate(classes["class"])
    }
    found = classes.loc[find(text, {key: t for key, t in searched.items() if t})].copy()
    found["name"] = [said.get(concept, "") for concept in found.index]
    strength = next(iter(catalogues.values())).mean_acts[found.index]
    order = np.lexsort((-strength, -found["purity"], -found["images"]))
    return found.iloc[order]


def distribution(catalogues: Mapping[str, Catalogue], concept: int) -> pd.DataFrame:
    """The labels of one concept's top images, data set by data set.

    Returns
    -------
    DataFrame
        Columns ``dataset``, ``label`` (as the data set writes it), ``images`` and
        ``weight``, its share in the sum of their activations; the most frequent first.
    """
    rows = []
    for name, each in catalogues.items():
        top = pd.DataFrame(each.describe(concept).top, columns=["image", "label", "value"])
        if not len(top) or each.labels is None:
            continue
        grouped = top.groupby("label")["value"].agg(["size", "sum"])
        grouped = grouped.sort_values(["size", "sum"], ascending=False)
        rows += [
            (name, str(label), int(size), float(value / top["value"].sum()))
            for label, size, value in grouped.itertuples()
        ]
    return pd.DataFrame(rows, columns=["dataset", "label", "images", "weight"])


def _has_classes(name: str, each: Catalogue) -> bool:
    return each.labels is not None and bool(each.classnames) and name != TITLES["hehr"]


def _hits(each: Catalogue, classes: Sequence[str]) -> BoolArray:
    """Whether each top image shows each class, (d_sae, top, n_classes); padding none."""
    assert each.labels is not None
    place = {name: index for index, name in enumerate(classes)}
    of_label = np.array([place[class_name(label)] for label in each.classnames], np.int64)
    known = (each.values > 0) & (each.labels < len(of_label))
    shown = np.where(known, of_label[np.where(known, each.labels, 0)], -1)
    hits: BoolArray = shown[:, :, None] == np.arange(len(classes))
    return hits


def _classnames(place: Path) -> Path | None:
    if (place / "classnames.txt").is_file():
        return None
    for above in place.parents:
        file = above / CLASSES_FOLDER / f"{place.name}_classnames.txt"
        if file.is_file():
            return file
    return None
