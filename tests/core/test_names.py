"""Tags, notes, stars and ratings: kept, taken back, carried to a colleague and compared."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from napari_cytosae.core import _name_file
from napari_cytosae.core.concepts import Annotation, ConceptNames
from napari_cytosae.core.name_exchange import (
    export_names,
    merge_files,
    merge_names,
    read_ratings,
)
from napari_cytosae.core.rating import (
    UNCLEAR,
    agreement,
    agreement_by_tag,
    blinded_order,
    disagreements,
)
from napari_cytosae.core.types import CytoError
from napari_cytosae.core.vocabulary import TAGS, VOCABULARY

SHIPPED = {1: "nucleus", 2: "granules"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "names.json"


@pytest.fixture
def names(path):
    return ConceptNames("aaa", SHIPPED, path)


def test_everything_said_is_kept_and_found(names, path):
    names.set(7, "Auer rods")
    names.set_tags(7, ["inclusions: Auer rod", " stage: blast ", "stage: blast", ""])
    names.set_note(7, "seen in\npatient 4\x00\n")
    names.set_star(7, True)
    names.set_tags(2, ["granules: toxic"])
    again = ConceptNames("aaa", SHIPPED, path)
    said = again.annotation(7)
    assert said.name == "Auer rods"
    assert said.tags == ("inclusions: Auer rod", "stage: blast")
    assert said.note == "seen in\npatient 4"
    assert said.star
    assert again.annotation(2).name == "granules"
    assert list(again.annotations()) == [1, 2, 7]
    assert [e["field"] for e in again.history(7)] == ["names", "tags", "notes", "stars"]
    assert ConceptNames("bbb", {}, path).annotations() == {}


def test_undo_takes_back_one_change_after_the_other(names, path):
    names.set(7, "first")
    names.set(7, "second")
    names.set_star(3, True)
    assert [e["field"] for e in names.undo()] == ["stars"]
    assert not names.annotation(3).star
    assert names.undo()[0]["new"] == "second"
    assert names.get(7) == "first"
    names.set_note(7, "a note")
    names.undo()
    names.undo()
    assert names.annotation(7) == names.annotation(99)
    assert names.undo() == []
    # Nothing was lost on the way: the history has all of it.
    values = [e["new"] for e in ConceptNames("aaa", SHIPPED, path).history(7)]
    assert values == ["first", "second", "first", "a note", "", ""]


def test_undo_leaves_another_saes_words_alone(names, path):
    other = ConceptNames("bbb", {}, path)
    names.set(1, "mine")
    other.set(1, "theirs")
    names.undo()
    assert names.get(1) == "nucleus"
    assert ConceptNames("bbb", {}, path).get(1) == "theirs"


def test_names_of_the_first_version_are_read_and_kept(path):
    old = {"time": "2025-01-01T00:00:00+00:00", "sae": "aaa", "concept": 5}
    content = {
        "schema": 1,
        "names": {"aaa": {"5": "rim"}, "bbb": {"6": "halo"}},
        "history": [old | {"old": "", "new": "edge"}, old | {"old": "edge", "new": "rim"}],
    }
    path.write_text(json.dumps(content))
    names = ConceptNames("aaa", {}, path)
    assert names.get(5) == "rim"
    assert json.loads(path.read_text())["schema"] == 1
    assert names.undo()[0]["new"] == "rim"
    assert names.get(5) == "edge"
    assert json.loads(path.read_text())["schema"] == 2
    assert ConceptNames("bbb", {}, path).get(6) == "halo"
    assert len(names.history()) == 3


@pytest.mark.parametrize(
    "broken",
    [
        {"tags": {"aaa": {"1": "not a list"}}},
        {"stars": {"aaa": {"1": "yes"}}},
        {"ratings": {"aaa": {"me": {"x": "round"}}}},
        {"history": [{"sae": "aaa", "concept": 1, "field": "colour", "step": 0}]},
    ],
)
def test_damage_in_any_part_is_noticed(names, path, broken):
    names.set_star(1, True)
    content = json.loads(path.read_text()) | broken
    path.write_text(json.dumps(content))
    with pytest.raises(CytoError, match="damaged and were left"):
        ConceptNames("aaa", {}, path)
    with pytest.raises(CytoError, match="damaged"):
        names.set_note(1, "x")
    assert json.loads(path.read_text()) == content


# --- exchange -------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_a_colleague_gets_all_of_it(names, tmp_path, suffix):
    names.set(7, 'Auer "rods", long')
    names.set_tags(7, ["inclusions: Auer rod", "stage: blast"])
    names.set_note(7, "two\nlines")
    names.set_star(1, True)
    sent = export_names(names, tmp_path / f"sent{suffix}")
    theirs = ConceptNames("aaa", SHIPPED, tmp_path / "theirs.json")
    merged = merge_names(theirs, sent)
    assert merged.conflicts == ()
    assert merged.added == 4
    assert theirs.annotations() == names.annotations()
    # Once more is nothing new, and one undo takes the import back.
    assert merge_names(theirs, sent).added == 0
    assert len(theirs.undo()) == 4
    assert (
        theirs.annotations() == ConceptNames("aaa", SHIPPED, tmp_path / "no").annotations()
    )


def test_conflicts_keep_ours_and_are_said(names, tmp_path):
    theirs = ConceptNames("aaa", SHIPPED, tmp_path / "theirs.json")
    for who, name, tag in ((names, "rods", "stage: blast"), (theirs, "needles", "x")):
        who.set(7, name)
        who.set_tags(7, [tag])
    theirs.set(2, "coarse granules")
    theirs.rate("Ann", {7: "chromatin: fine", 8: UNCLEAR})
    names.rate("Ann", {7: "chromatin: coarse"})
    merged = merge_names(names, export_names(theirs, tmp_path / "sent.json"))
    assert merged.conflicts == (
        (7, "names", "rods", "needles"),
        (7, "rating of Ann", "chromatin: coarse", "chromatin: fine"),
    )
    # What the SAE calls it gives way to what anybody does.
    assert names.get(2) == "coarse granules"
    assert "2 in conflict (7: 'rods' stands, theirs was 'needles'; 7: '" in str(merged)
    assert names.get(7) == "rods"
    assert names.annotation(7).tags == ("stage: blast", "x")
    assert names.ratings() == {"Ann": {7: "chromatin: coarse", 8: UNCLEAR}}
    kept = [e for e in names.history() if e.get("conflict")]
    assert {(e["old"], e["new"], e["source"]) for e in kept} == {
        ("rods", "needles", "sent.json"),
    }
    names.undo()  # the tags; conflicts changed nothing
    assert names.annotation(7).tags == ("stage: blast",)


def test_files_of_several_people_become_one(names, tmp_path):
    sent = []
    for who, word, tag in (("ann", "rods", "stage: blast"), ("bo", "needles", "x")):
        own = ConceptNames("aaa", SHIPPED, tmp_path / f"{who}.own.json")
        own.set(7, word)
        own.set_tags(7, [tag])
        own.rate(who, {7: tag})
        sent.append(export_names(own, tmp_path / f"{who}.json"))
    merged = merge_files(sent, tmp_path / "both.json")
    assert [each.added for each in merged.values()] == [2, 1]
    assert merged[sent[1]].conflicts == ((7, "names", "rods", "needles"),)
    both = ConceptNames("aaa", SHIPPED, tmp_path / "own.json")
    merge_names(both, tmp_path / "both.json")
    said = both.annotation(7)
    assert (said.name, said.tags) == ("rods", ("stage: blast", "x"))
    assert both.ratings() == {"ann": {7: "stage: blast"}, "bo": {7: "x"}}
    assert names.annotations() == {c: Annotation(n) for c, n in SHIPPED.items()}
    table = merge_files(sent, tmp_path / "both.csv")
    assert [each.added for each in table.values()] == [2, 1]
    with pytest.raises(CytoError, match="do not say which SAE"):
        merge_files([tmp_path / "both.csv"], tmp_path / "again.json")


def test_files_that_are_no_names_are_refused(names, tmp_path):
    with pytest.raises(CytoError, match="no file"):
        merge_names(names, tmp_path / "nowhere.json")
    table = tmp_path / "table.csv"
    table.write_text("id,name\n1,x\n")
    with pytest.raises(CytoError, match="needs the columns concept, name"):
        merge_names(names, table)
    table.write_text("concept,name\none,x\n")
    with pytest.raises(CytoError, match="whole numbers"):
        merge_names(names, table)
    other = ConceptNames("bbb", {}, tmp_path / "other.json")
    other.set(1, "x")
    with pytest.raises(CytoError, match=r"nothing about this SAE \(aaa\), only about: bbb"):
        merge_names(names, other.path)


@pytest.mark.parametrize("number", ["-4", "1.5", "40", "99999999999999999999"])
def test_concepts_that_an_sae_does_not_have_are_refused_before_anything_is_kept(
    path, tmp_path, number
):
    names = ConceptNames("aaa", SHIPPED, path, d_sae=40)
    names.set(1, "mine")
    before = path.read_bytes()
    table = tmp_path / "table.csv"
    table.write_text(f"concept,name\n2,good\n{number},x\n")
    with pytest.raises(CytoError, match=r"no concept \d+: .* 0 to 39|numbers from 0 on"):
        merge_names(names, table)
    theirs = ConceptNames("aaa", {}, tmp_path / "theirs.json")
    theirs.set(2, "good")
    theirs.rate("Bo", {40: "round"})
    with pytest.raises(CytoError, match="no concept 40"):
        merge_names(names, theirs.path)
    for change in (
        lambda: names.set(-4, "x"),
        lambda: names.change([(2, "names", "good"), (40, "stars", True)]),
        lambda: names.rate("Bo", {-1: "x"}),
    ):
        with pytest.raises(CytoError, match="no concept"):
            change()
    assert path.read_bytes() == before
    assert names.annotations() == ConceptNames("aaa", SHIPPED, path).annotations()


def test_what_could_not_be_read_again_is_not_written(path):
    ConceptNames("aaa", {}, path).set(1, "mine")
    before = path.read_bytes()
    content = _name_file.read(path)
    content["names"]["aaa"]["-4"] = "x"
    with pytest.raises(CytoError, match="left as it is"):
        _name_file.write(path, content)
    assert path.read_bytes() == before


def test_files_that_say_nothing_are_merged(path, tmp_path):
    silent = export_names(ConceptNames("aaa", {}, path), tmp_path / "silent.json")
    merged = merge_files([silent, silent], tmp_path / "both.json")
    assert [each.added for each in merged.values()] == [0]
    assert ConceptNames("aaa", path=tmp_path / "both.json").annotations() == {}


# --- raters ---------------------------------------------------------------------------


def test_agreement_is_cohens_kappa():
    # The example of Cohen's formula: 20 + 15 of 50 agree, by chance 0.5.
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    ratings = {"A": dict(enumerate(a)), "B": dict(enumerate(b)), "C": {99: "yes"}}
    table = agreement(ratings).set_index(["rater_a", "rater_b"])
    assert table.loc[("A", "B"), "concepts"] == 50
    assert table.loc[("A", "B"), "agree"] == 0.7
    assert table.loc[("A", "B"), "kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert table.loc[("A", "C"), "concepts"] == 0
    assert np.isnan(table.loc[("A", "C"), "kappa"])
    assert len(disagreements(ratings)) == 15
    assert len(agreement({"A": {1: "x"}})) == 0
    assert np.isnan(agreement({"A": {1: "x"}, "B": {1: "x"}})["kappa"].item())


def test_agreement_on_a_tag_counts_where_it_is_used():
    both, only_a, only_b, neither = 20, 5, 10, 15
    a = ["x; t"] * both + ["t"] * only_a + ["y"] * only_b + ["x"] * neither
    b = ["t"] * both + ["x"] * only_a + ["t; y"] * only_b + ["y"] * neither
    table = agreement_by_tag({"A": dict(enumerate(a)), "B": dict(enumerate(b))})
    assert table["tag"].tolist() == ["t", "x", "y"]
    of_t = table.iloc[0]
    counts = of_t[["both", "only_a", "only_b", "neither"]].tolist()
    assert counts == [both, only_a, only_b, neither]
    # Cohen's example once more: by chance 0.5 * 0.6 + 0.5 * 0.4 agree.
    assert of_t["agree"] == 0.7
    assert of_t["kappa"] == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    assert table.iloc[1][["both", "only_a", "only_b"]].tolist() == [0, 35, 5]
    assert len(agreement_by_tag({"A": {1: "x"}, "B": {2: "x"}})) == 0


def test_tags_of_a_rating_are_compared_whatever_their_order(names):
    names.rate("Ann", {3: "stage: blast;  nucleus: round ; stage: blast;"})
    assert names.ratings() == {"Ann": {3: "nucleus: round; stage: blast"}}


def test_raters_are_read_from_files_of_names(names, path, tmp_path):
    names.rate("Ann", {1: "t", 2: "u"})
    bo = ConceptNames("aaa", SHIPPED, tmp_path / "other.json")
    bo.set_tags(1, ["v", "t"])
    bo.set(2, "coarse")
    files = [path, export_names(bo, tmp_path / "Bo.json")]
    expected = {"Ann": {1: "t", 2: "u"}, "Bo": {1: "t; v", 2: "coarse"}}
    assert read_ratings(files) == expected
    table = tmp_path / "Cy.csv"
    table.write_text("concept,name,tags\n1,,t;v\n")
    assert read_ratings([*files, table]) == expected | {"Cy": {1: "t; v"}}
    other = ConceptNames("bbb", {}, tmp_path / "bbb.json")
    other.set(1, "x")
    with pytest.raises(CytoError, match="different SAEs"):
        read_ratings([*files, other.path])
    with pytest.raises(CytoError, match="no file"):
        read_ratings([tmp_path / "none.json"])


def test_ratings_are_kept_and_taken_back(names, path):
    names.rate("Ann", {3: "nucleus: round", 4: UNCLEAR})
    names.rate("Ann", {4: ""})
    names.rate("Bo", {3: "nucleus: bilobed"})
    ratings = ConceptNames("aaa", SHIPPED, path).ratings()
    assert ratings == {"Ann": {3: "nucleus: round"}, "Bo": {3: "nucleus: bilobed"}}
    table = disagreements(ratings)
    pd.testing.assert_index_equal(table.index, pd.Index([3], name="concept"))
    # Ratings are no names: nobody who names concepts sees them.
    assert names.get(3) == ""


def test_each_rater_has_an_order_of_their_own():
    concepts = range(50)
    ann, bo = blinded_order(concepts, "Ann"), blinded_order(concepts, "Bo")
    assert sorted(ann) == sorted(bo) == list(concepts)
    assert ann != bo
    assert ann != list(concepts)
    assert blinded_order(reversed(concepts), " ann") == ann


def test_the_vocabulary_has_no_word_twice_and_fits_in_a_tag():
    assert len(TAGS) == len(set(TAGS))
    assert max(map(len, TAGS)) <= 80
    for group in ("nucleus", "chromatin", "cytoplasm", "granules", "inclusions", "lineage"):
        assert group in VOCABULARY
    assert "inclusions: Auer rod" in TAGS
