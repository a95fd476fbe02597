"""Names that travel: exported for a colleague, imported and merged without losing any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_cytosae.core import _name_file
from napari_cytosae.core._annotation import clean_label
from napari_cytosae.core._name_file import FIELDS
from napari_cytosae.core._names import ConceptNames
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_cytosae.core._names import Change

NAME_COLUMNS = ("concept", "name", "tags", "note", "star")
"""Columns of a CSV file of names; tags are joined by ``; ``."""


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge.

    Attributes
    ----------
    added : int
        Values that were new here.
    conflicts : tuple of (concept, field, ours, theirs)
        Names and notes that differ: ours stand, theirs are in the history. So do
        ratings (``rating of RATER``) of a rater who is called alike; theirs are lost.
    raters : tuple of str
        Whose ratings came along.
    """

    added: int
    conflicts: tuple[tuple[int, str, str, str], ...]
    raters: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One sentence."""
        text = f"{self.added} new"
        if self.conflicts:
            listed = "; ".join(
                f"{concept}: '{ours}' stands, theirs was '{theirs}'"
                for concept, _, ours, theirs in self.conflicts[:5]
            )
            text += f", {len(self.conflicts)} in conflict ({listed})"
        return text + "."


def export_names(names: ConceptNames, path: Path | str) -> Path:
    """Write this SAE's names to a file of their own.

    ``.csv`` has `NAME_COLUMNS`, the shipped names too; anything else is JSON with the
    user's own words, ratings and history, as `merge_names` reads it.

    Raises
    ------
    CytoError
        If the names cannot be read or the file cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        with atomic_file(path) as temporary:
            names_frame(names).to_csv(temporary, index=False, lineterminator="\n")
        return path
    content = _name_file.read(names.path)
    sae = names.sae_sha256
    own = {field: {sae: content[field].get(sae, {})} for field in (*FIELDS, "ratings")}
    _name_file.write(path, {**content, **own, "history": names.history()})
    return path


def names_frame(names: ConceptNames) -> pd.DataFrame:
    """All that is said of concepts as a table with `NAME_COLUMNS`."""
    rows = [
        (concept, said.name, "; ".join(said.tags), said.note, str(said.star).lower())
        for concept, said in names.annotations().items()
    ]
    return pd.DataFrame(rows, columns=list(NAME_COLUMNS))


def merge_names(names: ConceptNames, path: Path | str) -> Merged:
    """Take over what a file of `export_names` says; `undo` takes all of it back at once.

    Where only one side says something, it is kept; tags are joined, a star stays a star.
    Where two names or notes differ, ours stand, and theirs go to the history; a name that
    the SAE came with is nobody's, and gives way.

    Raises
    ------
    CytoError
        If the file is damaged, is no such file, holds words about other SAEs only, or
        speaks of concepts that this one does not have; nothing is taken over then.
    """
    path = Path(path)
    if not path.is_file():
        raise CytoError(f"There is no file {path}: check the path.")
    theirs, ratings = (
        _read_csv(path)
        if path.suffix.lower() == ".csv"
        else _read_json(path, names.sae_sha256)
    )
    names.require(c for said in (*theirs.values(), *ratings.values()) for c in said)
    changes: list[Change] = []
    conflicts: list[tuple[int, str, str, str]] = []
    for field, values in theirs.items():
        for concept, value in values.items():
            said = names.annotation(concept)
            ours: Any = {
                "names": names.own_name(concept),
                "tags": list(said.tags),
                "notes": said.note,
                "stars": said.star,
            }[field]
            if field == "tags":
                value = sorted({*ours, *value})
            if value == ours or not value:
                continue
            if ours and field in ("names", "notes"):
                conflicts.append((concept, field, ours, value))
            else:
                changes.append((concept, field, value))
    before = len(names.history())
    names.change(changes, source=path.name)
    names.note_conflicts(conflicts, path.name)
    added = len(names.history()) - before - len(conflicts)
    for rater, labels in ratings.items():
        own = names.ratings().get(rater, {})
        conflicts += [
            (concept, f"rating of {rater}", own[concept], label)
            for concept, label in labels.items()
            if own.get(concept, label) != label
        ]
        names.rate(rater, {**labels, **own})
    return Merged(added, tuple(conflicts), tuple(ratings))


def merge_files(paths: Sequence[Path | str], output: Path | str) -> dict[Path, Merged]:
    """Make one file, as of `export_names`, of those of several people.

    Each is merged into those before it, see `merge_names`: the first one's words stand.

    Raises
    ------
    CytoError
        If a file is damaged, speaks of another SAE than the others, or tables alone are
        to become JSON, which names its SAE.
    """
    files, output = list(map(Path, paths)), Path(output)
    sae = _common_sae(files)
    if not sae and not _is_table(output):
        raise CytoError(
            f"Tables do not say which SAE they are about: call {output.name} .csv, or "
            "import them into your own names."
        )
    with TemporaryDirectory() as folder:
        names = ConceptNames(sae, path=Path(folder) / "names.json")
        merged = {path: merge_names(names, path) for path in files}
        export_names(names, output)
    return merged


def read_ratings(paths: Iterable[Path | str]) -> dict[str, dict[int, str]]:
    """What several raters call concepts, from a file of `export_names` of each.

    A file brings the ratings that are in it. Where there are none its tags, or else its
    name, stand for those of a rater who is called as the file.

    Returns
    -------
    dict of rater to dict of concept to label
        As of `ConceptNames.ratings`.

    Raises
    ------
    CytoError
        If a file is damaged, says nothing, or speaks of another SAE than the others.
    """
    ratings: dict[str, dict[int, str]] = {}
    files = list(map(Path, paths))
    sae = _common_sae(files)
    for path in files:
        said, rated = _read_csv(path) if _is_table(path) else _read_json(path, sae)
        for rater, labels in (rated or {path.stem: _labels(said)}).items():
            ratings.setdefault(rater, {}).update(labels)
    return ratings


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _common_sae(files: Sequence[Path]) -> str:
    """The SAE that all files speak about; empty where all are tables, which do not say."""
    common: set[str] | None = None
    for path in files:
        if not path.is_file():
            raise CytoError(f"There is no file {path}: check the path.")
        if not _is_table(path):
            found = _saes_of(path)
            if not found:
                raise CytoError(f"{path.name} says nothing of any SAE: leave it out.")
            common = found if common is None else common & found
    if common is None:
        return ""
    if len(common) != 1:
        about = "several SAEs" if common else "different SAEs"
        raise CytoError(f"The files are about {about}: export the names of one from each.")
    return common.pop()


def _saes_of(path: Path) -> set[str]:
    """Of which SAEs a file says anything; where it says nothing, those it is meant for."""
    content = _name_file.read(path)
    fields = [content[field] for field in (*FIELDS, "ratings")]
    said = {sae for field in fields for sae, own in field.items() if own}
    return said or {sae for field in fields for sae in field}


def _labels(said: Mapping[str, Mapping[int, Any]]) -> dict[int, str]:
    """Tags, else the name, of each concept that has any."""
    labels = {concept: name for concept, name in said["names"].items() if name}
    return labels | {
        c: clean_label("; ".join(tags)) for c, tags in said["tags"].items() if tags
    }


def _read_json(
    path: Path, sae: str
) -> tuple[dict[str, dict[int, Any]], dict[str, dict[int, str]]]:
    content = _name_file.read(path)
    known = {key for field in (*FIELDS, "ratings") for key in content[field]}
    if sae not in known:
        about = ", ".join(sorted(key[:12] for key in known)) or "none"
        raise CytoError(
            f"{path.name} says nothing about this SAE ({sae[:12]}), only about: {about}."
        )
    own = {
        field: {int(c): value for c, value in content[field].get(sae, {}).items()}
        for field in FIELDS
    }
    ratings = {
        rater: {int(c): label for c, label in labels.items()}
        for rater, labels in content["ratings"].get(sae, {}).items()
    }
    return own, ratings


def _read_csv(path: Path) -> tuple[dict[str, dict[int, Any]], dict[str, dict[int, str]]]:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        concepts = [int(text) for text in table["concept"]]
        if min(concepts, default=0) < 0:
            raise ValueError("a number below 0")
    except (KeyError, ValueError, OSError) as error:
        raise CytoError(
            f"{path.name} is no table of names: it needs the columns "
            f"{', '.join(NAME_COLUMNS)}, with whole numbers from 0 on in the first."
        ) from error
    columns = {
        key: table[key].tolist() if key in table else [""] * len(table)
        for key in NAME_COLUMNS[1:]
    }
    return {
        "names": dict(zip(concepts, columns["name"], strict=True)),
        "tags": {
            concept: [tag for part in text.split(";") if (tag := part.strip())]
            for concept, text in zip(concepts, columns["tags"], strict=True)
        },
        "notes": dict(zip(concepts, columns["note"], strict=True)),
        "stars": {
            concept: text.strip().lower() in ("true", "1", "yes")
            for concept, text in zip(concepts, columns["star"], strict=True)
        },
    }, {}
