"""Copied images are found under any name, and their patients kept together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import tifffile
from PIL import Image as Pillow
from scipy.sparse import csr_array

from napari_cytosae.core._barcode_files import read_barcodes, write_barcodes
from napari_cytosae.core._copies import content_of, copies, kept_together, shared_images
from napari_cytosae.core._labels import cautions
from napari_cytosae.core.drawn import DRAWN, SYNTHETIC
from napari_cytosae.core.images import as_image, read_image
from napari_cytosae.core.patient_cells import PatientCells
from napari_cytosae.core.patients import collect, together


def table(*images: tuple[str, ...], names: str = "ABC", diagnoses: str = "xxy"):
    rng = np.random.default_rng(0)
    return collect(
        [
            PatientCells(
                name,
                csr_array(rng.poisson(1.0, (5, 8)).astype(np.float32)),
                np.ones(5, bool),
                diagnosis=diagnosis,
                images=of,
            )
            for name, diagnosis, of in zip(names, diagnoses, images, strict=True)
        ],
        {},
    )


def test_pixels_are_compared_not_files(tmp_path):
    rgb = np.random.default_rng(0).integers(100, 255, (40, 50, 3), np.uint8)
    Pillow.fromarray(rgb).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", rgb, photometric="rgb")
    Pillow.fromarray(rgb[:, ::-1]).save(tmp_path / "c.png")
    a, b, c = (content_of(read_image(tmp_path / n)) for n in ("a.png", "b.tif", "c.png"))
    assert a == b != c
    found = [(a, "P", "line 2: a"), (b, "Q", "line 3: b"), (c, "P", "d"), (c, "P", "e")]
    first, second = copies([*found, ("", "P", "unreadable"), ("", "Q", "unreadable too")])
    assert first == (
        "line 3: b, of patient Q, shows the same as line 2: a, of patient P: whose is it?"
    )
    assert second == "e shows the same as d: its cells count twice."
    # Files of one name, in folders of two patients.
    (third,) = copies([(a, "P", "1.png"), (a, "Q", "1.png"), (a, "P", "1.png")])
    assert third == (
        "1.png, of patient Q, shows the same as 1.png, of patient P: whose is it?"
    )


def test_patients_who_share_an_image_are_warned_of_and_kept_together(tmp_path):
    made = table(("1", "2"), ("3",), ("2", "4", "4"))
    write_barcodes(made, tmp_path / "b.h5ad")
    read = read_barcodes(tmp_path / "b.h5ad")
    assert read.images == made.images
    (said,) = shared_images(read)
    assert said.startswith("A and C have an image in common, though their diagnoses differ")
    assert said in cautions(read)
    groups = kept_together(read)
    assert groups[0] == groups[2] != groups[1]
    apart = kept_together(replace(read, images=()))
    assert list(apart) == [0, 1, 2]
    assert not shared_images(table(("1",), ("2",), ("3",)))


def test_tables_are_put_together():
    made = table(("1",), ("2",), ("3",))
    parts = [made.rows([row]) for row in range(3)]
    whole = together(parts)
    assert whole.patients == made.patients
    for name in ("values", "low", "high"):
        assert (getattr(whole, name) != getattr(made, name)).nnz == 0
    assert whole.images == made.images
    np.testing.assert_array_equal(whole.n_cells, made.n_cells)


def test_patients_without_known_images_keep_their_place_in_a_table():
    made = table(("1",), ("2", "3"), ("4",))
    unknown = replace(made, images=())
    assert together([unknown, made]).images == ((), (), (), ("1",), ("2", "3"), ("4",))
    assert together([unknown, unknown]).images == ()


def test_one_patient_has_several_samples():
    said = cautions(table(("1",), ("2",), ("3",), names="AAB", diagnoses="xxy"))
    assert said[0].startswith("1 patient has several samples (A)")


def test_drawn_images_are_told_in_the_file(tmp_path):
    rgb = np.full((8, 8, 3), 200, np.uint8)
    plain = as_image(rgb, "a")
    drawn = content_of(replace(plain, notes=(DRAWN,)))
    assert drawn.endswith(content_of(plain))
    made = table((content_of(plain),), (drawn,), ("3",))
    assert made.note == SYNTHETIC
    assert made.rows([0]).note != SYNTHETIC
    write_barcodes(made, tmp_path / "b.h5ad")
    assert read_barcodes(tmp_path / "b.h5ad").record["note"] == SYNTHETIC
