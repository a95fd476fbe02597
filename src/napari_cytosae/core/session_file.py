"""A session as a folder: JSON, CSV, TIFF and plain arrays, nothing that is executed.

``session.json`` says what was looked at and with which models. Each image has a folder,
``1`` for the one in front: ``image.tif`` holds the pixels, of a slide ``slide.json`` where
its file is; ``cells.tif``, ``nuclei.tif`` and ``cells.csv`` the cells, ``encoded.npz`` the
activations and tokens. ``names.json`` is what is said of concepts, ``stability.csv`` how
stable they are in the cells in front.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import pandas as pd
import tifffile

from napari_cytosae.core import _encoded_file
from napari_cytosae.core.crops import Cuts, pixels_of
from napari_cytosae.core.files import atomic_folder
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid, keep_open
from napari_cytosae.core.types import (
    Cells,
    Crops,
    CytoError,
    Encoded,
    Image,
    OccupiedError,
    PixelSize,
    Progress,
)

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_cytosae.core.types import LabelImage

FILE = "session.json"
STABILITY_FILE = "stability.csv"
NAMES_FILE = "names.json"
"""Written beside it by who saves, see `core.name_exchange`."""

_PIXELS = frozenset(("image.tif", "slide.json"))
"""One of them is in the folder of each image."""

IMAGE_FILES = _PIXELS | {"cells.tif", "nuclei.tif", "cells.csv", "encoded.npz"}
"""What the folder of an image may hold."""

SCHEMA = 3
_FORMER = 2
"""It had no slides."""


@dataclass(frozen=True, slots=True, eq=False)
class SavedImage:
    """One image of a session.

    Attributes
    ----------
    image : Image or Pyramid
        A slide has to be a file's.
    cells : Cells or None
        None before any were looked for.
    crops : Crops or None
    encoded : Encoded or None
    state : dict
        JSON values: how the cells were found, verdicts on them.
    """

    image: Image | Pyramid
    cells: Cells | None = None
    crops: Crops | None = None
    encoded: Encoded | None = None
    state: dict[str, Any] = field(default_factory=dict)


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
            images.append(_write(place, each))
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
    files = {each.name for each in entry.iterdir() if not each.name.startswith(".")}
    return entry.name.isdigit() and bool(files & _PIXELS) and files <= IMAGE_FILES


def _write(place: Path, saved: SavedImage) -> dict[str, Any]:
    """Write the files of one image; what ``session.json`` says of it."""
    # Reading does without: export brings anndata along.
    from napari_cytosae.core.export import cells_frame, write_csv, write_labels

    image, cells = saved.image, saved.cells
    about: dict[str, Any] = {
        "image": {"name": image.name, "sha256": image.sha256, "notes": image.notes},
        "image_pixel_size": _size(image.pixel_size),
        "state": saved.state,
    }
    if isinstance(image, Pyramid):
        assert image.path is not None
        where = {"path": str(image.path.absolute())}
        (place / "slide.json").write_text(json.dumps(where), encoding="utf-8")
    else:
        rgb = image.rgb
        tifffile.imwrite(place / "image.tif", rgb, photometric="rgb", compression="zlib")
    if cells is None:
        return about
    about |= {
        "cells_pixel_size": _size(cells.pixel_size),
        "single_cell": cells.single_cell,
    }
    write_labels(cells.labels, place / "cells.tif", cells.pixel_size.um)
    write_labels(cells.nuclei, place / "nuclei.tif", cells.pixel_size.um)
    write_csv(cells_frame(cells), place / "cells.csv")
    if saved.encoded is not None and saved.crops is not None:
        about["field_of_view_um"] = saved.crops.field_of_view_um
        about["crop_size_source"] = saved.crops.pixel_size_source
        _encoded_file.write(place / "encoded.npz", saved.encoded)
    return about


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
            _read(folder / str(number), each, about["sae_sha256"])
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


def _read(place: Path, about: dict[str, Any], sae_sha256: str) -> SavedImage:
    image = _pixels(place, about["image"], PixelSize(**about["image_pixel_size"]))
    if not (place / "cells.csv").is_file():
        return SavedImage(image, state=about["state"])
    table = pd.read_csv(place / "cells.csv", keep_default_na=False, na_values=[""])
    table["touches_border"] = table["touches_border"].astype(bool)
    texts = ["image", "kind", "qc", "pixel_size_source"]
    table[texts] = table[texts].astype(object)
    cells = Cells(
        _labels(place / "cells.tif", image),
        _labels(place / "nuclei.tif", image),
        table,
        PixelSize(**about["cells_pixel_size"]),
        about["single_cell"],
    )
    crops = encoded = None
    if (place / "encoded.npz").is_file():
        encoded = _encoded_file.read(place / "encoded.npz", sae_sha256)
        crops = Crops(
            Cuts(pixels_of(image), encoded.boxes),
            encoded.boxes,
            encoded.cell_ids,
            about["field_of_view_um"],
            about["crop_size_source"],
        )
    return SavedImage(image, cells, crops, encoded, about["state"])


def _pixels(place: Path, about: dict[str, Any], size: PixelSize) -> Image | Pyramid:
    """The image, or the slide, kept open."""
    name, notes = about["name"], tuple(about["notes"])
    if (place / "image.tif").is_file():
        rgb = tifffile.imread(place / "image.tif")
        return Image(rgb, name, size, about["sha256"], notes)
    was = json.loads((place / "slide.json").read_text(encoding="utf-8"))["path"]
    # It takes the separators of all systems, that of the one which saved among them.
    file, session = PureWindowsPath(was).name, place.parent
    near = [Path(was), session / file, session.parent / file]
    there = [each for each in near if each.is_file() or each.is_dir()]
    for path in there:
        slide = keep_open(path)
        if isinstance(slide, Pyramid) and slide.sha256 == about["sha256"]:
            return replace(slide, name=name, pixel_size=size, notes=notes)
    if there:
        raise CytoError(
            f"{there[0]} is another slide than the one that was saved: put that one in its "
            "place, and open the session again."
        )
    raise CytoError(
        f"The slide {was} is not there any more: put it back, or beside the folder "
        f"{session.name}, and open the session again."
    )


def _labels(path: Path, image: Image | Pyramid) -> LabelImage:
    labels: LabelImage
    if isinstance(image, Pyramid):
        labels = LabelBlocks.of_tiff(path)
    else:
        labels = tifffile.imread(path)
    if labels.shape != image.shape[:2]:
        raise ValueError(f"{path.name} has another size than {image.name}")
    return labels


def _size(size: PixelSize) -> dict[str, Any]:
    return {
        "um": size.um,
        "source": size.source,
        "spread": size.spread,
        "n_cells": size.n_cells,
    }
