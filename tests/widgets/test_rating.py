"""Blinded rating and agreement of raters, in the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt

from napari_cytosae.core.rating import blinded_order


def test_raters_are_asked_blindly_and_compared(encoded, until):
    session, panel = encoded.session, encoded.concepts_panel
    session.naming.rename(panel.model.concept_at(0), "a telling name")
    controller = next(c for c in encoded._controllers if hasattr(c, "show_agreement"))
    panel.tools.chosen.emit("agreement", "")
    assert "nobody did" in encoded.strip.text
    said = {"Ann": ["nucleus: round", "nucleus: round", "own words"]}
    said["Bo"] = ["nucleus: round", "", "not clear"]
    orders = {}
    for rater in said:
        panel.tools.chosen.emit("rate", "")
        dialog = controller.dialog
        dialog.rater.setText(rater)
        dialog.count.setValue(3)
        dialog.start.click()
        listed = [panel.model.concept_at(row) for row in range(3)]
        orders[rater] = blinded_order(listed, rater)
        for concept in orders[rater]:
            until(lambda: controller.dialog.gallery.model().rowCount() > 0)
            cells = dialog.gallery.model()._cells
            strongest = session.encoded.activations.max[:, concept].toarray()
            assert len(cells) == (strongest > 0).sum()
            assert {(cell.caption, cell.tooltip) for cell in cells} == {("", "")}
            seen = dialog.progress.text() + dialog.windowTitle()
            assert str(concept) not in seen.replace("of 3", "").replace("Concept", "")
            assert "telling" not in seen
            label = said[rater][listed.index(concept)]
            if label == "not clear":
                dialog.unclear.click()
                continue
            if label in dialog._items:
                dialog._items[label].setCheckState(0, Qt.CheckState.Checked)
            else:
                dialog.own.setText(label)
            dialog.next.click()
        assert not dialog.isVisible()
    listed = [panel.model.concept_at(row) for row in range(3)]
    kept = session.naming.names.ratings()
    for rater, labels in said.items():
        assert kept[rater] == {c: s for c, s in zip(listed, labels, strict=True) if s}
    assert session.naming.name_of(listed[0]) == "a telling name"
    panel.tools.chosen.emit("agreement", "")
    window = controller.window
    until(lambda: window.isVisible())
    shown = [window.pairs.item(0, column).text() for column in range(5)]
    assert shown == ["Ann", "Bo", "2", "0.5", "0.33"]
    row = window.tags.findItems("nucleus: round", Qt.MatchFlag.MatchExactly)[0].row()
    shown = [window.tags.item(row, column).text() for column in range(3, 9)]
    assert shown == ["1", "0", "0", "1", "1", "1"]
    differ = [int(window.differ.item(row, 0).text()) for row in range(1)]
    assert differ == [listed[2]]
    window.differ.cellClicked.emit(0, 0)
    assert session.focus.selection.concept == listed[2]
    # Whoever comes back goes on with what was passed over.
    panel.tools.chosen.emit("rate", "")
    controller.dialog.rater.setText("Bo")
    controller.dialog.count.setValue(3)
    controller.dialog.start.click()
    place = orders["Bo"].index(listed[1]) + 1
    assert f"Concept {place} of 3" in controller.dialog.progress.text()
