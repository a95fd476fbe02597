"""A session as a folder: JSON, CSV, TIFF and plain arrays, nothing that is executed.

``session.json`` says what was looked at and with which models. Each image has a folder, see
`core.saved_image`, ``1`` for the one in front. ``names.json`` is what is said of concepts,
``stability.csv`` how stable they are in the cells in front.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_cytosae.core.files import atomic_folder
from napari_cytosae.core.pyramid import Pyramid
from napari_cytosae.core.saved_image import SavedImage, is_image, read_image, write_image
from napari_cytosae.core.types import CytoError, OccupiedError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator

FILE = "session.json"
STABILITY_FILE = "stability.csv"
NAMES_FILE = "names.json"
"""Written beside it by who saves, see `core.name_exchange`."""

SCHEMA = 3
_FORMER = 2
"""It had no slides."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedSession:
    """What is saved.

    Attributes
    ----------
    images : tuple of SavedImage
        At least one; that in front first.
    view : dict
        JSON values: models picked, selection, overlays.
    sae_sha256, backbone_sha256 : str
        Of the models that encoded the cells; empty where none are.
    stability : DataFrame or None
        Of `core.stability.measure_stability`, of the cells in front.
    """

    images: tuple[SavedImage, ...]
    view: dict[str, Any]
    sae_sha256: str
    backbone_sha256: str
    stability: pd.DataFrame | None = None


def save_session(
    folder: Path | str, saved: SavedSession
) -> Generator[Progress, None, Path]:
    """Write a session; a former one there is replaced when the new one is complete.

    What else lies in the folder is left there.

    Yields
    ------
    Progress
        Before each image.

    Raises
    ------
    CytoError
        If a slide has no file.
    OccupiedError, OutputError
        If the folder holds other files and no session, others where the session's are to
        go, or cannot be written.
    """
    folder = Path(folder)
    for image in (each.image for each in saved.images):
        if isinstance(image, Pyramid) and image.path is None:
            raise CytoError(f"{image.name} has no file, where a session leaves a slide.")
    others = _others(folder)
    numbers = {str(number) for number in range(1, len(saved.images) + 1)}
    if in_the_way := sorted(numbers.intersection(others)):
        raise OccupiedError(
            f"{folder / in_the_way[0]} holds files that are not the session's: move them "
            "elsewhere, or choose another folder."
        )
    images: list[dict[str, Any]] = []
    about: dict[str, Any] = {
        "schema": SCHEMA,
        "sae_sha256": saved.sae_sha256,
        "backbone_sha256": saved.backbone_sha256,
        "view": saved.view,
        "images": images,
    }
    with atomic_folder(folder, others) as temporary:
        for done, each in enumerate(saved.images):
            yield Progress("Saving the session", done, len(saved.images), "images")
            place = temporary / str(done + 1)
            place.mkdir()
            images.append(write_image(place, each))
        if saved.stability is not None:
            saved.stability.to_csv(temporary / STABILITY_FILE)
        text = json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False)
        (temporary / FILE).write_text(text, encoding="utf-8")
    return folder


def _others(folder: Path) -> list[str]:
    """What lies in the folder of a session and is not the session's own."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return []
    if not _is_session(folder):
        raise OccupiedError(f"{folder} holds other files: choose an empty folder.")
    return [each.name for each in folder.iterdir() if not _is_own(each)]


def _is_session(folder: Path) -> bool:
    try:
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"schema", "view", "sae_sha256"} <= set(about)


def _is_own(entry: Path) -> bool:
    """Whether something in a session's folder was written by `save_session`."""
    if not entry.is_dir():
        return entry.name in (FILE, NAMES_FILE, STABILITY_FILE)
    return entry.name.isdigit() and is_image(entry)


def load_session(folder: Path | str) -> SavedSession:
    """Read a session.

    Raises
    ------
    CytoError
        If there is none, it is damaged or of a later version of this program, or one of
        its slides is not where it was, nor beside the folder, or was changed.
    """
    folder = Path(folder)
    if not (folder / FILE).is_file():
        raise CytoError(f"{folder} holds no session: choose the folder of a saved one.")
    try:
        about = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if about["schema"] not in (_FORMER, SCHEMA):
            raise CytoError(f"{folder} is a session of another version of this program.")
        images = tuple(
            read_image(folder / str(number), each, about["sae_sha256"])
            for number, each in enumerate(about["images"], 1)
        )
        measured = folder / STABILITY_FILE
        stability = pd.read_csv(measured, index_col=0) if measured.is_file() else None
        return SavedSession(
            images,
            about["view"],
            about["sae_sha256"],
            about["backbone_sha256"],
            stability,
        )
    except CytoError:
        raise
    except Exception as error:  # parsers of damaged bytes raise nearly anything
        raise CytoError(f"The session in {folder} is damaged: {error}.") from error
