"""Encoded cells on disk, so that a slide opened again is not encoded again.

One file a cell, named by a hash of everything its content follows from: the pixels of the
crop, the models and how they count. A changed cell therefore has another name, and nothing
is ever out of date; what was not used for longest goes when the cache is full.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.types import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_cytosae.core.types import (
        Float16Array,
        Float32Array,
        Int32Array,
        UInt8Array,
    )

FORMAT = 1
"""Counts up when the content of a file changes its meaning; older files are not found."""

LIMIT_VARIABLE = "CYTOSAE_CACHE_MB"
"""Environment variable: megabytes the cache may take; 0 switches it off."""

LIMIT_MB = 4000
"""About 8,000 cells of CytoSAE's size."""

FREE_BYTES = 10**9
"""Left free on the disk: other programs need it more."""

_SUFFIX = ".npz"
_ROOM = 0.9
_ZIP_BYTES = 2000


@dataclass(frozen=True, slots=True, eq=False)
class KeptCell:
    """One cell after the models.

    Attributes
    ----------
    latents : ndarray of int32, (k,)
        The concepts that fire anywhere in the cell, in order.
    values : ndarray of float32, (5, k)
        Their `encoded_cells.STATISTICS`.
    tokens : ndarray of float16, (1 + grid**2, d), or None
    gates : ndarray of float32, (1 + grid**2,), or None
        As in `Encoded`.
    """

    latents: Int32Array
    values: Float32Array
    tokens: Float16Array | None
    gates: Float32Array | None


@dataclass(slots=True, eq=False)
class Cache:
    """Encoded cells in a folder, at most so many bytes of them.

    Nothing here raises: what cannot be read is not there, what cannot be written is left
    out and said in `trouble`.

    Attributes
    ----------
    folder : Path
        Made when the first cell is written; may be shared by several processes.
    limit : int
        In bytes.
    trouble : str
        One sentence once a cell could not be written; nothing more is written then.
    """

    folder: Path
    limit: int
    trouble: str = ""
    _bytes: int | None = field(default=None, init=False, repr=False)

    def read(self, key: str, *, tokens: bool) -> KeptCell | None:
        """Return a cell, or None where it is not here or its file is damaged.

        Parameters
        ----------
        key : str
            Of `cell_key`.
        tokens : bool
            Whether its tokens are wanted; without them it is then of no use.
        """
        path = self._path(key)
        try:
            cell = _load(path, tokens)
        except FileNotFoundError:
            return None
        except Exception:  # parsers of damaged bytes raise nearly anything
            with suppress(OSError):
                path.unlink()
            return None
        if tokens and cell.tokens is None:
            return None
        with suppress(OSError):
            # The time of last use, by which `_make_room` chooses.
            os.utime(path)
        return cell

    def write(self, key: str, cell: KeptCell) -> None:
        """Keep a cell; another process may be writing the same."""
        if self.trouble:
            return
        path = self._path(key)
        arrays: dict[str, Any] = {
            part.name: getattr(cell, part.name)
            for part in fields(cell)
            if getattr(cell, part.name) is not None
        }
        size = _ZIP_BYTES + sum(array.nbytes for array in arrays.values())
        try:
            held = self._make_room(size)
            with atomic_file(path) as temporary:
                np.savez(temporary, **arrays)
            self._bytes = held + path.stat().st_size
        except (OSError, OutputError) as error:
            self.trouble = f"Encoded cells are not kept for next time ({error})"

    def usage(self) -> tuple[int, int]:
        """Number of cells kept, and their bytes."""
        sizes = [size for _, size, _ in self._files()]
        return len(sizes), sum(sizes)

    def clear(self) -> None:
        """Forget all cells."""
        for _, _, path in self._files():
            with suppress(OSError):
                path.unlink()
        self._bytes = None

    def _make_room(self, size: int) -> int:
        """Delete what was not used for longest until `size` more bytes fit; bytes left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(self.folder).free < FREE_BYTES + size:
            raise OSError(f"less than {FREE_BYTES / 1e9:.0f} GB is free on the disk")
        if self._bytes is not None and self._bytes + size <= self.limit:
            return self._bytes
        files = sorted(self._files())
        total = sum(bytes_ for _, bytes_, _ in files)
        if total + size > self.limit:
            # A little more than needed: not every cell looks through the folder.
            for _, bytes_, path in files:
                if total + size <= _ROOM * self.limit:
                    break
                with suppress(OSError):
                    path.unlink()
                total -= bytes_
        return total

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, bytes and path of each cell."""
        with suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    with suppress(OSError):
                        facts = entry.stat()
                        yield facts.st_mtime, facts.st_size, Path(entry.path)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"


def cache_folder() -> Path:
    """Return the folder of the user's cache (``CYTOSAE_HOME``, else the usual place)."""
    home = os.environ.get("CYTOSAE_HOME")
    if home:
        return Path(home) / "encoded"
    import platformdirs

    return Path(platformdirs.user_cache_dir("napari-cytosae")) / "encoded"


def open_cache() -> Cache | None:
    """Return the user's cache; None where ``CYTOSAE_CACHE_MB`` is 0 or no number."""
    try:
        megabytes = float(os.environ.get(LIMIT_VARIABLE, LIMIT_MB))
    except ValueError:
        return None
    return Cache(cache_folder(), int(megabytes * 1e6)) if megabytes > 0 else None


def cell_key(made_by: str, crop: UInt8Array) -> str:
    """Return the name of a cell's file.

    Parameters
    ----------
    made_by : str
        All that the result follows from besides the pixels.
    crop : ndarray of uint8, (h, w, 3)
        RGB, as it goes into the models.
    """
    digest = hashlib.sha256(f"{FORMAT} {made_by} {crop.shape}".encode())
    digest.update(np.ascontiguousarray(crop).data)
    return digest.hexdigest()


def _load(path: Path, tokens: bool) -> KeptCell:
    """Read a cell; the zip's checksums tell whether it is whole."""
    # numpy leaves a file of its own open when it turns out to be none of its kind.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        wanted = {"latents", "values", *(("tokens", "gates") if tokens else ())}
        arrays = {name: file[name] for name in wanted & set(file.files)}
    cell = KeptCell(
        arrays["latents"], arrays["values"], arrays.get("tokens"), arrays.get("gates")
    )
    if cell.values.ndim != 2 or cell.values.shape[1:] != cell.latents.shape:
        raise ValueError(f"{path} holds arrays that do not fit each other")
    return cell
