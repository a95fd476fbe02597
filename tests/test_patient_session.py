"""The state of step 4, without Qt and napari."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from napari_cytosae.patient_session import PatientImage, PatientSession, WhatIf


def images(*names):
    return [PatientImage(name, f"/data/{name}") for name in names]


def said(patient, head, case=None):
    """What the session looks at of a reading."""
    case = case or SimpleNamespace(patient=patient, problems=(), cell_ids=(), images=())
    return SimpleNamespace(case=case, head=head, predicted="x", reason="")


@pytest.fixture
def session():
    made = PatientSession()
    a, b, c = images("a", "b", "c")
    made.assign([(a, "P"), (b, "Q"), (c, "P"), *((i, "") for i in images("d"))])
    return made


def test_images_are_assigned(session):
    assert session.patients == ("P", "Q")
    assert [image.name for image in session.images_of("P")] == ["a", "c"]
    assert session.current == "P"
    assert session.state == "todo"


def test_a_reading_is_kept_until_its_images_change(session):
    head = object()
    session.set_head(head)
    for patient in ("P", "Q"):
        session.set_reading(said(patient, head))
    assert session.label == "x"
    assert session.state == "done"
    session.call([0], "blast")
    a, b, c = images("a", "b", "c")
    session.assign([(a, "P"), (b, "Q"), (c, "Q")])
    assert session.reading is None
    assert session.types == {}
    session.assign([(a, "R")])
    assert session.current == "R"


def test_another_head_keeps_the_cells(session):
    first, second = object(), object()
    session.set_head(first)
    session.set_reading(said("P", first))
    case = session.case
    session.set_head(second)
    assert session.reading is None
    assert session.case is case
    session.set_reading(said("P", first))  # late, of the former head
    assert session.reading is None
    session.forget_cells()
    assert session.case is None


def test_what_is_left_out_is_of_one_patient(session):
    head, seen = object(), []
    session.set_head(head)
    session.set_reading(said("P", head))
    session.what_if_changed.connect(seen.append)
    session.leave_out(concepts=[3])
    session.leave_out(cells=[1, 2])
    session.leave_out(cells=[2, 1])
    assert seen == [
        WhatIf(frozenset({3})),
        WhatIf(frozenset({3}), frozenset({1, 2})),
    ]
    session.look_at("Q")
    assert not session.what_if


def test_types_are_called_and_taken_back(session):
    head = object()
    session.set_head(head)
    session.set_reading(said("P", head))
    session.call([4], "blast")
    session.call([5], "monocyte")
    session.call([4], "")
    assert session.types == {5: "monocyte"}
    session.look_at("Q")
    assert session.types == {}


def seen(sha256, areas):
    """An image of a case: cells 1, 2, ... of these areas."""
    ids = list(range(1, len(areas) + 1))
    table = pd.DataFrame({"cell_id": ids, "area_px": areas})
    for column in ("bbox_y0", "bbox_x0", "bbox_y1", "bbox_x1"):
        table[column] = ids
    return SimpleNamespace(
        sha256=sha256,
        name=sha256,
        content="",
        cells=SimpleNamespace(table=table),
        encoded=SimpleNamespace(cell_ids=ids),
    )


def test_calls_follow_their_cells_and_those_of_others_are_counted(session):
    head = object()
    session.set_head(head)

    def read(patient, *images):
        case = SimpleNamespace(patient=patient, problems=(), images=images)
        return session.set_reading(said(patient, head, case))

    assert read("P", seen("a", [50, 60]), seen("c", [70])) == 0
    session.call([0, 1, 2], "blast")
    # Another field of view: the same cells are encoded anew.
    session.forget_cells()
    assert session.types == {}
    assert read("P", seen("a", [50, 60]), seen("c", [70])) == 0
    assert session.types == {0: "blast", 1: "blast", 2: "blast"}
    # An image before the others, one cell painted larger.
    a, b, c, d = images("a", "b", "c", "d")
    session.assign([(d, "P"), (a, "P"), (c, "P"), (b, "Q")])
    assert read("P", seen("d", [9]), seen("a", [50, 61]), seen("c", [70])) == 1
    assert session.types == {1: "blast", 3: "blast"}
    # An image that goes to another patient takes its calls along.
    session.assign([(d, "P"), (a, "P"), (c, "Q"), (b, "Q")])
    assert read("P", seen("d", [9]), seen("a", [50, 61])) == 1
    assert session.types == {1: "blast"}
    assert read("Q", seen("c", [70]), seen("b", [1])) == 0
    session.look_at("Q")
    assert session.types == {0: "blast"}
