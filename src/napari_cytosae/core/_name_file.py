"""The one JSON file with what this user has said about concepts, read, checked, written.

``{"schema": 2, "names": {sae: {concept: name}}, "tags": ..., "notes": ..., "stars": ...,
"ratings": {sae: {rater: {concept: label}}}, "history": [change, ...]}``. Schema 1 has
`names` and a history of names alone; it is read as it is, and written as schema 2 with the
next change.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import platformdirs

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import CytoError

HOME_VARIABLE = "CYTOSAE_HOME"
"""Environment variable with the folder for the user's data, in place of the default."""

SCHEMA = 2

FIELDS: dict[str, Any] = {"names": "", "tags": [], "notes": "", "stars": False}
"""What is kept for each concept, and its value where nothing is."""


def default_path() -> Path:
    """The file with the names of all SAEs that this user has named concepts of."""
    home = os.environ.get(HOME_VARIABLE)
    folder = Path(home) if home else platformdirs.user_data_path("napari-cytosae", False)
    return folder / "concept_names.json"


def empty() -> dict[str, Any]:
    """The content of a file that is not there yet."""
    return {
        "schema": SCHEMA,
        **{field: {} for field in FIELDS},
        "ratings": {},
        "history": [],
    }


def read(path: Path) -> dict[str, Any]:
    """Read and check the file; an empty one where there is none.

    Raises
    ------
    CytoError
        If it cannot be read or is damaged; it is left as it is.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return empty()
    except OSError as error:
        raise CytoError(
            f"The concept names in {path} cannot be read: {error.strerror or error}."
        ) from error
    except ValueError as error:
        raise _damaged(path) from error
    content = _migrated(content)
    if not _is_valid(content):
        raise _damaged(path)
    return dict(content)


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file, whole or not at all.

    Raises
    ------
    CytoError
        If `read` would refuse it: the former file stays.
    OutputError
        If it cannot be written.
    """
    if not _is_valid(content):
        raise CytoError(
            f"{path} was left as it is: what is to be kept there is no file of names."
        )
    with atomic_file(path) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        temporary.write_text(text, encoding="utf-8")


def last_standing(content: dict[str, Any], sae: str) -> list[dict[str, Any]]:
    """The last step of an SAE's history that was not taken back; empty without one."""
    standing: list[int] = []
    steps: dict[int, list[dict[str, Any]]] = {}
    for entry in content["history"]:
        if entry["sae"] == sae and "conflict" not in entry:
            steps.setdefault(entry["step"], []).append(entry)
    for step in sorted(steps):
        undone = steps[step][0].get("undo")
        if undone is None:
            standing.append(step)
        elif undone in standing:
            standing.remove(undone)
    return steps[standing[-1]] if standing else []


def _damaged(path: Path) -> CytoError:
    return CytoError(
        f"The concept names in {path} are damaged and were left as they are: "
        "repair the file, or move it away to start anew."
    )


def _migrated(content: Any) -> Any:
    if not isinstance(content, dict) or content.get("schema") != 1:
        return content
    history = content.get("history")
    if not isinstance(history, list) or not all(isinstance(e, dict) for e in history):
        return None
    changes = [{"field": "names", "step": i, **entry} for i, entry in enumerate(history)]
    return {**empty(), "names": content.get("names"), "history": changes}


def _is_valid(content: Any) -> bool:
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return False
    ratings, history = content.get("ratings"), content.get("history")
    return (
        all(_is_field(content.get(field), type(empty)) for field, empty in FIELDS.items())
        and isinstance(ratings, dict)
        and all(_is_field(raters, str) for raters in ratings.values())
        and isinstance(history, list)
        and all(_is_change(entry) for entry in history)
    )


def _is_field(value: Any, kind: type) -> bool:
    """Whether it is {sae or rater: {concept: value}} with values of one kind."""
    return isinstance(value, dict) and all(
        isinstance(own, dict)
        and all(_is_concept(key) and isinstance(item, kind) for key, item in own.items())
        and (kind is not list or all(isinstance(t, str) for v in own.values() for t in v))
        for own in value.values()
    )


def _is_concept(key: str) -> bool:
    """Whether a key is the number of a concept, as we write it."""
    return key.isascii() and key.isdigit()


def _is_change(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("sae"), str)
        and isinstance(entry.get("concept"), int)
        and entry.get("field") in FIELDS
        and isinstance(entry.get("step"), int)
        and {"old", "new"} <= set(entry)
    )
