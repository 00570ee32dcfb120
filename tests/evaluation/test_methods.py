import pytest

from cardioseg.evaluation import methods, tables
from metric_tables import metrics


def test_methods_are_chosen_by_the_configuration():
    everywhere = [method.name for method in methods.METHODS if not method.section]

    def beyond(labels):
        sections = {method.section: None for method in methods.METHODS if method.section}
        fusion = {"fusion": {"labels": labels} if labels else None}
        return [method.name for method in methods.chosen(sections | fusion) if method.name not in everywhere]

    assert beyond([]) == []
    assert beyond(["manual"]) == ["fusion_pp"]
    assert beyond(["predicted", "manual"]) == ["fusion_pp", "fusion_own_pp"]


def test_one_method_is_final_and_names_and_titles_are_unique():
    assert methods.final().name == "ensemble_pp"
    assert len(methods.titles()) == len(set(methods.titles().values())) == len(methods.METHODS)


def test_folders_tell_method_and_seed():
    for method in methods.METHODS:
        folders = method.folders([3, 12])
        assert [methods.of_folder(folder) for folder in folders] == (
            [(method.name, "3"), (method.name, "12")] if method.per_seed else [(method.name, "")]
        )


def test_a_method_refines_one_that_is_registered():
    assert {refined for _, refined in methods.refinements()} <= set(methods.titles())


def test_the_ensemble_is_made_of_the_self_trained_cascades_where_there_are_such():
    def members(**sections):
        found = methods.chosen({"self_training": None, "fusion": None} | sections)
        return methods.member(found).name, [method.name for method in found if method.member]

    assert members() == ("cascade_ft", ["cascade_ft"])
    assert members(self_training={"fused": False}) == ("cascade_st", ["cascade_ft", "cascade_st"])
    assert members(self_training={"fused": True}) == ("cascade_st_fused", ["cascade_ft", "cascade_st_fused"])


def test_the_table_says_that_source_labels_of_target_patients_were_learned_from():
    def notes(name):
        table = metrics("method seed patient structure dice asd_mm", [(name, 1, "6", "LV", 0.9, 1.0)])
        return tables.markdown(table, published=False)

    said = "the manual labels of their source images"
    assert said in notes("cascade_st_fused")
    assert said not in notes("cascade_st")
    assert "were also trained on the target images" in notes("cascade_st")
    assert "learned" not in notes("cascade_ft")


@pytest.mark.parametrize("part", [False, True])
def test_a_registered_method_appears_in_the_table_under_its_title(monkeypatch, part):
    added = methods.Method("added", "Added method", part=part)
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, added))
    rows = [(name, "6", "LV", 0.9, 1.0) for name in ("added", "ensemble_pp")]
    text = tables.markdown(metrics("method patient structure dice asd_mm", rows), published=False)
    assert "| Added method |" in text
    assert ("*Parts and extensions*" in text) == part
    assert ("added" in methods.reported()) != part
