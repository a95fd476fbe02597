"""Builds a catalogue: images in, the published layout out, in one resumable pass."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch

from napari_cytosae.core._statistics import Statistics, label_entropy
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.images import IMAGE_SUFFIXES, read_image
from napari_cytosae.core.types import CytoError, ImageError, Progress

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from napari_cytosae.core.models import Models

INFO_FILE = "catalogue.json"
"""Which SAE and which images a catalogue is of."""

_STATE_FILE = "state.npz"
"""What has been counted so far: a run goes on from it, interrupted or finished."""

_SAVE_EVERY = 512
"""Images after which an interrupted run can go on."""


def labelled_images(sources: Iterable[Path | str]) -> list[tuple[Path, str]]:
    """Collect single-cell images and their labels.

    Parameters
    ----------
    sources : iterable of path-like
        Image files and folders (an image's label is the name of the folder it is in), or
        CSV files with the columns ``image`` (relative to the file) and ``label``.

    Returns
    -------
    list of (path, label)
        Folders in the order of their file names, so that a run can be repeated.

    Raises
    ------
    CytoError
        If a source is missing, a CSV lacks the columns, or nothing is found.
    """
    found: list[tuple[Path, str]] = []
    for source in map(Path, sources):
        if source.is_dir():
            files = (p for p in source.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            found += [(path, path.parent.name) for path in sorted(files)]
        elif source.suffix.lower() == ".csv" and source.is_file():
            found += _from_csv(source)
        elif source.is_file():
            found.append((source, source.absolute().parent.name))
        else:
            raise CytoError(f"{source} does not exist: check the path.")
    if not found:
        raise CytoError("No images are here: give single-cell images or folders of them.")
    return found


def build(
    models: Models,
    images: Sequence[tuple[Path, str]],
    folder: Path | str,
    top: int = 10,
    batch_size: int | None = None,
) -> Generator[Progress, None, Path]:
    """Compute a catalogue in one pass over single-cell images.

    Broken images are skipped and listed in ``catalogue.json``. Images that `folder` has
    been built of by the same models are not encoded again: an interrupted run goes on where
    it was, and new images are added to a finished one. Where an image was changed or is no
    longer wanted, all of it is built anew.

    Parameters
    ----------
    models : Models
        The backbone and SAE.
    images : sequence of (path, label)
        Of `labelled_images`; each image is one crop.
    folder : path-like
        Where the files go.
    top : int
        Images kept for each latent.
    batch_size : int, optional
        Images between two steps; what suits the device by default.

    Yields
    ------
    Progress
        After each batch.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    CytoError
        If no image can be read.
    """
    folder = Path(folder)
    run = _Run.resume(folder / _STATE_FILE, _fingerprint(models, top), images, models, top)
    missing = run.missing(images)
    size = batch_size or models.batch_size
    done, total = len(images) - len(missing), len(images)
    yield Progress("Catalogue", done, total, "images")
    since_save = 0
    for start in range(0, len(missing), size):
        batch = missing[start : start + size]
        crops = []
        for path, label in batch:
            try:
                crops.append(read_image(path).rgb)
            except ImageError as error:
                run.skipped[str(path)] = str(error)
            else:
                run.used.append((str(path), label, _stamp(path)))
        if crops:
            run.statistics.add(models.encode(crops).mean_with_cls)
        since_save += size
        if since_save >= _SAVE_EVERY:
            run.save(folder / _STATE_FILE)
            since_save = 0
        yield Progress("Catalogue", done + start + len(batch), total, "images")
    if not run.used:
        raise CytoError("None of the images could be read: give single-cell images.")
    _write(folder, run, models)
    run.save(folder / _STATE_FILE)
    return folder


@dataclass(slots=True)
class _Run:
    """How far a build has come; all of it can be saved and read back.

    `used` are path, label and stamp of each image; `skipped` says why of each broken one,
    which is tried again every time.
    """

    fingerprint: str
    statistics: Statistics
    used: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    @classmethod
    def resume(
        cls,
        state: Path,
        fingerprint: str,
        images: Sequence[tuple[Path, str]],
        models: Models,
        top: int,
    ) -> _Run:
        """What was saved, where all of it is still wanted; else a new one."""
        statistics = Statistics(models.sae_info.d_sae, top)
        run = cls(fingerprint, statistics)
        if not state.is_file():
            return run
        try:
            # Opened here: numpy leaves a damaged file open.
            with state.open("rb") as f, np.load(f, allow_pickle=False) as saved:
                about = json.loads(str(saved["about"]))
                arrays = {
                    key: saved[key] for key in ("values", "indices", "sums", "counts")
                }
            used = [
                (str(path), str(label), str(stamp)) for path, label, stamp in about["used"]
            ]
            known = about["fingerprint"] == fingerprint
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile):
            return run
        wanted = {(str(path), label) for path, label in images}
        unchanged = all(
            (path, label) in wanted and stamp == _stamp(Path(path))
            for path, label, stamp in used
        )
        if not known or not unchanged:
            return run
        for key, array in arrays.items():
            setattr(statistics, key, array)
        statistics.n_images = len(used)
        return cls(fingerprint, statistics, used)

    def missing(self, images: Sequence[tuple[Path, str]]) -> list[tuple[Path, str]]:
        """Those of `images` not counted yet; one that is listed twice counts twice."""
        counted = Counter((path, label) for path, label, _ in self.used)
        left = []
        for path, label in images:
            if counted[str(path), label]:
                counted[str(path), label] -= 1
            else:
                left.append((path, label))
        return left

    def save(self, state: Path) -> None:
        about = {"fingerprint": self.fingerprint, "used": self.used}
        with atomic_file(state) as temporary:
            np.savez(
                temporary,
                about=np.array(json.dumps(about)),
                values=self.statistics.values,
                indices=self.statistics.indices,
                sums=self.statistics.sums,
                counts=self.statistics.counts,
            )


def _fingerprint(models: Models, top: int) -> str:
    """Of everything but the images that changes the result; precision is the user's."""
    parts = [models.backbone_info.sha256, models.sae_info.sha256, models.layer, top]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp(path: Path) -> str:
    """Changes when the file does."""
    try:
        status = path.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _write(folder: Path, run: _Run, models: Models) -> None:
    """The published files, with the published types, and what they are of."""
    statistics = run.statistics
    classnames = sorted({label for _, label, _ in run.used})
    number = {name: index for index, name in enumerate(classnames)}
    label_of = np.array([number[label] for _, label, _ in run.used], dtype=np.int64)
    labels = label_of[statistics.indices]
    tensors = {
        "max_activating_image_values": statistics.values,
        # Float32 is what the authors wrote; exact up to 16,777,216 images.
        "max_activating_image_indices": statistics.indices.astype(np.float32),
        "max_activating_image_label_indices": labels,
        "sae_mean_acts": statistics.mean_acts,
        "sae_sparsity": statistics.sparsity,
        "top_entropy": label_entropy(statistics.values, labels),
    }
    for name, array in tensors.items():
        with atomic_file(folder / f"{name}.pt") as temporary:
            torch.save(torch.from_numpy(np.ascontiguousarray(array)), temporary)
    info: dict[str, Any] = {
        "sae": {"name": models.sae_info.name, "sha256": models.sae_info.sha256},
        "backbone": {
            "name": models.backbone_info.name,
            "sha256": models.backbone_info.sha256,
        },
        "images": [str(Path(path).absolute()) for path, _, _ in run.used],
        "skipped": [
            {"image": path, "reason": reason} for path, reason in run.skipped.items()
        ],
    }
    with atomic_file(folder / "classnames.txt") as temporary:
        temporary.write_text("".join(f"{name}\n" for name in classnames), encoding="utf-8")
    with atomic_file(folder / INFO_FILE) as temporary:
        text = json.dumps(info, indent=1, ensure_ascii=False)
        temporary.write_text(text, encoding="utf-8")


def _from_csv(path: Path) -> list[tuple[Path, str]]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.DictReader(stream)
        if not {"image", "label"} <= set(rows.fieldnames or ()):
            raise CytoError(f"{path.name} needs the columns image and label.")
        return [(path.parent / row["image"], row["label"] or "") for row in rows]
