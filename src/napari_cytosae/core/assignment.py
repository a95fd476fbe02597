"""Which image belongs to which patient: by folder or by a pattern of file names."""

from __future__ import annotations

import re
from pathlib import Path

from napari_cytosae.core.types import CytoError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Of images that a folder is searched for."""

PLACE = "{patient}"
"""Stands for the patient's name in a pattern."""


def images_in(folder: Path | str) -> list[Path]:
    """All images in a folder and those below it, sorted.

    Raises
    ------
    CytoError
        If there are none.
    """
    folder = Path(folder)
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise CytoError(f"There is no image in {folder}: PNG, JPEG, BMP and TIFF are read.")
    return found


def by_folder(path: Path | str) -> str:
    """The patient an image is of when each has a folder: the folder's name."""
    return Path(path).resolve().parent.name


def by_pattern(name: str, pattern: str) -> str:
    """The patient that a file name says, empty where it does not follow the pattern.

    Parameters
    ----------
    name : str
        File name, with its ending.
    pattern : str
        ``{patient}`` stands for the patient, ``*`` for anything: ``{patient}_*.tif``. With
        no ending any will do.

    Raises
    ------
    CytoError
        If ``{patient}`` is not once in the pattern.
    """
    if pattern.count(PLACE) != 1:
        raise CytoError(
            f"The pattern needs {PLACE} once, where the patient's name stands: "
            f"{PLACE}_*.tif, for one."
        )
    if "." not in pattern:
        name = Path(name).stem
    parts = re.split(r"(\*|\{patient\})", pattern)
    known = {"*": ".*", PLACE: "(?P<patient>.+?)"}
    expression = "".join(known.get(part, re.escape(part)) for part in parts)
    match = re.fullmatch(expression, name, re.IGNORECASE)
    return match["patient"] if match else ""
