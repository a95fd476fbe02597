"""Heads on disk: ``head.json``, plain numbers and text, nothing that could be run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cytosae.core import _class_null, _label_null
from napari_cytosae.core._recipes import TRANSFORMS
from napari_cytosae.core.files import atomic_file
from napari_cytosae.core.heads import Head, Part, Profiles
from napari_cytosae.core.types import RESEARCH_USE, CheckpointError

if TYPE_CHECKING:
    from napari_cytosae.core.types import Float64Array

SCHEMA = 1
_FORMAT = "napari-cytosae head"
_ROOTS = ("root_means", "root_deviations")
_TAILS = {
    ("tails", "sizes"): _class_null.STEPS,
    ("label_tails", "label_sizes"): _label_null.STEPS,
}
"""Null distributions of the profiles, and their sizes: steps that each has."""

_LIMITS = ("limit", "fewest_cells", "similarity", "unseen")


def write_head(head: Head, path: Path | str) -> None:
    """Write ``head.json``; the file is whole or not there.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    content: dict[str, Any] = {
        "format": _FORMAT,
        "schema": SCHEMA,
        "note": head.about.get("note", RESEARCH_USE),
        "classes": list(head.classes),
        "sae_sha256": head.sae_sha256,
        "about": head.about,
        **{name: float(getattr(head, name)) for name in _LIMITS},
        "intercept": head.intercept.tolist(),
        "concepts": head.concepts.tolist(),
        "typical": _short(head.typical),
        "parts": [
            {
                "transform": part.transform,
                "reference": _short(part.reference),
                "coefficients": [_short(row) for row in part.coefficients],
            }
            for part in head.parts
        ],
    }
    content["ranges"] = {name: list(pair) for name, pair in head.ranges.items()}
    if head.profiles is not None:
        content["profiles"] = {
            "means": [_short(row) for row in head.profiles.means],
            "deviations": [_short(row) for row in head.profiles.deviations],
            "counts": head.profiles.counts.tolist(),
        }
        for name, size in _TAILS:
            tails, sizes = getattr(head.profiles, name), getattr(head.profiles, size)
            if tails is not None and sizes is not None:
                content["profiles"][name] = [_short(row) for row in tails]
                content["profiles"][size] = sizes.tolist()
        for name in _ROOTS:
            rows = getattr(head.profiles, name)
            if rows is not None:
                content["profiles"][name] = [_short(row) for row in rows]
    with atomic_file(path) as temporary:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_head(path: Path | str) -> Head:
    """Read ``head.json``.

    Raises
    ------
    CheckpointError
        If it is missing, damaged, of a newer version, or no head.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}."
        ) from error
    except ValueError as error:
        raise CheckpointError(
            f"{path} is no head.json: make one with `napari-cytosae train-head`."
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is no head.json: make one with `napari-cytosae train-head`."
        )
    if content.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{path} is of another version of this program: update it or train anew."
        )
    try:
        head = _head(content)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: train it anew.") from error
    if not _fits(head):
        raise CheckpointError(f"{path} is damaged: train it anew.")
    return head


def _head(content: dict[str, Any]) -> Head:
    parts = tuple(
        Part(part["transform"], _array(part["coefficients"]), _array(part["reference"]))
        for part in content["parts"]
    )
    return Head(
        tuple(map(str, content["classes"])),
        np.asarray(content["concepts"], dtype=np.int64),
        parts,
        _array(content["intercept"]),
        float(content["limit"]),
        _array(content["typical"]),
        float(content["fewest_cells"]),
        float(content["similarity"]),
        float(content["unseen"]),
        str(content["sae_sha256"]),
        dict(content["about"]),
        _profiles(content["profiles"]) if "profiles" in content else None,
        {
            str(name): (float(low), float(high))
            for name, (low, high) in content.get("ranges", {}).items()
        },
    )


def _profiles(content: dict[str, Any]) -> Profiles:
    kept: dict[str, Any] = {
        name: _array(content[name])
        for name in ("means", "deviations", *_ROOTS, *(name for name, _ in _TAILS))
        if name in content
    }
    sizes = (size for name, size in _TAILS if name in content)
    for name in ("counts", *sizes):
        kept[name] = np.asarray(content[name], dtype=np.int64)
    return Profiles(**kept)


def _fits(head: Head) -> bool:
    k, c = len(head.concepts), len(head.classes)
    arrays = [head.intercept, head.typical]
    arrays += [
        array for part in head.parts for array in (part.coefficients, part.reference)
    ]
    if head.profiles is not None:
        roots = (getattr(head.profiles, name) for name in _ROOTS)
        kept = [head.profiles.means, head.profiles.deviations]
        kept += [array for array in roots if array is not None]
        if any(array.shape != (c, k) for array in kept) or len(head.profiles.counts) != c:
            return False
        arrays += kept
        for (name, size), steps in _TAILS.items():
            tails, sizes = getattr(head.profiles, name), getattr(head.profiles, size)
            if tails is not None and sizes is not None:
                if tails.shape != (c, steps) or sizes.shape != (c,) or sizes.min() < 0:
                    return False
                arrays.append(tails)
    return (
        c >= 2
        and head.intercept.shape == (c,)
        and head.typical.shape == (k,)
        and all(
            part.transform in TRANSFORMS
            and part.coefficients.shape == (c, k)
            and part.reference.shape == (k,)
            for part in head.parts
        )
        and all(bool(np.isfinite(array).all()) for array in arrays)
    )


def _array(numbers: Any) -> Float64Array:
    return np.asarray(numbers, dtype=np.float64)


def _short(numbers: Float64Array) -> list[float]:
    """Seven digits: what float32 holds, in a third of the space."""
    return [float(f"{number:.7g}") for number in numbers]
