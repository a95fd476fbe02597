"""One resolution of a slide, whatever holds its pixels, as uint8 RGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.types import ImageError

if TYPE_CHECKING:
    from napari_cytosae.core.types import UInt8Array


def read(region: Any) -> np.ndarray[Any, Any]:
    """What lies in a region that was sliced from any array.

    Of dask arrays without its callbacks: napari registers a cache for the whole process,
    which fails when two threads compute at once.
    """
    if hasattr(region, "compute"):
        region = region.compute(scheduler="threads", callbacks=())
    return np.asarray(region)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A plane of an array that is read where it is sliced: Zarr, dask, numpy.

    Alpha is dropped and grey replicated, as `images.to_rgb` does.

    Attributes
    ----------
    array : array-like of uint8
        Sliced with one slice or int an axis.
    axes : str
        A letter an axis; ``Y``, ``X``, and ``S`` or ``C`` for the colours. Of others only
        the first plane is read.
    holder : object
        The file stays open for as long as this lives; None where that is another's care.

    Raises
    ------
    ImageError
        If the array holds other than 8-bit values.
    """

    array: Any
    axes: str
    holder: Any = None

    def __post_init__(self) -> None:
        if self.array.dtype != np.uint8:
            raise ImageError(
                f"The slide holds {self.array.dtype} values: save it as 8-bit RGB."
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, 3."""
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        return sizes["Y"], sizes["X"], 3

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """What is read."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """Of what is read: 3."""
        return 3

    def __getitem__(self, key: tuple[slice, ...]) -> UInt8Array:
        """RGB pixels (h, w, 3) of a region; a third slice, of the colours, is obeyed."""
        inside = dict(zip("YX", key, strict=False))
        index = tuple(
            inside.get(axis, slice(None) if axis in "SC" else 0) for axis in self.axes
        )
        kept = [axis for axis in self.axes if axis in "YXSC"]
        order = [kept.index("Y"), kept.index("X")]
        order += [i for i, axis in enumerate(kept) if axis in "SC"]
        try:
            pixels = read(self.array[index]).transpose(order)
        except MemoryError:
            raise
        except Exception as error:  # decoders of damaged bytes raise nearly anything
            raise ImageError(
                f"The slide cannot be read at row {key[0].start}, column {key[1].start}: "
                "copy or download it again."
            ) from error
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        if pixels.shape[2] < 3:
            pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
        return np.ascontiguousarray(pixels[:, :, :3][:, :, key[2] if len(key) > 2 else ...])


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """What a reader tells of a slide's file.

    Attributes
    ----------
    levels : tuple of Level
        The finest first.
    um : float or None
        Micrometres a pixel as the file says, plausible or not.
    um_is_deliberate : bool
        False for plain resolution tags.
    notes : tuple of str
    """

    levels: tuple[Level, ...]
    um: float | None = None
    um_is_deliberate: bool = True
    notes: tuple[str, ...] = ()
