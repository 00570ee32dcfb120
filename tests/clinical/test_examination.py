import math
import re

import numpy as np
import pytest

from cardioseg.clinical import examination
from cardioseg.core.volumes import Volume
from rings import LV, MYO, RV, SETTINGS, STRUCTURES, heart


def examine(image, labels, doubts=(), **changes):
    return examination.examine(image, labels, STRUCTURES, SETTINGS | changes, doubts)


def test_scar_and_segments_of_a_sound_mask():
    drawn = heart((65, 175), 0.5)
    entry = examine(drawn.image, drawn.mask.array).entry()
    assert entry["scar_method"] == "fwhm"
    assert entry["scar_segments"] == 2  # the basal anterior and the basal anterolateral one
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


def opened(drawn, slices, degrees):
    """The mask, whose wall is cavity in a sector of some slices."""
    labels = drawn.mask.array.copy()
    part = labels[slices]
    part[(part == MYO) & (abs(drawn.angle[slices] - 90) < degrees / 2)] = LV
    return labels


def test_scar_beside_an_open_wall_is_told_to_be_too_low():
    drawn = heart((60, 120), 1.0, scarred=(4, 7))
    labels = opened(drawn, slice(4, 7), 40)
    found = examine(drawn.image, labels)
    assert found.open_wall == "the wall is missing over 30 degrees or more in 3 slices between base and apex"
    assert found.scar_notes == (f"{found.open_wall}: scar there may be taken for cavity, so that its mass is too low",)
    closed = examine(drawn.image, drawn.mask.array)
    assert (closed.open_wall, closed.scar_notes) == ("", ())
    assert found.scar.quantities()["scar_fwhm_mass_g"] < 0.5 * closed.scar.quantities()["scar_fwhm_mass_g"]
    assert examine(drawn.image, labels, scar=None, segments=None).open_wall == found.open_wall


@pytest.mark.parametrize(
    ("slices", "degrees", "count"),
    [
        (slice(7, 10), 120, 0),  # the basal third, with the outflow tract
        (slice(1, 2), 120, 0),  # the tip of the cavity
        (slice(2, 7), 25, 0),
        (slice(2, 7), 35, 5),
        (slice(2, 3), 120, 1),
    ],
)
@pytest.mark.parametrize("upside_down", [False, True])
def test_wall_is_open_where_it_should_be_closed(slices, degrees, count, upside_down):
    drawn = heart()
    labels = opened(drawn, slices, degrees)[:: -1 if upside_down else 1]
    told = examine(drawn.image, labels).open_wall
    assert (f"in {count} slice" in told) if count else not told


@pytest.mark.parametrize(
    ("sector", "scarred", "slices"),
    [
        ((60, 120), (8, 10), "slices 9 to 10"),
        ((60, 150), (9, 10), "slice 10"),
        ((60, 120), (7, 10), ""),  # reaches beyond 20 mm
        ((60, 100), (9, 10), ""),  # half a percent of the myocardium
        ((60, 150), (1, 3), ""),  # at the apex
    ],
)
@pytest.mark.parametrize("upside_down", [False, True])
def test_scar_at_the_base_alone_may_be_blood(sector, scarred, slices, upside_down):
    drawn = heart(sector, 0.5, scarred)
    way = slice(None, None, -1 if upside_down else 1)
    image = Volume(drawn.image.array[way], drawn.image.affine)
    found = examine(image, drawn.mask.array[way])
    if upside_down:
        slices = {"slices 9 to 10": "slices 1 to 2", "slice 10": "slice 1", "": ""}[slices]
    told = f"{found.scar.quantities()['scar_fwhm_mass_g']:.1f} g of the scar are in {slices} alone, at the base"
    assert found.basal_scar.startswith(told) if slices else not found.basal_scar
    assert found.scar_notes == ((found.basal_scar,) if slices else ())


def test_slices_of_the_scar_are_counted_from_the_first_of_the_image():
    drawn = heart((60, 120), 0.5, (8, 10))
    array, labels = (np.pad(part, ((2, 0), (0, 0), (0, 0))) for part in (drawn.image.array, drawn.mask.array))
    assert "in slices 11 to 12 alone" in examine(Volume(array, drawn.image.affine), labels).basal_scar


def test_blood_at_the_base_is_told_apart_from_scar_elsewhere():
    """The mask draws its wall through blood in the two most basal slices."""
    drawn = heart((-120, -60), 0.5, scarred=(3, 7))
    array, above = drawn.image.array.copy(), np.zeros(drawn.mask.array.shape, bool)
    above[8:] = (drawn.mask.array[8:] == MYO) & (abs(drawn.angle[8:] - 90) < 30)
    array[above] = array[drawn.mask.array == LV].mean()
    found = examine(Volume(array, drawn.image.affine), drawn.mask.array)
    assert found.scar.chosen.scar[above].all() and found.scar.chosen.scar[drawn.scar].all()
    assert found.basal_scar.startswith(f"{found.scar.grams(above):.1f} g of the scar are in slices 9 to 10 alone")
    # Where it goes on into scar below, nothing tells the two apart.
    array[7][(drawn.mask.array[7] == MYO) & (abs(drawn.angle[7] - 90) < 30)] = array[above].mean()
    assert not examine(Volume(array, drawn.image.affine), drawn.mask.array).basal_scar


def test_base_of_a_single_slice_is_not_known():
    drawn = heart((60, 150), 1.0, scarred=(9, 10))
    found = examine(Volume(drawn.image.array[9:], drawn.image.affine), drawn.mask.array[9:])
    assert found.scar.chosen.scar.any() and not found.basal_scar


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
    # Counts stay whole numbers beside masks that have none.
    written = tables["scar"].to_csv(float_format="%.3f", na_rep="N/A", columns=["scar_slices", "scar_segments"])
    assert re.fullmatch(r",scar_slices,scar_segments\n0,\d+,\d+\n1,N/A,N/A\n", written)
    assert list(tables["segments"]["segment"]) == [*range(1, 18), *range(1, 18)]
    assert set(tables["segments"]["patient"]) == {"1"}
