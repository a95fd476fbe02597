"""What is said about concepts: names shipped with an SAE, overlaid by the user's own words.

Names, tags, notes and stars are kept for each SAE, with their history.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core import _name_file
from napari_cytosae.core._annotation import (
    MAX_NOTE,
    Annotation,
    clean_label,
    clean_line,
    clean_name,
)
from napari_cytosae.core._name_file import FIELDS
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Change = tuple[int, str, Any]
    """Concept, field and new value."""


class ConceptNames:
    """Names, tags, notes and stars of one SAE's concepts.

    The file is read again before each change, so two viewers open at a time keep each
    other's words. A damaged file is never overwritten.

    Parameters
    ----------
    sae_sha256 : str
        Names belong to the weights, not to a file name.
    shipped : mapping from concept to name, optional
        The SAE's own; the user's win.
    path : path-like, optional
        Default `default_path`.
    d_sae : int, optional
        How many concepts the SAE has; no other is named. None where it is not known.

    Raises
    ------
    CytoError
        Here and from whatever changes or asks for the history, if the file is damaged or
        cannot be read.
    """

    def __init__(
        self,
        sae_sha256: str,
        shipped: Mapping[int, str] | None = None,
        path: Path | str | None = None,
        d_sae: int | None = None,
    ) -> None:
        self.sae_sha256 = sae_sha256
        self.path = Path(path) if path else _name_file.default_path()
        self.d_sae = d_sae
        self._shipped = dict(shipped or {})
        self._own: dict[str, dict[int, Any]] = {}
        self._as_shipped = {c: Annotation(name) for c, name in self._shipped.items()}
        self._keep(_name_file.read(self.path))

    # --- reading ----------------------------------------------------------------------

    def get(self, concept: int) -> str:
        """The name of a concept, empty where it has none."""
        return self._own["names"].get(concept) or self._shipped.get(concept, "")

    def own_name(self, concept: int) -> str:
        """The user's own name of a concept, empty where there is none."""
        return str(self._own["names"].get(concept, ""))

    def annotation(self, concept: int) -> Annotation:
        """Everything said about a concept."""
        own = self._own
        return Annotation(
            self.get(concept),
            tuple(own["tags"].get(concept, ())),
            own["notes"].get(concept, ""),
            own["stars"].get(concept, False),
        )

    def annotations(self) -> dict[int, Annotation]:
        """All that is said of concepts, by id; another dict after each change."""
        return self._annotations

    def as_dict(self) -> dict[int, str]:
        """All named concepts."""
        return {**self._shipped, **self._own["names"]}

    def history(self, concept: int | None = None) -> list[dict[str, Any]]:
        """Changes for this SAE, oldest first: time, concept, field, old and new value."""
        return [
            entry
            for entry in _name_file.read(self.path)["history"]
            if entry["sae"] == self.sae_sha256 and concept in (None, entry["concept"])
        ]

    def require(self, concepts: Iterable[int]) -> None:
        """Check that the SAE has all these concepts, before anything is said of them.

        Raises
        ------
        CytoError
            If one is below 0, or beyond the last one where that is known.
        """
        for concept in concepts:
            if concept < 0 or (self.d_sae is not None and concept >= self.d_sae):
                last = "on" if self.d_sae is None else f"to {self.d_sae - 1}"
                raise CytoError(
                    f"There is no concept {concept}: this SAE's are numbered from 0 {last}."
                )

    # --- changing ---------------------------------------------------------------------

    def set(self, concept: int, name: str) -> str:
        """Name a concept for good; an empty name brings the shipped one back.

        Returns
        -------
        str
            The name as it is kept: control characters and needless spaces removed, at most
            `MAX_LENGTH` characters.
        """
        self.change([(concept, "names", name)])
        return self.get(concept)

    def annotate(self, concept: int, annotation: Annotation) -> None:
        """Replace all that is said about a concept, as one change."""
        said = annotation
        self.change(
            [
                (concept, "names", said.name),
                (concept, "tags", said.tags),
                (concept, "notes", said.note),
                (concept, "stars", said.star),
            ]
        )

    def set_tags(self, concept: int, tags: Iterable[str]) -> None:
        """Replace a concept's tags."""
        self.change([(concept, "tags", list(tags))])

    def set_note(self, concept: int, note: str) -> None:
        """Replace a concept's note."""
        self.change([(concept, "notes", note)])

    def set_star(self, concept: int, star: bool) -> None:
        """Star a concept, or take its star away."""
        self.change([(concept, "stars", star)])

    def change(self, changes: Iterable[Change], **remarks: Any) -> None:
        """Make several changes that `undo` takes back as one.

        Parameters
        ----------
        changes : iterable of (concept, field, value)
            Field is ``names``, ``tags``, ``notes`` or ``stars``.
        **remarks
            Kept with them in the history, for example where they came from.

        Raises
        ------
        CytoError
            As `require`, or if the file is damaged; nothing is changed then.
        """
        content = _name_file.read(self.path)
        cleaned = [
            (c, field, self._cleaned(c, field, value)) for c, field, value in changes
        ]
        self.require(c for c, *_ in cleaned)
        if self._apply(content, cleaned, remarks):
            _name_file.write(self.path, content)
        self._keep(content)

    def note_conflicts(
        self, conflicts: Iterable[tuple[int, str, Any, Any]], source: str
    ) -> None:
        """Keep in the history what a merge did not take over: concept, field, ours, theirs.

        Such entries change nothing, and are nothing that `undo` could take back.
        """
        content = _name_file.read(self.path)
        entries = [
            self._entry(content, concept, field, ours, theirs)
            | {"source": source, "conflict": True}
            for concept, field, ours, theirs in conflicts
        ]
        if entries:
            content["history"] += entries
            _name_file.write(self.path, content)

    def undo(self) -> list[dict[str, Any]]:
        """Take back the last change that still stands.

        Returns
        -------
        list of dict
            The changes taken back, as in `history`; empty where there is none.
        """
        content = _name_file.read(self.path)
        last = _name_file.last_standing(content, self.sae_sha256)
        back = [(e["concept"], e["field"], e["old"]) for e in reversed(last)]
        if not back or not self._apply(content, back, {"undo": last[0]["step"]}):
            return []
        _name_file.write(self.path, content)
        self._keep(content)
        return last

    def _apply(
        self, content: dict[str, Any], changes: list[Change], remarks: dict[str, Any]
    ) -> bool:
        """Put changes and their history into `content`; whether anything is new."""
        entries = []
        for concept, field, value in changes:
            own = content[field].setdefault(self.sae_sha256, {})
            old = own.pop(str(concept), FIELDS[field])
            if value != FIELDS[field]:
                own[str(concept)] = value
            if value != old:
                entries.append(self._entry(content, concept, field, old, value) | remarks)
        content["history"] += entries
        return bool(entries)

    def _entry(
        self, content: dict[str, Any], concept: int, field: str, old: Any, new: Any
    ) -> dict[str, Any]:
        """A line of the history, in the step after the last one."""
        steps = (entry["step"] for entry in content["history"])
        return {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "step": max(steps, default=-1) + 1,
            "sae": self.sae_sha256,
            "concept": concept,
            "field": field,
            "old": old,
            "new": new,
        }

    def _cleaned(self, concept: int, field: str, value: Any) -> Any:
        if field == "names":
            name = clean_name(value)
            return "" if name == self._shipped.get(concept) else name
        if field == "tags":
            return sorted({tag for tag in map(clean_name, value) if tag})
        if field == "notes":
            return "\n".join(map(clean_line, str(value).splitlines())).strip()[:MAX_NOTE]
        return bool(value)

    def _keep(self, content: dict[str, Any]) -> None:
        self._own = {
            field: {
                int(concept): value
                for concept, value in content[field].get(self.sae_sha256, {}).items()
            }
            for field in FIELDS
        }
        own = {concept for values in self._own.values() for concept in values}
        said = self._as_shipped | {concept: self.annotation(concept) for concept in own}
        self._annotations = dict(sorted(said.items()))

    # --- other people's ratings -------------------------------------------------------

    def ratings(self) -> dict[str, dict[int, str]]:
        """What each rater called each concept: rater -> concept -> label."""
        content = _name_file.read(self.path)
        return {
            rater: {int(concept): label for concept, label in labels.items()}
            for rater, labels in content["ratings"].get(self.sae_sha256, {}).items()
        }

    def rate(self, rater: str, labels: Mapping[int, str]) -> None:
        """Keep one rater's labels of concepts; an empty label takes a former one away.

        A label may be several tags, with ``; `` between them.
        """
        self.require(labels)
        rater = clean_name(rater)
        content = _name_file.read(self.path)
        own = content["ratings"].setdefault(self.sae_sha256, {}).setdefault(rater, {})
        for concept, label in labels.items():
            own.pop(str(concept), None)
            if cleaned := clean_label(label):
                own[str(concept)] = cleaned
        _name_file.write(self.path, content)
