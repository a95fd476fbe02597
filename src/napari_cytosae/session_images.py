"""What is known of each image that a dock has looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_cytosae.core.types import PixelSize
from napari_cytosae.session_found import Found

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_cytosae.core.pyramid import Pyramid
    from napari_cytosae.core.types import Image
    from napari_cytosae.session_values import Place, Verdict


class ImagesSeen:
    """The image in front and the others, each by its sha256; the session announces changes.

    Attributes
    ----------
    front : Image or Pyramid or None
        The image being looked at.
    found : Found
        What is known of it.
    typed_sizes : dict of str to PixelSize
        Pixel sizes that the analyst typed, by the image's sha256.
    """

    def __init__(self) -> None:
        self.front: Image | Pyramid | None = None
        self.found = Found()
        self._elsewhere: dict[str, Found] = {}
        self.typed_sizes: dict[str, PixelSize] = {}

    def look_at(self, image: Image | Pyramid | None) -> bool:
        """Put an image in front, and what was known of it; whether it is another one.

        What was found on the former one is kept for a return. So is the pixel size that
        the analyst typed for either.
        """
        if image is not None and image.sha256 in self.typed_sizes:
            image = replace(image, pixel_size=self.typed_sizes[image.sha256])
        same = (
            image is not None
            and self.front is not None
            and image.sha256 == self.front.sha256
            and image.shape == self.front.shape
        )
        if not same:
            self._leave()
            if image is not None:
                self.found = self._elsewhere.pop(image.sha256, self.found)
        self.front = image
        return not same

    def type_size(self, um: float | None) -> bool:
        """Take the analyst's pixel size for the front image, or (None) take it back.

        Whether the image has another one now: one taken back counts when it is opened.
        """
        if self.front is None:
            return False
        if um is None:
            self.typed_sizes.pop(self.front.sha256, None)
            return False
        self.typed_sizes[self.front.sha256] = PixelSize(um, "user")
        return True

    def everything(self) -> dict[str, Found]:
        """What is known of all images, by their sha256; that in front first."""
        if self.front is None:
            return dict(self._elsewhere)
        here = replace(self.found, image=self.front)
        return {self.front.sha256: here, **self._elsewhere}

    def still_encoded(self, places: Iterable[Place]) -> tuple[Place, ...]:
        """Those of some cells, of any image, that the models have seen."""
        found = self.everything()
        return tuple(
            (sha256, cell)
            for sha256, cell in places
            if sha256 in found and found[sha256].has_encoded(cell)
        )

    def keep(self, sha256: str, found: Found) -> None:
        """Keep what was found on an image elsewhere, for when it is looked at."""
        if self.front is None or self.front.sha256 != sha256:
            self._elsewhere[sha256] = found
        size = None if found.image is None else found.image.pixel_size
        if size is not None and size.source == "user":
            self.typed_sizes[sha256] = size

    def close(self, sha256: str) -> None:
        """Let go of what the models saw of an image elsewhere, tokens and pixels.

        Its cells, corrected or not, and the review list stay; encoding it again is a
        matter of reading the cache.
        """
        found = self._elsewhere.get(sha256)
        if found is not None:
            closed = replace(found, crops=None, encoded=None, image=None)
            self._elsewhere[sha256] = closed

    def judge(
        self, concept: int, cell_ids: Iterable[int], verdict: Verdict, sha256: str | None
    ) -> None:
        """Say of cells of an image, None: of the one in front, whether they show it."""
        if sha256 is None or sha256 not in self._elsewhere:
            self.found = self.found.judged(concept, cell_ids, verdict)
        else:
            found = self._elsewhere[sha256].judged(concept, cell_ids, verdict)
            self._elsewhere[sha256] = found

    def forget_encoded(self) -> None:
        """Let go of what the models made of any of them."""
        self.found = replace(self.found, encoded=None)
        self._elsewhere = {
            key: replace(found, encoded=None) for key, found in self._elsewhere.items()
        }

    def take_over(self, former: ImagesSeen) -> None:
        """Know what another dock, which nobody uses any more, knew; look at none."""
        former._leave()
        self._elsewhere = {**former._elsewhere, **self._elsewhere}
        self.typed_sizes = {**former.typed_sizes, **self.typed_sizes}

    def _leave(self) -> None:
        if self.front is not None and self.found.cells is not None:
            self._elsewhere[self.front.sha256] = replace(self.found, image=self.front)
        self.found = Found()
