"""Which concepts are laid over the slide, each in a slot with a colour of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_cytosae.session_values import OVERLAY_COLOURS, Look, Overlay, placed, slot_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOTHING: tuple[Overlay | None, ...] = (None,) * len(OVERLAY_COLOURS)


class Overlays:
    """Evented; what is ticked on one image is ticked on the next one too.

    While there are no activations to draw (see `allow`) nothing is shown, and what was
    ticked is kept.
    """

    changed = Signal(object)

    def __init__(self) -> None:
        self._ticked = _NOTHING
        self._front: int | None = None
        self._allowed = False

    @property
    def slots(self) -> tuple[Overlay | None, ...]:
        """One entry a slot; None where a slot is free, or nothing is there to be shown."""
        return self._ticked if self._allowed else _NOTHING

    @property
    def ticked(self) -> tuple[Overlay | None, ...]:
        """As `slots`, also while there is nothing to be shown."""
        return self._ticked

    @property
    def front(self) -> int | None:
        """The concept that was shown last, which lies over the others; None at first."""
        return self._front

    def slot_of(self, concept: int) -> int | None:
        """The slot that shows a concept, or None."""
        return slot_of(self.slots, concept)

    def show(self, concept: int, slot: int | None = None) -> bool:
        """Lay a concept over the slide and all others; False when all slots are taken.

        `slot`, and so the colour, is the first free one by default; what a given one holds
        makes room.
        """
        there = slot_of(self._ticked, concept)
        if slot is None and there is None and None not in self._ticked:
            return False
        moved, self._front = self._front != concept, concept
        if slot is None and there is not None:
            shown = self._restyled(concept, Look(visible=True))
        else:
            chosen = self._ticked.index(None) if slot is None else slot
            shown = placed(self._ticked, concept, chosen)
        if not self._set(shown) and moved:
            self.announce()
        return True

    def put(self, slot: int, overlay: Overlay) -> None:
        """Show an overlay in a slot just as it is."""
        self.show(overlay.concept, slot)
        self._set(overlay if i == slot else each for i, each in enumerate(self._ticked))

    def hide(self, concept: int) -> None:
        """Take a concept off the slide."""
        self._set(
            None if o is not None and o.concept == concept else o for o in self._ticked
        )

    def restyle(self, concept: int, look: Look) -> None:
        """Change how a shown concept looks."""
        self._set(self._restyled(concept, look))

    def allow(self, allowed: bool) -> None:
        """Say whether there is anything to draw; the session announces it."""
        self._allowed = allowed

    def forget(self) -> None:
        """Tick nothing any more; the session announces it."""
        self._ticked, self._front = _NOTHING, None

    def take_over(self, former: Overlays) -> None:
        """Tick what was ticked elsewhere; the session announces it."""
        self._ticked, self._front = former._ticked, former._front

    def announce(self) -> None:
        """Send the event of a change made above."""
        self.changed.emit(self.slots)

    def _restyled(self, concept: int, look: Look) -> Iterable[Overlay | None]:
        return (
            look.applied_to(o) if o is not None and o.concept == concept else o
            for o in self._ticked
        )

    def _set(self, overlays: Iterable[Overlay | None]) -> bool:
        new = tuple(overlays)
        changed = new != self._ticked
        if changed:
            self._ticked = new
            self.announce()
        return changed
