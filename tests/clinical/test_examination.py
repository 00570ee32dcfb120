import math

import numpy as np

from cardioseg.clinical import examination
from cardioseg.core.volumes import Volume
from rings import RV, SETTINGS, STRUCTURES, heart


def examine(image, labels, doubts=(), **changes):
    return examination.examine(image, labels, STRUCTURES, SETTINGS | changes, doubts)


def test_scar_and_segments_of_a_sound_mask():
    drawn = heart((60, 120), 0.5)
    entry = examine(drawn.image, drawn.mask.array).entry()
    assert entry["scar_method"] == "fwhm"
    assert entry["scar_segments"] >= 1
    assert entry["scar_notes"] == []
    total = sum(row["scar_mass_g"] for row in entry["segments"])
    assert math.isclose(total, entry["scar_fwhm_mass_g"])


def test_no_scar_within_a_doubtful_outline():
    drawn = heart()
    found = examine(drawn.image, drawn.mask.array, ["the ensemble disagrees on MYO"])
    assert found.scar is None
    assert found.entry()["scar_notes"] == ["the ensemble disagrees on MYO"]
    assert not found.scar_labels(drawn.mask.array.shape).any()
    assert all(math.isnan(row["scar_percent"]) and row["mass_g"] > 0 for row in found.segments)


def test_scar_and_segments_are_left_out_for_reasons_of_their_own():
    drawn = heart()
    without_rv = np.where(drawn.mask.array == RV, 0, drawn.mask.array)
    found = examine(drawn.image, without_rv)
    assert found.scar is not None
    assert "right ventricle" in found.segments_note
    assert {row["note"] for row in found.segments} == {found.segments_note}
    assert "scar_segments" not in found.entry()
    constant = Volume(np.full_like(drawn.image.array, 3), drawn.image.affine)
    found = examine(constant, drawn.mask.array)
    assert "every voxel of the myocardium is 3" in found.scar_notes[0]
    assert found.segments_note == ""


def test_what_the_settings_leave_out_is_left_out():
    drawn = heart()
    assert examine(drawn.image, drawn.mask.array, scar=None, segments=None).entry() == {}
    assert set(examine(drawn.image, drawn.mask.array, scar=None).entry()) == {"segments"}
    assert "segments" not in examine(drawn.image, drawn.mask.array, segments=None).entry()
    assert examine(drawn.image, drawn.mask.array, clinical=None).entry() == {}
    assert examine(drawn.image, drawn.mask.array, ["doubtful"], scar=None).scar_notes == ()


def test_tables_have_a_row_a_mask_and_a_row_a_segment():
    drawn = heart()
    entries = [
        {"patient": "1", "method": method, **examine(drawn.image, drawn.mask.array, doubts).entry()}
        for method, doubts in (("manual", []), ("ensemble", ["the wall is doubtful", "so is its cavity"]))
    ]
    tables = examination.tables(entries)
    assert list(tables["scar"]["method"]) == ["manual", "ensemble"]
    assert list(tables["scar"]["scar_notes"]) == ["", "the wall is doubtful; so is its cavity"]
    assert list(tables["scar"]["scar_fwhm_mass_g"].isna()) == [False, True]
    assert list(tables["segments"]["segment"]) == [*range(1, 18), *range(1, 18)]
    assert set(tables["segments"]["patient"]) == {"1"}
