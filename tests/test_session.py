"""The session: what depends on what, and which events go out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core.types import Cells, Crops, Encoded, Image, PixelSize
from napari_cytosae.session import Session
from napari_cytosae.session_found import Found, how_found
from napari_cytosae.session_steps import state_of
from napari_cytosae.session_values import (
    CellSettings,
    Look,
    ModelChoice,
    Selection,
)


def image(name="a", um=0.1, source="metadata"):
    rgb = np.zeros((20, 30, 3), np.uint8)
    return Image(rgb, name, PixelSize(um, source), sha256=name)


def cells(n=3, qc=None):
    table = pd.DataFrame({"cell_id": range(1, n + 1), "qc": qc or ["ok"] * n})
    blank = np.zeros((20, 30), np.int32)
    return Cells(blank, blank, table, PixelSize(0.1, "metadata"))


def encoded(ids=(1, 2, 3), complete=True):
    return Encoded(None, None, None, np.zeros((len(ids), 4)), np.array(ids), complete)


def crops():
    return Crops((), np.zeros((0, 4), int), np.zeros(0, int), 25.0, "metadata")


class Names(dict):
    def get(self, concept, default=""):
        return super().get(concept, default)

    def set(self, concept, name):
        self[concept] = name


class Infos:
    class sae_info:
        sha256 = "s"


@pytest.fixture
def full():
    session = Session()
    session.set_image(image())
    session.set_cells(cells(), session.settings)
    session.set_models(Infos(), Names({7: "granules"}))
    session.set_encoded(encoded(), crops(), session.settings.field_of_view_um)
    session.focus.select_cells((2,), (3, 4))
    session.focus.select_concept(7)
    session.overlays.show(7)
    return session


@pytest.fixture
def heard(full):
    events = []
    signals = {
        name: getattr(full, f"{name}_changed")
        for name in ("cells", "encoded", "models", "choice")
    }
    signals["overlays"] = full.overlays.changed
    signals["selection"] = full.focus.selection_changed
    for name, signal in signals.items():
        signal.connect(lambda value, name=name: events.append((name, value)))
    return events


def empty(session):
    return (
        session.encoded is None
        and session.focus.selection.cell_ids == ()
        and session.focus.selection.patch is None
        and set(session.overlays.slots) == {None}
    )


def test_new_cells_let_go_of_what_the_old_ones_made(full):
    full.set_cells(cells(5), full.settings)
    assert empty(full)
    assert full.models is not None


def test_a_correction_lets_go_of_the_verdicts_on_changed_cells_only(full):
    full.review.judge(7, [1, 2, 3], "accept")
    full.review.judge(9, [1], "reject")
    settings = full.found.settings
    full.set_found(full.found.corrected(cells(2), [2], {}))
    assert full.review.here() == [(7, 1, "accept"), (9, 1, "reject")]
    assert full.encoded is None
    assert full.found.settings == settings
    full.set_cells(cells(2), settings)
    assert full.review.here() == []


def test_what_was_corrected_by_hand_is_counted(full):
    full.set_cells(cells(4), CellSettings(kinds=("wbc", "rbc")))
    assert full.found.as_parameters() == {"cells": "segmentation", "kinds": ["wbc", "rbc"]}
    box = 0, 0, 9, 9
    full.set_found(full.found.corrected(cells(5), [1, 5], {}))
    full.set_found(full.found.corrected(cells(6), [5, 6], {}))
    full.set_found(full.found.corrected(cells(3), [], {4: box, 5: box, 6: box}))
    # 5 and 6 were added and are gone: only 4 is missing of what was found.
    assert full.found.as_parameters() == {
        "cells": "segmentation, corrected by hand",
        "kinds": ["wbc", "rbc"],
        "cells_added": 0,
        "cells_changed": 1,
        "cells_removed": 1,
    }
    # What comes back to its place, as by undo, is not new.
    full.set_found(full.found.corrected(cells(5), [4, 5], {6: box}))
    counts = full.found.as_parameters()
    assert [counts[f"cells_{what}"] for what in ("added", "changed", "removed")] == [
        1,
        2,
        0,
    ]
    both = how_found([full.found, Found(cells(2), CellSettings("labels"))])
    assert both["cells"] == "segmentation, corrected by hand; labels"
    assert both["cells_changed"] == 2


def test_other_models_let_go_of_what_the_former_made(full):
    full.choose(ModelChoice(sae="cytosae"))
    assert empty(full)
    assert full.focus.selection == Selection()
    assert full.models is None
    assert full.naming.names is None
    assert full.cells is not None


def test_other_models_also_reach_images_that_are_not_looked_at(full):
    full.set_image(image("b"))
    full.choose(ModelChoice(sae="cytosae"))
    full.set_image(image("a"))
    assert full.cells is not None
    assert full.encoded is None


def test_everything_is_in_place_before_the_first_event(full):
    seen = []
    full.cells_changed.connect(lambda _: seen.append(empty(full)))
    full.encoded_changed.connect(lambda _: seen.append(empty(full)))
    full.set_cells(cells(5), full.settings)
    assert seen == [True, True]


def test_what_was_found_on_an_image_comes_back_with_it(full):
    before = (full.cells, full.encoded, full.crops)
    full.set_image(image("b"))
    assert full.cells is None
    assert empty(full)
    full.set_image(None)
    full.set_image(image("a"))
    assert (full.cells, full.encoded, full.crops) == before


def test_what_was_ticked_on_one_image_is_ticked_on_the_next(full, heard):
    shown = full.overlays.slots
    full.set_image(image("b"))
    assert heard[-1] == ("overlays", (None,) * 4)
    full.set_cells(cells(), full.settings)
    full.set_encoded(encoded(), crops(), 25.0)
    assert heard[-1] == ("overlays", shown)
    assert full.focus.selection == Selection(concept=7)
    full.choose(ModelChoice(sae="cytosae"))
    full.set_models(Infos(), Names())
    full.set_encoded(encoded(), crops(), 25.0)
    assert set(full.overlays.slots) == {None}


def test_the_settings_are_those_of_the_image_that_is_looked_at(full):
    full.set_image(image("b"))
    full.set_settings(CellSettings(kinds=("wbc", "rbc")))
    full.set_image(image("c"))
    assert full.settings.kinds == ("wbc", "rbc")
    full.set_image(image("a"))
    assert full.settings.kinds == ("wbc",)
    assert state_of(full, "cells") == "done"


def test_a_new_session_goes_on_where_the_former_was_left(full):
    full.set_hide_flagged(True)
    full.set_spared(["border"])
    full.type_pixel_size(0.3)
    shown, found = full.overlays.slots, full.encoded
    for opened in (None, image("a")):
        session = Session()
        session.set_image(opened)
        session.take_over(full)
        session.set_image(image("a"))
        assert session.encoded is found
        assert session.overlays.slots == shown
        assert session.image.pixel_size.um == 0.3
        assert session.models is not None
        assert session.hide_flagged
        assert session.spared == {"border"}
        full = session


def test_another_pixel_size_keeps_the_cells_and_asks_for_attention(full, heard):
    now = full.image
    full.set_image(replace(now, pixel_size=PixelSize(0.2, "user")))
    assert full.encoded is not None
    assert heard == []
    assert state_of(full, "cells") == "attention"


@pytest.mark.parametrize(
    "settings",
    [CellSettings("single_cell"), CellSettings(kinds=("wbc", "rbc"))],
)
def test_other_settings_ask_for_attention_until_the_next_run(full, settings):
    assert state_of(full, "cells") == "done"
    full.set_settings(settings)
    assert state_of(full, "cells") == "attention"
    full.set_cells(cells(), full.settings)
    assert state_of(full, "cells") == "done"


def test_results_remember_the_settings_they_were_made_with(full):
    began_with = CellSettings(kinds=("wbc", "rbc"), field_of_view_um=30.0)
    full.set_settings(CellSettings(kinds=("wbc",)))
    full.set_cells(cells(), began_with)
    full.set_encoded(encoded(), crops(), began_with.field_of_view_um)
    assert full.found.settings == began_with
    assert (state_of(full, "cells"), state_of(full, "concepts")) == ("attention",) * 2


def test_another_crop_asks_for_encoding_again(full):
    full.set_settings(CellSettings(field_of_view_um=30.0))
    assert (state_of(full, "cells"), state_of(full, "concepts")) == ("done", "attention")
    full.set_encoded(encoded(), crops(), full.settings.field_of_view_um)
    assert state_of(full, "concepts") == "done"


def test_a_part_asks_for_attention(full):
    full.set_encoded(
        encoded((1, 2), complete=False), crops(), full.settings.field_of_view_um
    )
    assert state_of(full, "concepts") == "attention"


def test_four_slots_with_their_own_colours(full):
    for concept in (8, 9, 10):
        assert full.overlays.show(concept)
    assert not full.overlays.show(11)
    assert full.overlays.show(9)
    assert [o.concept for o in full.overlays.slots] == [7, 8, 9, 10]
    assert [o.colour for o in full.overlays.slots] == ["cyan", "yellow", "lime", "magenta"]
    full.overlays.hide(8)
    assert full.overlays.show(11)
    assert full.overlays.slot_of(11) == 1


def test_a_concept_keeps_its_look_in_another_slot(full):
    full.overlays.restyle(7, Look(opacity=0.3, threshold=0.2))
    full.overlays.show(8)
    full.overlays.show(7, slot=1)
    assert full.overlays.slots[0] is None
    assert full.overlays.slot_of(8) is None
    moved = full.overlays.slots[1]
    assert (moved.concept, moved.colour) == (7, "yellow")
    assert (moved.opacity, moved.threshold, moved.smooth) == (0.3, 0.2, False)


def test_no_event_without_a_change(full, heard):
    full.focus.select_concept(7)
    full.focus.select_cells((2,), (3, 4))
    full.overlays.show(7)
    full.overlays.hide(99)
    full.overlays.restyle(7, Look(visible=True))
    full.choose(ModelChoice())
    assert heard == []


def test_hidden_cells_are_left_out_of_rows(full):
    full.set_cells(cells(3, ["ok", "border", "ok"]), full.settings)
    full.set_encoded(encoded((1, 2, 3)), crops(), full.settings.field_of_view_um)
    assert list(full.rows()) == [0, 1, 2]
    full.set_hide_flagged(True)
    assert list(full.rows()) == [0, 2]
    assert list(full.rows((2, 3))) == [2]


def test_names(full):
    changes = []
    full.naming.changed.connect(lambda: changes.append(1))
    assert full.naming.title_of(7) == "7 granules"
    assert full.naming.title_of(8) == "8"
    full.naming.rename(7, "granules")
    assert changes == []
    full.naming.rename(8, "rim")
    assert full.naming.title_of(8) == "8 rim"
    assert changes == [1]


def test_what_is_shown_last_lies_over_the_others(full, heard):
    full.overlays.show(8)
    full.overlays.restyle(7, Look(visible=False))
    assert full.overlays.front == 8
    heard.clear()
    assert full.overlays.show(7)
    assert full.overlays.front == 7
    assert full.overlays.slots[0].visible
    assert [o.concept for o in full.overlays.slots if o] == [7, 8]
    assert [what for what, _ in heard] == ["overlays"]
    assert full.overlays.show(8)
    assert (full.overlays.front, len(heard)) == (8, 2)
