"""What step 4 says of a reading: sentences, and a bar a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_cytosae.core.types import RESEARCH_USE
from napari_cytosae.widgets._bars import AGAINST, FOR, TOTAL, Bar
from napari_cytosae.widgets._sentences import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_cytosae.core.reading import Reading


def describe_case(reading: Reading, copied: Sequence[str] = ()) -> str:
    """E.g. ``12 images, 431 cells (6 left out by QC)``, and the first of what is copied."""
    case = reading.case
    text = f"{counted(len(case.images), 'image')}, {counted(len(reading.rows), 'cell')}"
    flagged, left_out = int((~case.ok).sum()), len(case) - len(reading.rows)
    if left_out:
        text += f" ({left_out:,} left out by QC)"
    elif flagged:
        text += f" ({flagged:,} flagged, counted)"
    if case.problems:
        text += f"; {counted(len(case.problems), 'image')} could not be used"
    if copied:
        more = f" So do {len(copied) - 1} more." if len(copied) > 1 else ""
        text += f". {copied[0]}{more}"
    return text


def describe_outdated(names: Sequence[str]) -> str:
    """Why a prediction is to be made again; empty where it need not."""
    if not names:
        return ""
    more = f" and {counted(len(names) - 1, 'other')}" if len(names) > 1 else ""
    return f"The cells of {names[0]}{more} were changed since: predict again."


def describe_went(called: int) -> str:
    """That cells called by hand are no longer counted; empty where none are."""
    if not called:
        return ""
    return (
        f"{counted(called, 'called cell')} went: their images or outlines are others now."
    )


def describe_clumps(clumps: int) -> str:
    """That cells which were not parted count as one, and how many that may be."""
    if not clumps:
        return "Cells that touch and were not parted count as one."
    noun = "cell is" if clumps == 1 else "cells are"
    return f"{clumps:,} {noun} flagged as clump, each counted as one: part them in step 2."


def describe_set(reading: Reading) -> str:
    """The prediction set, and why there is no answer where there is none."""
    classes = [
        c for c, inside in zip(reading.head.classes, reading.in_set, strict=True) if inside
    ]
    text = f"Set at 90 %: {', '.join(classes) or 'no class'}. "
    if reading.reason:
        return f"{text}No answer: {reading.reason}."
    if reading.unknown:
        text += f"Not checked, as the head does not tell it: {', '.join(reading.unknown)}. "
    unchecked = reading.unchecked
    if unchecked:
        return (
            f"{text}Concepts in range of the training data; {', '.join(unchecked)} not "
            "checked, as the head does not know their range."
        )
    return f"{text}In range of the training data."


def short_place(shares: Mapping[str, float]) -> str:
    """Where a concept mostly fires, e.g. ``nuc 82 %``; empty where it is not known."""
    if not shares:
        return ""
    place = max(shares, key=lambda one: shares[one])
    return f"{place[:3]} {100 * shares[place]:.0f} %"


def describe_concept(reading: Reading, concept: int) -> str:
    """Where it fires, and how much of it a mean cell shows."""
    value, low, high = reading.interval(concept)
    text = f"{value:.3g} patches a cell [{low:.3g}, {high:.3g}]"
    shares = reading.place(concept)
    if shares:
        said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items())
        text += f"; {said}"
    return f"{text}."


def describe(reading: Reading) -> str:
    """One line for the strip."""
    p = reading.probabilities.max()
    if reading.reason:
        return f"no answer ({reading.reason})."
    return f"{reading.predicted}, {p:.2f}. {RESEARCH_USE}"


def class_bars(reading: Reading) -> list[Bar]:
    """A bar a class, the most probable first."""
    rows = sorted(
        zip(reading.head.classes, reading.probabilities, reading.in_set, strict=True),
        key=lambda row: -row[1],
    )
    return [
        Bar(
            name,
            name,
            0.0,
            float(p),
            f"{p:.2f}" + (" in set" if inside else ""),
            (AGAINST if reading.reason else FOR) if inside else TOTAL,
            f"{name}: probability {p:.3f}"
            + (", in the prediction set at 90 %" if inside else ""),
        )
        for name, p, inside in rows
    ]
