"""The frozen values that flow between the modules, and the errors they raise.

Everything here is cheap to import: numpy, pandas and scipy only under
``TYPE_CHECKING``, torch never.

Conventions, everywhere in this package
---------------------------------------
* images are uint8 RGB ``(H, W, 3)``; masks and labels ``(H, W)``;
* positions are pixels, ``x`` right and ``y`` down, the first pixel's centre is (0, 0);
* boxes are half-open pixel ranges ``(y0, x0, y1, x1)``; pixel ``i`` is inside when
  ``i0 <= i < i1``;
* lengths on the slide are micrometres (um);
* token ``t`` of a crop is the CLS token for ``t = 0``, else the patch in row
  ``(t - 1) // grid`` and column ``(t - 1) % grid`` of the crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    from scipy.sparse import csr_array

    from napari_cytosae.core.label_blocks import LabelBlocks

    UInt8Array: TypeAlias = npt.NDArray[np.uint8]
    Int32Array: TypeAlias = npt.NDArray[np.int32]
    Int64Array: TypeAlias = npt.NDArray[np.int64]
    Float16Array: TypeAlias = npt.NDArray[np.float16]
    Float32Array: TypeAlias = npt.NDArray[np.float32]
    Float64Array: TypeAlias = npt.NDArray[np.float64]
    BoolArray: TypeAlias = npt.NDArray[np.bool_]
    LabelImage: TypeAlias = Int32Array | LabelBlocks

CellKind = Literal["wbc", "rbc", "platelet"]
CELL_KINDS: tuple[CellKind, ...] = ("wbc", "rbc", "platelet")

PixelSizeSource = Literal["metadata", "layer", "user", "estimated", "relative", "unknown"]

SaeKind = Literal["relu", "topk", "batchtopk", "jumprelu"]

Precision = Literal["float32", "bfloat16"]

LARGE_PIXELS = 16 * 2**20
"""Images above this (4096 x 4096) are slides: read, segmented and shown piece by piece."""

RESEARCH_USE = "Research use only. Not for diagnosis."

CELL_COLUMNS: tuple[str, ...] = (
    "image",
    "cell_id",
    "kind",
    "centroid_x",
    "centroid_y",
    "bbox_x0",
    "bbox_y0",
    "bbox_x1",
    "bbox_y1",
    "area_px",
    "area_um2",
    "nucleus_area_px",
    "nc_ratio",
    "eccentricity",
    "solidity",
    "touches_border",
    "focus",
    "qc",
    "pixel_size_um",
    "pixel_size_source",
)
"""Columns of `Cells.table` and of ``cells.csv``, in order."""

CONCEPT_COLUMNS: tuple[str, ...] = (
    "image",
    "cell_id",
    "concept",
    "name",
    "n_patches",
    "max",
    "mean",
)
"""Columns of ``concepts.csv``, in order."""


EXTRAS: dict[str, str] = {
    "wide": "concepts_wide.csv: a row a cell, a column a concept (patches over threshold)",
    "patches": "patches.csv: a row a patch in which a chosen concept is over threshold",
    "geojson": "cells.geojson: outlines and measurements, for QuPath",
    "ome-tiff": "overlays.ome.tif: a channel a chosen concept, at the slide's scale",
    "figures": "figure_<id>.png and .svg of each chosen concept, with its scales",
    "report": "report.html: methods, quality, versions and results on one page",
}
"""What can be written beside the files of the contract: name, and what it is."""


# --- errors ---------------------------------------------------------------------------


class CytoError(Exception):
    """Bad input or a failed step; the message is one clear sentence saying what to do."""


class ImageError(CytoError):
    """An image that cannot be read or is not a brightfield smear."""


class NoCellsError(CytoError):
    """Images that were examined and show no cell."""


class CheckpointError(CytoError):
    """A weights file that is missing, damaged, hostile or of an unknown kind."""


class ModelMismatchError(CheckpointError):
    """A backbone and an SAE that do not fit each other."""


class DownloadError(CytoError):
    """A download that failed; the message says where to get the file by hand."""


class OutputError(CytoError):
    """A result that could not be written (folder missing, disk full, no permission)."""


class OccupiedError(OutputError):
    """The place of a result holds something else, which is left as it is."""


# --- images and cells -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Size of one pixel on the slide, and how it is known.

    Attributes
    ----------
    um : float or None
        Micrometres a pixel; None when it cannot be told.
    source : PixelSizeSource
        ``metadata`` (file), ``layer`` (napari scale), ``user``, ``estimated`` (from the
        red cells in view), ``relative`` (unknown; sizes follow what is in view),
        ``unknown``.
    spread : float or None
        Relative spread of an estimate (0.06 is +-6 %).
    n_cells : int or None
        Red cells an estimate rests on.
    seen_um : float or None
        What many red cells in view tell where a size was stated; sizes that differ in no
        more are equal.
    """

    um: float | None = None
    source: PixelSizeSource = "unknown"
    spread: float | None = None
    n_cells: int | None = None
    seen_um: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """A smear or a single-cell crop, as it is analysed.

    Attributes
    ----------
    rgb : ndarray of uint8, (H, W, 3)
    name : str
        File name with extension, or the layer's name.
    pixel_size : PixelSize
    sha256 : str
        Of the file's bytes, or of the pixels where there is no file.
    notes : tuple of str
        What had to be changed to get uint8 RGB ("alpha dropped", "16 bit scaled ...").
    """

    rgb: UInt8Array
    name: str
    pixel_size: PixelSize
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.rgb.shape[0], self.rgb.shape[1]

    def thinned(self, step: int) -> UInt8Array:
        """The middle pixel of each block of `step` x `step`."""
        return self.rgb[step // 2 :: step, step // 2 :: step]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """The cells of one image.

    Attributes
    ----------
    labels : ndarray of int32, (H, W)
        Cell id of each pixel, 0 is background; of a slide `LabelBlocks`.
    nuclei : ndarray of int32, (H, W)
        Same ids, nucleus pixels only; of a slide `LabelBlocks`.
    table : DataFrame
        One row a cell with `CELL_COLUMNS`, in the order of `cell_id`.
    pixel_size : PixelSize
        As used by the segmentation.
    single_cell : bool
        The whole image is one crop: `crop_cells` returns it as it is.
    notes : tuple of str
        What the search left out.
    """

    labels: LabelImage
    nuclei: LabelImage
    table: pd.DataFrame
    pixel_size: PixelSize
    single_cell: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    def reaching_into(self, box: tuple[int, int, int, int]) -> pd.DataFrame:
        """Rows of the cells whose own boxes overlap ``y0, x0, y1, x1`` (half-open)."""
        y0, x0, y1, x1 = box
        table = self.table
        there = (table["bbox_y1"] > y0) & (table["bbox_y0"] < y1)
        return table[there & (table["bbox_x1"] > x0) & (table["bbox_x0"] < x1)]


@dataclass(frozen=True, slots=True, eq=False)
class Crops(Sequence["UInt8Array"]):
    """Crops of cells, a sequence of uint8 RGB arrays, and where they lie on the slide.

    Attributes
    ----------
    images : sequence of ndarray of uint8, (h, w, 3)
        Of a slide each is read when it is asked for.
    boxes : ndarray of int64, (n, 4)
        ``y0, x0, y1, x1`` on the slide, half-open; may reach outside it where a crop had
        to be padded.
    cell_ids : ndarray of int64, (n,)
    field_of_view_um : float or None
        Side of the crops in um; None where the scale is unknown.
    pixel_size_source : PixelSizeSource
    """

    images: Sequence[UInt8Array]
    boxes: Int64Array
    cell_ids: Int64Array
    field_of_view_um: float | None
    pixel_size_source: PixelSizeSource

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> UInt8Array: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[UInt8Array, ...]: ...
    def __getitem__(self, index: int | slice) -> UInt8Array | tuple[UInt8Array, ...]:
        if isinstance(index, slice):
            return tuple(self.images[index])
        return self.images[index]

    def __iter__(self) -> Iterator[UInt8Array]:
        return iter(self.images)


# --- models ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BackboneInfo:
    """What is known of a vision transformer without loading its weights.

    Attributes
    ----------
    name : str
        Registered name, hub id or file name.
    width, depth, heads : int
        Token dimension d, number of blocks of the full model, attention heads.
    patch_size, image_size : int
        In px; the patch grid is ``image_size // patch_size`` a side.
    sha256 : str
        Of the file.
    source : str
        Path or address the weights came from.
    licence, citation, training_data : str
        Empty where unknown.
    """

    name: str
    width: int
    depth: int
    heads: int
    patch_size: int
    image_size: int
    sha256: str
    source: str = ""
    licence: str = ""
    citation: str = ""
    training_data: str = ""

    @property
    def grid(self) -> int:
        """Patches along one side of a crop."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True)
class SaeInfo:
    """What is known of a sparse autoencoder without loading its weights.

    Attributes
    ----------
    name : str
    kind : SaeKind
    d_in, d_sae : int
        Token dimension and number of latents (concepts).
    layer : int
        Index into the backbone's blocks whose output the SAE reads; negative counts from
        the last block (published CytoSAE: -2).
    sha256 : str
        Of the file.
    k : int or None
        Latents kept a token (topk).
    backbone : str
        The backbone it was trained on, where the file says so.
    """

    name: str
    kind: SaeKind
    d_in: int
    d_sae: int
    layer: int
    sha256: str
    k: int | None = None
    backbone: str = ""
    source: str = ""
    licence: str = ""
    citation: str = ""
    training_data: str = ""


# --- activations ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ConceptActivations:
    """Sparse concept activations of n cells; scipy CSR (n, d_sae) float32 each.

    Entries are stored wherever the value is > 0.

    Attributes
    ----------
    n_patches : csr_array
        Patch tokens with activation above `threshold`.
    max, mean : csr_array
        Over the patch tokens, not thresholded.
    mean_with_cls : csr_array
        Over all tokens, CLS included (the published statistics).
    cls : csr_array
        The CLS token's own activation.
    threshold : float
    sae_sha256 : str
    """

    n_patches: csr_array
    max: csr_array
    mean: csr_array
    mean_with_cls: csr_array
    cls: csr_array
    threshold: float = 0.2
    sae_sha256: str = ""

    def __len__(self) -> int:
        return int(self.n_patches.shape[0])

    def strongest(self, concept: int) -> Float32Array:
        """A concept's column of `max`: its strongest patch in each cell, (n,)."""
        found: Float32Array = self.max[:, [concept]].toarray().ravel()
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Cells after the models: all later steps read this, none needs the ViT again.

    Attributes
    ----------
    activations : ConceptActivations
        n rows, in the order of `boxes`.
    tokens : ndarray of float16, (n, 1 + grid**2, d), or None
        Residual stream at the hooked layer, kept so that another concept's map is one
        column product.
    gates : ndarray of float32, (n, 1 + grid**2), or None
        For SAEs whose latents compete (topk): what a pre-activation must exceed to be
        kept, midway between the smallest kept and the largest dropped of its token.
    boxes : ndarray of int64, (n, 4)
    cell_ids : ndarray of int64, (n,)
    complete : bool
        False when the job was cancelled and only some of the cells are here.
    """

    activations: ConceptActivations
    tokens: Float16Array | None
    gates: Float32Array | None
    boxes: Int64Array
    cell_ids: Int64Array
    complete: bool = True

    def __len__(self) -> int:
        return len(self.cell_ids)


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """What a long-running generator yields.

    Attributes
    ----------
    stage : str
        "Encoding", "Segmenting"; shown before the counts.
    done, total : int
        Units finished and in all; `total` 0 while unknown.
    unit : str
        "cells", "images", "MB".
    partial : object or None
        The piece of the result that is new with this step; kept when the job is
        cancelled.
    """

    stage: str
    done: int
    total: int
    unit: str = "cells"
    partial: Any = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a result: goes to ``run.json`` and ``uns["cytosae"]``.

    Attributes
    ----------
    versions : dict
        Package name -> version.
    models : dict
        ``backbone`` and ``sae``, each with name and sha256; empty for segmentation alone.
    parameters : dict
    inputs : dict
        File name -> sha256.
    created : str
        ISO 8601, UTC.
    note : str
        The research-use note.
    """

    versions: dict[str, str]
    models: dict[str, dict[str, str]]
    parameters: dict[str, Any]
    inputs: dict[str, str]
    created: str
    note: str = field(default=RESEARCH_USE)
