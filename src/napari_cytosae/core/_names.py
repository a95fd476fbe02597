"""Names of concepts: shipped with an SAE, overlaid by the user's own."""

from __future__ import annotations

import json
import os
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = "CYTOSAE_HOME"
"""Environment variable with the folder for the user's data, in place of the default."""

MAX_LENGTH = 80
_SCHEMA = 1


def names_path() -> Path:
    """The file with the names of all SAEs that this user has named concepts of."""
    home = os.environ.get(HOME_VARIABLE)
    folder = Path(home) if home else platformdirs.user_data_path("napari-cytosae", False)
    return folder / "concept_names.json"


class ConceptNames:
    """The names of one SAE's concepts.

    The file is read again before each change, so two viewers open at a time keep each
    other's names. A damaged file is never overwritten.

    Parameters
    ----------
    sae_sha256 : str
        Names belong to the weights, not to a file name.
    shipped : mapping from concept to name, optional
        The SAE's own; the user's win.
    path : path-like, optional
        Default `names_path`.

    Raises
    ------
    CytoError
        Here and from `set` and `history`, if the file is damaged or cannot be read.
    """

    def __init__(
        self,
        sae_sha256: str,
        shipped: Mapping[int, str] | None = None,
        path: Path | str | None = None,
    ) -> None:
        self.sae_sha256 = sae_sha256
        self.path = Path(path) if path else names_path()
        self._shipped = dict(shipped or {})
        self._own = self._own_names(self._read())

    def get(self, concept: int) -> str:
        """The name of a concept, empty where it has none."""
        return self._own.get(concept) or self._shipped.get(concept, "")

    def set(self, concept: int, name: str) -> str:
        """Name a concept for good; an empty name brings the shipped one back.

        Returns
        -------
        str
            The name as it is kept: control characters and needless spaces removed, at most
            `MAX_LENGTH` characters.
        """
        name = clean_name(name)
        if name == self._shipped.get(concept):
            name = ""
        content = self._read()
        names = content["names"].setdefault(self.sae_sha256, {})
        old = names.pop(str(concept), "")
        if name:
            names[str(concept)] = name
        if name != old:
            content["history"].append(
                {
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                    "sae": self.sae_sha256,
                    "concept": concept,
                    "old": old,
                    "new": name,
                }
            )
            with atomic_file(self.path) as temporary:
                text = json.dumps(content, indent=1, ensure_ascii=False)
                temporary.write_text(text, encoding="utf-8")
        self._own = self._own_names(content)
        return self.get(concept)

    def search(self, text: str) -> list[int]:
        """Concepts whose id starts with `text` or whose name contains it, by id."""
        wanted = text.strip().casefold()
        return sorted(
            concept
            for concept, name in self.as_dict().items()
            if wanted in name.casefold() or str(concept).startswith(wanted)
        )

    def as_dict(self) -> dict[int, str]:
        """All named concepts."""
        return {**self._shipped, **self._own}

    def history(self, concept: int | None = None) -> list[dict[str, Any]]:
        """Changes of this SAE's names, oldest first: time, concept, old and new name."""
        return [
            entry
            for entry in self._read()["history"]
            if entry["sae"] == self.sae_sha256 and concept in (None, entry["concept"])
        ]

    def _own_names(self, content: dict[str, Any]) -> dict[int, str]:
        names = content["names"].get(self.sae_sha256, {})
        return {int(concept): name for concept, name in names.items()}

    def _read(self) -> dict[str, Any]:
        """The file's content, checked; an empty one where there is no file yet."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"schema": _SCHEMA, "names": {}, "history": []}
        except OSError as error:
            raise CytoError(
                f"The concept names in {self.path} cannot be read: "
                f"{error.strerror or error}."
            ) from error
        except ValueError as error:
            raise self._damaged() from error
        if not _is_valid(content):
            raise self._damaged()
        return dict(content)

    def _damaged(self) -> CytoError:
        return CytoError(
            f"The concept names in {self.path} are damaged and were left as they are: "
            "repair the file, or move it away to start anew."
        )


def clean_name(name: str) -> str:
    """One line of printable text, at most `MAX_LENGTH` characters."""
    printable = "".join(
        " " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter
        for letter in unicodedata.normalize("NFC", name)
        if unicodedata.category(letter) not in ("Cf", "Cs")
    )
    return " ".join(printable.split())[:MAX_LENGTH].rstrip()


def _is_valid(content: object) -> bool:
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        return False
    names, history = content.get("names"), content.get("history")
    return (
        isinstance(names, dict)
        and isinstance(history, list)
        and all(
            isinstance(own, dict)
            and all(key.isdigit() and isinstance(name, str) for key, name in own.items())
            for own in names.values()
        )
        and all(isinstance(entry, dict) and "sae" in entry for entry in history)
    )
