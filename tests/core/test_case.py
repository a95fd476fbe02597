"""One patient encoded, and what a head says of it, down to the cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow

from napari_cytosae._sample_data import demo_smear
from napari_cytosae.core import case, reading
from napari_cytosae.core.heads import Head, Part
from napari_cytosae.core.images import read_image
from napari_cytosae.core.loading import load_models
from napari_cytosae.core.pipeline import run
from napari_cytosae.core.types import CytoError, ModelMismatchError, NoCellsError
from napari_cytosae.widgets._patient_texts import describe_set

LATENTS = 64


@pytest.fixture(scope="module")
def models(weights):
    return load_models(
        weights / "vit.safetensors", weights / "sae.safetensors", "cpu", "float32"
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("patient")
    rgb = demo_smear().rgb
    for name, part in (("left.png", rgb[:, :520]), ("right.png", rgb[:, 500:])):
        Pillow.fromarray(part).save(folder / name)
    (folder / "bad.png").write_bytes(b"no image")
    return [folder / name for name in ("left.png", "bad.png", "right.png")]


@pytest.fixture(scope="module")
def examined(models, files):
    return run(case.examine(models, "P", files, pixel_size=0.1))


def head(k=LATENTS, **changes):
    rng = np.random.default_rng(0)
    parts = tuple(
        Part(transform, rng.normal(0, 3, (3, k)), rng.random(k) / k)
        for transform in ("fraction", "sqrt")
    )
    made = Head(
        ("a", "b", "c"),
        np.arange(k),
        parts,
        rng.normal(0, 1, 3),
        0.2,
        np.full(k, k**-0.5),
        1.0,
        0.0,
        1.0,
    )
    return replace(made, **changes)


def test_every_row_is_a_cell_of_an_image(examined, models, files):
    assert [image.name for image in examined.images] == ["left.png", "right.png"]
    assert len(examined.problems) == 1
    assert "bad.png" in examined.problems[0]
    assert len(examined) == sum(len(image.encoded) for image in examined.images)
    for row in (0, len(examined) - 1):
        index, inside = examined.where(row)
        image = examined.images[index]
        latents = models.latents([image.crops[inside]])[0, 1:]
        np.testing.assert_allclose(
            examined.counts[[row]].toarray()[0], (latents > 0.2).sum(axis=0), atol=1
        )
    with pytest.raises(IndexError):
        examined.where(len(examined))
    barcodes = examined.barcodes()
    np.testing.assert_allclose(
        barcodes.values.toarray()[0], examined.counts.toarray().mean(axis=0), rtol=1e-6
    )
    assert barcodes.n_images.item() == 2


def test_what_is_encoded_is_not_encoded_again(examined, models, files, monkeypatch):
    known = {i.sha256: (i.cells, i.crops, i.encoded) for i in examined.images}
    monkeypatch.setattr(type(models), "encode_batch", None)
    sources = [files[0], read_image(files[2], 0.1)]
    again = run(case.examine(models, "P", sources, known=known))
    assert (again.counts != examined.counts).nnz == 0


def test_without_a_cell_there_is_no_case(models, files, tmp_path):
    Pillow.new("RGB", (300, 300), (230, 225, 230)).save(tmp_path / "empty.png")
    with pytest.raises(CytoError, match=r"No cells .* of P"):
        run(case.examine(models, "P", [tmp_path / "empty.png", files[1]]))


def test_images_that_are_gone_are_not_images_without_cells(models, tmp_path):
    gone = tmp_path / "gone.png"
    with pytest.raises(
        CytoError, match=r"No image of P can be examined\. .*gone\.png"
    ) as e:
        run(case.examine(models, "P", [gone]))
    assert not isinstance(e.value, NoCellsError)
    Pillow.new("RGB", (300, 300), (230, 225, 230)).save(tmp_path / "empty.png")
    with pytest.raises(NoCellsError, match=r"No cells .* of P: .*\. Besides: .*gone\.png"):
        run(case.examine(models, "P", [tmp_path / "empty.png", gone]))


def test_a_reading_adds_up(examined):
    said = run(reading.read(head(), examined))
    values = said.counts_row()
    direct = said.head.scores(values)[0]
    for label in said.head.classes:
        table = said.waterfall(label, top=5)
        expected = direct[said.head.classes.index(label)]
        assert table["total"].iloc[-1] == pytest.approx(expected, abs=1e-5)
        assert table["contribution"].sum() == pytest.approx(expected, abs=1e-5)
        assert said.score(label) == pytest.approx(expected, abs=1e-5)
    assert said.probabilities.sum() == pytest.approx(1)
    assert said.predicted == said.head.classes[int(direct.argmax())]


def test_what_if_is_the_same_as_a_patient_without_them(examined):
    said = run(reading.read(head(), examined))
    kept = np.ones(len(examined), bool)
    kept[[0, 2]] = False
    expected = said.head.scores(examined.barcodes(kept).values)[0]
    scores, p = said.without(cells={0, 2})
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert p.sum() == pytest.approx(1)
    one = np.ones(len(examined), bool)
    one[0] = False
    change = said.head.scores(said.counts_row())[0] - said.head.scores(
        examined.barcodes(one).values
    )
    np.testing.assert_allclose(said.changes[0], change[0], atol=1e-4)
    concept = int(said.waterfall("a", top=1)["concept"].iloc[1])
    scores, _ = said.without(concepts={concept})
    gone = said.contributions[:, concept]
    np.testing.assert_allclose(
        scores, said.head.scores(said.counts_row())[0] - gone, atol=1e-5
    )


def test_cells_of_a_concept_are_those_that_show_it(examined):
    said = run(reading.read(head(), examined))
    dense = said.counts.toarray()
    concept = int(dense.sum(axis=0).argmax())
    found = said.cells_of(concept)
    assert set(found) == set(np.flatnonzero(dense[:, concept]))
    assert (np.diff(dense[found, concept]) <= 0).all()


def test_flagged_cells_can_be_left_out(examined):
    flagged = replace(examined, ok=np.arange(len(examined)) != 1)
    said = run(reading.read(head(), flagged, leave_out_flagged=True))
    assert list(said.rows) == [i for i in range(len(examined)) if i != 1]
    assert said.table["n_cells"].item() == len(examined) - 1
    tables = [image.cells.table.assign(qc="border") for image in examined.images]
    tables[0].loc[0, "qc"] = "border; smudge"
    images = tuple(
        replace(image, cells=replace(image.cells, table=table))
        for image, table in zip(examined.images, tables, strict=True)
    )
    spared = replace(examined, images=images, ok=np.zeros(len(examined), bool))
    steps = reading.read(head(), spared, leave_out_flagged=True, spared=("border",))
    assert list(run(steps).rows) == list(range(1, len(examined)))
    none = replace(examined, ok=np.zeros(len(examined), bool))
    with pytest.raises(CytoError, match="without cells"):
        run(reading.read(head(), none, leave_out_flagged=True))


def test_a_head_of_another_sae_or_threshold_is_refused(examined):
    with pytest.raises(ModelMismatchError, match="another SAE"):
        run(reading.read(head(sae_sha256="abc"), examined))
    with pytest.raises(ModelMismatchError, match=r"threshold 0\.5"):
        run(reading.read(head(about={"threshold": 0.5}), examined))


def test_a_head_with_some_of_the_concepts_reads_those(examined):
    order = np.array([5, 3, 60])
    said = run(reading.read(head(k=3, concepts=order), examined))
    np.testing.assert_array_equal(
        said.counts.toarray(), examined.counts.toarray()[:, order]
    )
    assert said.score("a") == pytest.approx(said.head.scores(said.counts_row())[0, 0])


def test_how_a_patient_was_examined_is_held_against_the_head(models, files, examined):
    """Also after another field of view, with the cells that are known."""
    parameters = examined.record["parameters"]
    assert not parameters["include_cls"]
    assert parameters["field_of_view_um"] == 25.0
    about = {
        "threshold": 0.2,
        "include_cls": False,
        "cells": "segmentation",
        "field_of_view_um": 25.0,
    }
    said = run(reading.read(head(about=about), examined))
    assert "in training" not in said.reason
    assert said.unknown == []
    known = {i.sha256: (i.cells, i.crops, i.encoded) for i in examined.images}
    closer = run(
        case.examine(models, "P", files, pixel_size=0.1, field_of_view_um=20.0, known=known)
    )
    assert closer.images[0].cells is examined.images[0].cells
    box = closer.images[0].encoded.boxes[0]
    assert box[2] - box[0] == 200
    said = run(reading.read(head(about=about), closer))
    assert "field of view 20.0 um, in training 25.0 um" in said.reason
    said = run(reading.read(head(about={"threshold": 0.2}), closer))
    assert said.unknown == ["CLS token", "how cells are found", "field of view"]
    assert "Not checked, as the head does not tell it: CLS token, how cells" in (
        describe_set(replace(said, table=said.table.assign(reason="")))
    )
