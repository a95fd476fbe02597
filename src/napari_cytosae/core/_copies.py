"""Which images patients are made of: a copied image is found again under any name.

A patient whose image is in another's barcode too is known to a head before it is asked.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from napari_cytosae.core.drawn import marked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cytosae.core.case import Case
    from napari_cytosae.core.patients import Barcodes
    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image, Int64Array

_DIGITS = 16
"""Of the hash that is kept: a patient may have thousands of images."""

_NAMED = 5


def content_of(image: Image | Pyramid) -> str:
    """Hash of the pixels, whatever file they come from; of a slide, that of its file."""
    rgb = getattr(image, "rgb", None)
    if rgb is None:
        return marked(image.sha256[:_DIGITS], image.notes)
    digest = hashlib.sha256(repr(rgb.shape).encode())
    digest.update(np.ascontiguousarray(rgb).data)
    return marked(digest.hexdigest()[:_DIGITS], image.notes)


def copies(found: Iterable[tuple[str, str, str]]) -> list[str]:
    """A sentence for each image that shows the same as one before it.

    Parameters
    ----------
    found : iterable of (str, str, str)
        Content, patient, and how the image is called.
    """
    said: list[str] = []
    first: dict[str, tuple[str, str]] = {}
    for content, patient, name in found:
        if not content:
            continue
        owner, former = first.setdefault(content, (patient, name))
        if (owner, former) == (patient, name):
            continue
        if owner == patient:
            said.append(f"{name} shows the same as {former}: its cells count twice.")
        else:
            said.append(
                f"{name}, of patient {patient}, shows the same as {former}, of patient "
                f"{owner}: whose is it?"
            )
    return said


def copies_in(case: Case, others: Iterable[Case]) -> list[str]:
    """A sentence for each image of a patient that he, or another one, shows twice."""
    mine = [
        (image.content, case.patient, f"image {number} ({image.name})")
        for number, image in enumerate(case.images, 1)
    ]
    known = {content for content, _, _ in mine}
    theirs = {
        image.content: (image.content, other.patient, image.name)
        for other in others
        for image in other.images
        if image.content in known
    }
    said = copies([*theirs.values(), *mine])
    return [sentence[0].upper() + sentence[1:] for sentence in said]


def shared_images(barcodes: Barcodes) -> list[str]:
    """A sentence for each two patients that have an image in common."""
    seen: dict[str, list[int]] = {}
    for row, contents in enumerate(barcodes.images):
        for content in dict.fromkeys(contents):
            seen.setdefault(content, []).append(row)
    pairs: dict[tuple[int, int], int] = {}
    for rows in seen.values():
        for row in rows[1:]:
            if barcodes.patients[row] != barcodes.patients[rows[0]]:
                pairs[rows[0], row] = pairs.get((rows[0], row), 0) + 1
    said = []
    for (a, b), count in list(pairs.items())[:_NAMED]:
        what = "an image" if count == 1 else f"{count} images"
        known = {barcodes.diagnosis[a], barcodes.diagnosis[b]}
        torn = "" not in known and len(known) > 1
        classes = ", though their diagnoses differ" if torn else ""
        said.append(
            f"{barcodes.patients[a]} and {barcodes.patients[b]} have {what} in "
            f"common{classes}: they are kept together in all folds; check the manifest."
        )
    if len(pairs) > _NAMED:
        said.append(f"So do {len(pairs) - _NAMED} more pairs of patients.")
    return said


def kept_together(barcodes: Barcodes) -> Int64Array:
    """Group of each row, (n,): samples of a patient, and of those who share an image."""
    names, owner = np.unique(np.array(barcodes.patients, dtype=str), return_inverse=True)
    links = [
        (int(owner[row]), content)
        for row, contents in enumerate(barcodes.images)
        for content in contents
    ]
    column = {content: at for at, content in enumerate({content for _, content in links})}
    places = ([row for row, _ in links], [column[content] for _, content in links])
    shape = (len(names), len(column))
    member = sparse.csr_array((np.ones(len(links)), places), shape)
    groups = connected_components(member @ member.T, directed=False)[1]
    return np.asarray(groups[owner], dtype=np.int64)
