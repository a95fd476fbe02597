"""The columns of the table of concepts, and what they mean."""

from __future__ import annotations

SHOW, NAME = 0, 2
HEADERS = {
    "show": ("", "Click to lay the concept over the slide, at most four at a time"),
    "concept": ("Id", "The latent's number in the SAE"),
    "name": (
        "Name",
        "Double-click or press N to name the concept; in grey, what a catalogue's top "
        "images show",
    ),
    "here": ("Here", "Mean activation over the patches of what is ranked by"),
    "prevalence": (
        "Prev.",
        "Share of the cells in which it fires: of those ranked by and those that they are "
        "compared with",
    ),
    "specificity": (
        "Spec.",
        "How many spreads stronger than in the rest. Cells and patch: against the other "
        "cells of the image; image: against the cells of the other encoded images, or, "
        "where there are none, how unevenly it fires (spread over the cells divided by the "
        "mean); like these: of what most examples share, against the other cells of the "
        "gallery, which it sorts by; patient: against all other encoded cells. Hidden "
        "cells count nowhere",
    ),
    "where": (
        "Where",
        "Part of the cell in which most of its activation lies, and how many percent of "
        "it; all three parts in the tooltip of a row, and as columns",
    ),
    "flags": (
        "!",
        "A always-on, B background, H high magnitude, U unstable",
    ),
    "fdr": (
        "FDR",
        "Of the difference to the rest that Spec. names (Mann-Whitney), 3 cells or more on "
        "either side",
    ),
    "class": ("Class", "What the top images in the catalogues show"),
    "tags": ("Tags", "Of the analyst"),
    "nucleus": ("Nuc.", "Share of its activation in nuclei"),
    "cytoplasm": ("Cyt.", "Share of its activation in cells, outside of nuclei"),
    "outside": ("Out", "Share of its activation outside of all cells"),
}
OPTIONAL = ("flags", "fdr", "class", "tags", "nucleus", "cytoplasm", "outside")
"""Columns that are hidden until the analyst asks for them in the header's menu."""
