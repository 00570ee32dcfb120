import math

import matplotlib.image
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cardioseg.clinical import examination, segments
from cardioseg.figures import bulls_eye, scar_slices, style
from rings import SETTINGS, STRUCTURES, heart


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def examined():
    drawn = heart((60, 120), 1.0)
    return drawn, examination.examine(drawn.image, drawn.mask.array, STRUCTURES, SETTINGS)


def test_values_stand_in_their_segments():
    """The anterior segment lies at the top, the septal ones at the left."""
    drawn = bulls_eye.figure(examined()[1].segments, "patient")
    scar = drawn.axes[0]
    places = {tuple(np.round(text.get_position(), 2) + 0.0): text.get_text() for text in scar.texts}
    assert float(places[0.0, 3.5]) > 95  # basal anterior
    assert float(places[0.0, -3.5]) == 0  # basal inferior
    left = [text for (x, _), text in places.items() if x < -3]
    assert left.count("septal") == 1
    assert {axis.get_title() for axis in drawn.axes[:4]} >= {"scar (% of the segment)", "wall thickness (mm)"}


def test_numbers_of_a_panel_have_the_same_decimals():
    """11 beside 10.2 looks less exact than it is."""
    thickness = [10.96, 10.2, 9.0] + 14 * [12.34]
    rows = [
        {**row, "thickness_mm": mm, "scar_percent": 0.0, "note": ""}
        for row, mm in zip(segments.unavailable(""), thickness, strict=True)
    ]
    shown = texts(bulls_eye.figure(rows, "patient"))
    assert {"11.0", "10.2", "9.0", "12.3", "0.0"} <= set(shown)


def test_missing_segments_show_the_reason():
    drawn = bulls_eye.figure(segments.unavailable("no right ventricle"), "patient")
    assert texts(drawn).count("N/A") == 17
    assert "N/A: no right ventricle" in drawn.get_suptitle()


def test_notes_stand_in_the_order_of_the_segments():
    rows = [dict(row, note="") for row in segments.unavailable("unknown")]
    for place, note in ((9, "cut"), (2, "dim"), (4, "far")):
        rows[place]["note"] = note
    title = bulls_eye.figure(rows, "patient").get_suptitle()
    assert title.split("\n") == ["patient", "segment 3: dim", "segment 5: far", "segment 10: cut"]


def test_sectors_fill_each_ring_once():
    for numbers in (range(1, 7), range(7, 13), range(13, 17)):
        degrees = sorted(value % 360 for number in numbers for value in range(*segments.sector(number)))
        assert degrees == list(range(360))
    rings = {bulls_eye._radii(number) for number in range(1, 18)}
    assert sorted(rings) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_pictures_are_written(tmp_path):
    drawn, found = examined()
    paths = [tmp_path / "eye.png", tmp_path / "eye.svg", tmp_path / "scar.png"]
    style.save(bulls_eye.figure(found.segments, "patient"), paths[:2])
    labels = drawn.mask.array
    style.save(scar_slices.figure(drawn.image, labels, found.scar_labels(labels.shape), "patient"), paths[2:])
    assert matplotlib.image.imread(paths[0]).std() > 0
    assert matplotlib.image.imread(paths[2]).std() > 0
    assert "<svg" in paths[1].read_text()
    assert not math.isnan(np.asarray(matplotlib.image.imread(paths[2])).mean())


@pytest.mark.parametrize("offset", [-5000, -500, 5000])
def test_negative_and_large_intensities_are_shown(offset):
    _, found = examined()
    rows = [{**row, "mean_intensity": row["mean_intensity"] + offset} for row in found.segments]
    drawn = bulls_eye.figure(rows, "patient")
    FigureCanvasAgg(drawn).draw()
    assert f"{rows[0]['mean_intensity']:.0f}" in texts(drawn)


def test_a_long_reason_is_wrapped_within_the_figure():
    reason = "the right ventricle does not lie along the myocardium in the basal and mid slices"
    drawn = bulls_eye.figure(segments.unavailable(reason), "patient 7")
    FigureCanvasAgg(drawn).draw()
    assert " ".join(drawn.get_suptitle().split()) == f"patient 7 N/A: {reason}"
    assert drawn._suptitle.get_window_extent().x1 <= drawn.bbox.x1
