"""Results of an image as files, as the command line writes them; no Qt, no napari."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cytosae.core.types import Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import pandas as pd

    from napari_cytosae.core.models import Models
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Cells, Crops, Encoded, Image


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What `export` writes.

    `verdicts` are those on the cells of all images: image, concept, cell, verdict.
    """

    image: Image | Pyramid
    cells: Cells
    crops: Crops
    encoded: Encoded
    models: Models
    names: dict[int, str]
    overlays: Sequence[int]
    source: dict[str, Any]
    extras: Sequence[str] = ()
    verdicts: Sequence[tuple[str, int, int, str]] = ()


def export(folder: Path, results: Results) -> Generator[Progress, None, Path]:
    """Write the files that ``napari-cytosae analyze`` writes for this image.

    Returns
    -------
    Path
        Folder of the image's results, inside `folder`.
    """
    yield Progress("Writing the results", 0, 0, "files")
    from napari_cytosae.core.export import provenance, write_csv, write_results
    from napari_cytosae.core.extras import Written, write_extras
    from napari_cytosae.core.overlay import OverlayMap

    encoded, models, image = results.encoded, results.models, results.image
    overlays = {}
    if results.overlays:
        grids = models.concept_grids(encoded, results.overlays)
        shape = image.shape
        overlays = {
            concept: OverlayMap(grid, encoded.boxes, shape)
            for concept, grid in zip(results.overlays, grids, strict=True)
        }
    record = provenance(
        [image],
        {
            **results.source,
            "pixel_size_um": results.cells.pixel_size.um,
            "pixel_size_source": results.cells.pixel_size.source,
            "image_notes": list(image.notes),
            "field_of_view_um": results.crops.field_of_view_um,
            "field_of_view_source": results.crops.pixel_size_source,
            "threshold": encoded.activations.threshold,
            "concepts": list(results.overlays),
            "device": models.device.type,
            "precision": models.precision,
            "complete": encoded.complete,
        },
        models.backbone_info,
        models.sae_info,
    )
    written = Written(
        image, results.cells, results.crops, encoded, record, results.names, overlays
    )

    def more(place: Path) -> None:
        write_extras(place, results.extras, written)
        if results.verdicts:
            write_csv(review_frame(results), place / "review.csv")

    target = result_folder(folder, image)
    return write_results(
        target, results.cells, record, encoded, results.names, overlays, more
    )


def review_frame(results: Results) -> pd.DataFrame:
    """What the analyst accepted and rejected: a row an image, concept and cell."""
    import pandas as pd

    columns = ["image", "concept", "cell_id", "verdict"]
    table = pd.DataFrame(results.verdicts, columns=columns)
    table.insert(2, "name", [results.names.get(c, "") for c in table["concept"]])
    return table


def result_folder(folder: Path, image: Image | Pyramid) -> Path:
    """Where the results of an image go: its own former ones are replaced, no others.

    Its name may be that of a layer, in which anything can stand; only the ending of an
    image file is left out of it.
    """
    from napari_cytosae.core.images import IMAGE_SUFFIXES

    name = re.sub(r'[<>:"/\\|?*\x00-\x1f]', "_", image.name).strip(" .")
    if name.lower().endswith((*IMAGE_SUFFIXES, ".svs", ".zarr")):
        name = Path(name).stem
    name = name or "image"
    target, number = folder / name, 2
    while _is_of_another(target, image):
        target, number = folder / f"{name}_{number}", number + 1
    return target


def _is_of_another(folder: Path, image: Image | Pyramid) -> bool:
    """Whether a folder holds the results of another image."""
    from napari_cytosae.core.export import RUN_FILE

    try:
        inputs = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["inputs"]
        return image.sha256 not in inputs.values()
    except FileNotFoundError:
        return False
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        # Damaged, so nobody can say whose it is.
        return True
