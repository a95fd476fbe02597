"""Which image belongs to which patient: by folder or by a pattern of file names."""

from __future__ import annotations

import re
from os.path import commonpath
from pathlib import Path
from typing import TYPE_CHECKING

from napari_cytosae.core.types import CytoError

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def by_folder(paths: Sequence[Path | str], root: Path | str | None = None) -> list[str]:
    """The patient each image is of when patients have folders: the folder's name.

    Where folders of one name lie in different ones (``AML/001`` and ``control/001``), the
    whole way from the root: two patients never become one.

    Parameters
    ----------
    paths : sequence of path-like
        Of images.
    root : path-like, optional
        Folder that was chosen; by default, the deepest that holds all of them.
    """
    folders = [Path(path).resolve().parent for path in paths]
    if not folders:
        return []
    if root is None:
        try:
            root = Path(commonpath(folders))
        except ValueError:  # on several drives
            root = folders[0].anchor
    top = Path(root).resolve()
    owners: dict[str, set[Path]] = {}
    for folder in folders:
        owners.setdefault(folder.name, set()).add(folder)
    return [
        folder.name if len(owners[folder.name]) == 1 else _way(top, folder)
        for folder in folders
    ]


def told_apart(paths: Sequence[str]) -> list[str]:
    """File names; where two are the same, with as many of the folders as differ.

    ``x.png (day1)`` and ``x.png (day2)``, for one.
    """
    ways = [Path(path).parts for path in paths]
    names = []
    for own in ways:
        same = {other for other in ways if other[-1:] == own[-1:]}
        depth = 1
        while depth < len(own) and any(
            other != own and other[-depth:] == own[-depth:] for other in same
        ):
            depth += 1
        where = " in ".join(reversed(own[-depth:-1]))
        names.append(f"{own[-1]} ({where})" if where else own[-1])
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            names[index] = f"{name} ({seen[name]})"
    return names


def _way(root: Path, folder: Path) -> str:
    """The folders from the root to one, in one name."""
    if folder == root:
        return root.name
    way = folder.relative_to(root) if folder.is_relative_to(root) else folder
    return f"{root.name}/{way}" if way.name == str(way) == root.name else way.as_posix()


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
