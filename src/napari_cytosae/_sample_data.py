"""File > Open Sample: smears drawn in code, deterministic, with ground truth."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_cytosae.synthetic import SyntheticSmear

DEMO_WBC = {
    "neutrophil": 3,
    "band_neutrophil": 1,
    "lymphocyte": 2,
    "monocyte": 1,
    "eosinophil": 1,
    "basophil": 1,
}
"""White cells of the demo smear."""


@cache
def demo_smear() -> SyntheticSmear:
    """The built-in smear: 1024x768 px at 0.1 um, nine white cells of all main types.

    Drawn once: the dock draws it in a worker before napari asks for it.
    """
    from napari_cytosae.synthetic import render_smear

    return render_smear((768, 1024), pixel_size=0.1, seed=7, wbc=DEMO_WBC)


DEMO_PATIENTS = {
    "Synthetic patient A": "synthetic granular",
    "Synthetic patient B": "synthetic control",
}
"""Patients that the built-in head has not seen, and what they have."""


@cache
def demo_patients() -> tuple[tuple[str, SyntheticSmear], ...]:
    """Smears of the synthetic patients, drawn once."""
    from napari_cytosae.synthetic.patients import patient_slides

    return tuple(
        (patient, slide.render())
        for patient, subtype in DEMO_PATIENTS.items()
        for slide in patient_slides(subtype, seed=1)
    )


def patients() -> list[tuple[Any, dict[str, Any], str]]:
    """Napari sample "Synthetic patients": the smears of two, the owner in the metadata."""
    layers = []
    for number, (patient, drawn) in enumerate(demo_patients()):
        data, options, kind = _image_layer(drawn)
        options["name"] = f"{patient}, smear {number % 2 + 1}"
        options["metadata"]["cytosae"]["patient"] = patient
        layers.append((data, options, kind))
    return layers


def smear() -> list[tuple[Any, dict[str, Any], str]]:
    """Napari sample "Synthetic smear": the image and nothing more, as a file would be."""
    return [_image_layer(demo_smear())]


def smear_with_ground_truth() -> list[tuple[Any, dict[str, Any], str]]:
    """Napari sample "Synthetic smear with ground truth": its cells and nuclei as labels."""
    drawn = demo_smear()
    features = drawn.table.rename(columns={"cell_id": "index"})
    return [
        _image_layer(drawn),
        (
            drawn.labels.copy(),
            {"name": "True cells", "features": features, "opacity": 0.4},
            "labels",
        ),
        (drawn.nuclei.copy(), {"name": "True nuclei", "visible": False}, "labels"),
    ]


def _image_layer(drawn: SyntheticSmear) -> tuple[Any, dict[str, Any], str]:
    metadata = {"cytosae": {"pixel_size_um": drawn.pixel_size, "synthetic": True}}
    return (
        drawn.rgb,
        {"name": "Synthetic smear", "rgb": True, "metadata": metadata},
        "image",
    )
