import pandas as pd
import pytest

from cardioseg.evaluation import methods, tables


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


def test_a_method_refines_one_that_is_registered():
    assert {refined for _, refined in methods.refinements()} <= set(methods.titles())


@pytest.mark.parametrize("part", [False, True])
def test_a_registered_method_appears_in_the_table_under_its_title(monkeypatch, part):
    added = methods.Method("added", "Added method", part=part)
    monkeypatch.setattr(methods, "METHODS", (*methods.METHODS, added))
    columns = ["method", "split", "patient", "structure", "dice", "asd_mm", "hd95_mm", "seed", "volume_truth_ml"]
    rows = [(name, "test", "6", "LV", 0.9, 1.0, 3.0, None, 1.0) for name in ("added", "ensemble_pp")]
    text = tables.markdown(pd.DataFrame(rows, columns=columns), published=False)
    assert "| Added method |" in text
    assert ("*Parts of a method*" in text) == part
    assert ("added" in methods.reported()) != part
