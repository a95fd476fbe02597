"""Stacks of labelled smear fields: what the starter's training crops are cut from.

One stack is a folder of arrays that are memory-mapped, so that a run on a small machine
reads only what it crops: ``rgb`` (n, H, W, 3), ``classes`` (n, H, W) with `CLASSES`,
``types`` (n, H, W) with `TYPES` inside white cells of known type, and ``targets``, the
cells that crops are centred on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("background", "rbc_rim", "rbc_centre", "platelet", "cytoplasm", "nucleus")
TYPES = (
    "neutrophil",
    "eosinophil",
    "basophil",
    "lymphocyte",
    "monocyte",
    "blast",
    "promyelocyte",
    "erythroblast",
)
UNKNOWN = 255
HEIGHT, WIDTH = 480, 640

TARGET = np.dtype(
    [("scene", "i4"), ("y", "f4"), ("x", "f4"), ("diameter", "f4"), ("type", "u1")]
)
"""A cell to centre crops on: position and diameter in px, type or `UNKNOWN`."""


@dataclass(frozen=True, eq=False)
class Scenes:
    """Labelled fields of one source.

    Attributes
    ----------
    rgb : ndarray of uint8, (n, H, W, 3)
    classes : ndarray of uint8, (n, H, W)
        Index into `CLASSES`, or `UNKNOWN`.
    types : ndarray of uint8, (n, H, W)
        Index into `TYPES` inside white cells, else `UNKNOWN`.
    targets : ndarray of TARGET, (m,)
        White cells.
    pixel_um : ndarray of float32, (n,)
        Pixel size.
    """

    rgb: np.ndarray
    classes: np.ndarray
    types: np.ndarray
    targets: np.ndarray
    pixel_um: np.ndarray

    def save(self, folder: Path) -> None:
        """Write the stack; a reader finds it only once it is whole."""
        temporary = folder.with_name(folder.name + ".part")
        temporary.mkdir(parents=True, exist_ok=True)
        for name in self.__dataclass_fields__:
            np.save(temporary / f"{name}.npy", getattr(self, name))
        temporary.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> Scenes:
        """Memory-map a stack."""
        return cls(
            *(
                np.load(folder / f"{name}.npy", mmap_mode="r")
                for name in cls.__dataclass_fields__
            )
        )

    def __len__(self) -> int:
        return len(self.rgb)


Sources = list[tuple[Scenes, float]]
"""Stacks, and the share of the crops each gives."""

SHARES = {"synthetic": 0.5, "bccd": 0.4, "chula": 0.1}


def load_sources(folder: Path) -> Sources:
    """The three stacks that `prepare` builds."""
    return [(Scenes.load(folder / name), share) for name, share in SHARES.items()]
