"""What every reader of a file format returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The one plane of pixels in a file, as stored.

    Attributes
    ----------
    pixels : ndarray, (H, W) or (H, W, samples)
        Palette colours looked up, otherwise the values of the file.
    um : float or None
        Micrometres a pixel as the file says, plausible or not.
    um_is_deliberate : bool
        False for plain resolution tags, which mostly hold a printer's or screen's dpi.
    orientation : int
        EXIF and TIFF tag 274, 1 to 8; 1 is upright.
    notes : tuple of str
    """

    pixels: npt.NDArray[Any]
    um: float | None = None
    um_is_deliberate: bool = True
    orientation: int = 1
    notes: tuple[str, ...] = ()
