"""Words for what a concept shows, so that two analysts' tags can be compared.

After the ICSH recommendations for the nomenclature and grading of peripheral blood cell
morphology (Palmer et al. 2015, doi:10.1111/ijlh.12327): where it is seen, then what it is.
"""

from __future__ import annotations

VOCABULARY: dict[str, tuple[str, ...]] = {
    "nucleus": (
        "round",
        "indented",
        "bilobed",
        "segmented",
        "hypersegmented",
        "hyposegmented",
        "irregular",
        "eccentric",
        "ring-shaped",
        "multiple",
        "nucleolus",
        "border",
    ),
    "chromatin": ("fine", "coarse", "clumped", "condensed", "smudged"),
    "cytoplasm": (
        "scanty",
        "abundant",
        "basophilic",
        "pale",
        "vacuolated",
        "hypogranular",
        "perinuclear halo",
        "projections",
        "border",
    ),
    "granules": (
        "azurophilic",
        "neutrophilic",
        "eosinophilic",
        "basophilic",
        "toxic",
        "pseudo-Chediak-Higashi",
    ),
    "inclusions": (
        "Auer rod",
        "Döhle body",
        "Howell-Jolly body",
        "basophilic stippling",
        "Pappenheimer body",
        "parasite",
        "crystal",
    ),
    "lineage": (
        "neutrophil",
        "eosinophil",
        "basophil",
        "monocyte",
        "lymphocyte",
        "plasma cell",
        "erythroid",
        "megakaryocyte or platelet",
        "blast of any lineage",
    ),
    "stage": (
        "blast",
        "promyelocyte",
        "myelocyte",
        "metamyelocyte",
        "band",
        "mature",
        "reactive",
        "normoblast",
    ),
    "red cell": (
        "border",
        "central pallor",
        "target cell",
        "schistocyte",
        "spherocyte",
        "elliptocyte",
        "teardrop",
        "sickle cell",
        "echinocyte",
        "polychromasia",
    ),
    "artefact": (
        "smudge cell",
        "stain precipitate",
        "out of focus",
        "overlap",
        "border of the picture",
        "background",
    ),
}
"""Group -> terms; a tag is written ``group: term``."""

TAGS: tuple[str, ...] = tuple(
    f"{group}: {term}" for group, terms in VOCABULARY.items() for term in terms
)
"""All tags of the vocabulary, in its order."""
