"""Train the built-in head on synthetic patients: ``python scripts/synthetic_head.py``.

Draws the patients, makes their barcodes with the built-in starter model and trains a head
on them, as anybody would with ``napari-cytosae barcode`` and ``train-head``. It must be
run again whenever the starter's weights change: a head of another SAE is refused. Goes on
where it was killed; the same starter gives the same head.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path

from PIL import Image

from napari_cytosae.core import cohort, heads
from napari_cytosae.core._barcode_files import write_barcodes
from napari_cytosae.core._head_files import write_head
from napari_cytosae.core._head_report import report
from napari_cytosae.core.builtin_head import PATH, SYNTHETIC
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.pipeline import run
from napari_cytosae.synthetic.patients import PIXEL_SIZE, SUBTYPES, patient_slides

FIRST_SEED = 1000
"""Patients of the samples and the tests have smaller ones."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("runs/synthetic-head"))
    parser.add_argument("--patients", type=int, default=14, help="of each subtype")
    parser.add_argument("-o", "--output", type=Path, default=PATH)
    arguments = parser.parse_args()
    listed = _draw(arguments.run, arguments.patients)
    barcodes_file = arguments.run / "barcodes.h5ad"
    settings = cohort.Settings(pixel_size=PIXEL_SIZE)
    # Float32: the same head on every machine.
    models = load_models(device="cpu", precision="float32")
    barcodes = run(
        cohort.build(models, cohort.read_manifest(listed), barcodes_file, settings)
    )
    barcodes = replace(barcodes, record=barcodes.record | {"note": SYNTHETIC})
    write_barcodes(barcodes, barcodes_file)
    head, validation = run(heads.train(barcodes, repeats=3))
    found = report(validation, barcodes.note)
    print(found)
    about = head.about | {"scores": found.as_json()}
    write_head(replace(head, about=about), arguments.output)
    print(arguments.output)


def _draw(folder: Path, patients: int) -> Path:
    """Draw all smears that are not there yet, and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for subtype in SUBTYPES:
        for seed in range(FIRST_SEED, FIRST_SEED + patients):
            patient = f"{subtype} {seed - FIRST_SEED + 1}"
            for number, slide in enumerate(patient_slides(subtype, seed), 1):
                path = folder / f"{patient} {number}.png".replace(" ", "_")
                rows.append((patient, path.name, subtype))
                if not path.exists():
                    Image.fromarray(slide.render().rgb).save(path)
                    print(path.name, flush=True)
    listed = folder / "manifest.csv"
    with listed.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("patient", "image", "diagnosis"), *rows])
    return listed


if __name__ == "__main__":
    main()
