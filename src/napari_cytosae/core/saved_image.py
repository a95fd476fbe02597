"""One image of a session, as the files in its folder: pixels, cells, activations.

``image.tif`` holds the pixels, of a slide ``slide.json`` where its file is; ``cells.tif``,
``nuclei.tif`` and ``cells.csv`` the cells, ``encoded.npz`` the activations and tokens.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import pandas as pd
import tifffile

from napari_cytosae.core import _encoded_file
from napari_cytosae.core.crops import Cuts, pixels_of
from napari_cytosae.core.label_blocks import LabelBlocks
from napari_cytosae.core.pyramid import Pyramid, keep_open
from napari_cytosae.core.types import Cells, Crops, CytoError, Encoded, Image, PixelSize

if TYPE_CHECKING:
    from napari_cytosae.core.types import LabelImage

_PIXELS = frozenset(("image.tif", "slide.json"))
"""One of them is in the folder of each image."""

IMAGE_FILES = _PIXELS | {"cells.tif", "nuclei.tif", "cells.csv", "encoded.npz"}
"""What the folder of an image may hold."""


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


def is_image(place: Path) -> bool:
    """Whether a folder holds what `write_image` writes, and nothing else."""
    files = {each.name for each in place.iterdir() if not each.name.startswith(".")}
    return bool(files & _PIXELS) and files <= IMAGE_FILES


def write_image(place: Path, saved: SavedImage) -> dict[str, Any]:
    """Write the files of one image; what ``session.json`` says of it."""
    # Reading does without: export brings anndata along.
    from napari_cytosae.core.export import cells_frame, write_csv, write_labels

    image, cells = saved.image, saved.cells
    about: dict[str, Any] = {
        "image": {"name": image.name, "sha256": image.sha256, "notes": image.notes},
        "image_pixel_size": asdict(image.pixel_size),
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
        "cells_pixel_size": asdict(cells.pixel_size),
        "single_cell": cells.single_cell,
        "cells_notes": cells.notes,
    }
    write_labels(cells.labels, place / "cells.tif", cells.pixel_size.um)
    write_labels(cells.nuclei, place / "nuclei.tif", cells.pixel_size.um)
    write_csv(cells_frame(cells), place / "cells.csv")
    if saved.encoded is not None and saved.crops is not None:
        about["field_of_view_um"] = saved.crops.field_of_view_um
        about["crop_size_source"] = saved.crops.pixel_size_source
        _encoded_file.write(place / "encoded.npz", saved.encoded)
    return about


def read_image(place: Path, about: dict[str, Any], sae_sha256: str) -> SavedImage:
    """What `write_image` wrote there; a slide is kept open.

    Raises
    ------
    CytoError
        If a slide is not where it was, nor beside the session, or was changed.
    Exception
        Of any kind, if the files are damaged.
    """
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
        tuple(about.get("cells_notes", ())),
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
