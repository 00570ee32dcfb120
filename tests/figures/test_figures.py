import itertools

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import metric_tables
from cardioseg.core.turns import Turn
from cardioseg.core.volumes import NO_GEOMETRY, Volume
from cardioseg.evaluation import measures
from cardioseg.figures import (
    appearance,
    bland_altman,
    distributions,
    segmentations,
    sheet,
    style,
    training,
    translations,
    uncertainty,
    worst,
)
from clinical_quantities import quantities

pytestmark = pytest.mark.usefixtures("known_measures")
STRUCTURES = ["LV", "MYO", "RV"]
SHAPE = (5, 48, 56)


def image(shape=SHAPE, seed=0, spacing=(8, 1.5, 1.5)):
    array = np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)
    return Volume(array, np.diag([-spacing[2], -spacing[1], spacing[0], 1.0]))  # axial, as viewers show it


def labels(shape=SHAPE):
    array = np.zeros(shape, np.uint8)
    array[1:4, 10:30, 10:34] = 3
    array[1:4, 12:28, 12:28] = 2
    array[1:4, 16:24, 16:24] = 1
    return array


def panels(figure):
    return [axis for axis in figure.axes if axis.images]


def contours(axis):
    """The colours of an axis' contours."""
    return [mpl.colors.to_hex(found.get_edgecolor()[0]) for found in axis.collections]


def texts(figure):
    return [found.get_text() for found in figure.findobj(mpl.text.Text)]


# Style


def test_same_figure_gives_same_files(tmp_path):
    contents = []
    for name in ("a", "b"):
        patients = {"6": (image(), {"manual": labels()})}
        paths = [tmp_path / f"{name}.png", tmp_path / f"{name}.svg"]
        style.save(segmentations.figure(patients, ["manual"], "manual", STRUCTURES), paths)
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]
    assert contents[0][0][:8] == b"\x89PNG\r\n\x1a\n"
    assert b"<svg" in contents[0][1]
    assert b"<dc:date>" not in contents[0][1]


LONG = "A method whose title is as long as several words of several syllables each"


def with_long_titles():
    """Every figure that shows titles, with two long ones side by side."""
    own = {"manual": labels(), LONG: labels(), f"{LONG}, twice": labels()}
    patients = {"6": (image(), own)}
    scores = pd.DataFrame(dict.fromkeys([*STRUCTURES, "mean"], 0.5), index=["6"])
    shown = {"unet": LONG, "ensemble_pp": f"{LONG}, twice"}
    entropy = {"entropy": np.ones(SHAPE)}
    metrics = pd.concat(table(("6", "LV", 0.5), ("7", "LV", 0.6), method=name) for name in shown)
    return {
        "segmentations": segmentations.figure(patients, list(own), "manual", STRUCTURES),
        "worst": worst.figure(patients, scores, STRUCTURES),
        "uncertainty": uncertainty.figure({"6": (image(), own, entropy)}, "nats", STRUCTURES),
        "distributions": distributions.figure(metrics, shown),
        "bland_altman": bland_altman.figure(quantities(), shown),
    }


def test_long_titles_are_neither_cut_off_nor_on_top_of_each_other():
    for name, figure in with_long_titles().items():
        figure.draw_without_rendering()
        titles = [found for found in figure.findobj(mpl.text.Text) if found.get_text().startswith("A method")]
        boxes = [found.get_window_extent() for found in titles if found.get_visible()]
        assert len(boxes) >= 2, name
        for box in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, name
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, name
        if name != "distributions":  # there they are slanted, so that the boxes around them overlap
            assert mpl.transforms.Bbox.count_overlaps(boxes[0], boxes[1:]) == 0, name


def test_global_settings_are_left_alone():
    before = dict(mpl.rcParams)
    segmentations.figure({"6": (image(), {"manual": labels()})}, ["manual"], "manual", STRUCTURES)
    assert dict(mpl.rcParams) == before
    assert not plt.get_fignums()


def stack(*areas):
    array = np.zeros((len(areas), 10, 10), np.uint8)
    for z, area in enumerate(areas):
        array[z].flat[:area] = 1
    return array


def test_levels_run_from_apex_to_base():
    array = stack(0, 0, *range(10, 20), 0)
    assert style.levels(array, 3) == [3, 6, 10]
    assert style.levels(array[::-1], 3) == [9, 5, 2]  # stored from base to apex
    assert style.middle(array) == 6
    assert style.levels(stack(0, 0, 5, 0), 3) == [2]
    assert style.levels(stack(0, 5, 6, 0), 3) == [1, 2]
    assert style.levels(stack(0, 0, 0), 3) == [0, 1, 2]


def test_window_holds_the_labels():
    array = np.zeros((3, 200, 180), np.uint8)
    array[1, 90:120, 70:76] = 1
    rows, columns = style.window(array, (8, 1, 1))
    assert array[:, rows, columns].sum() == array.sum()
    assert rows.stop - rows.start == columns.stop - columns.start < 80
    fine_rows, _ = style.window(array, (8, 0.5, 0.5))
    # The margin is in mm: 34.8 + 24 of 1 mm, 34.8 + 48 of 0.5 mm.
    assert (rows.stop - rows.start, fine_rows.stop - fine_rows.start) == (58, 82)


def test_window_stays_within_the_image():
    array = np.zeros((1, 50, 60), np.uint8)
    array[0, :4, 57:] = 1
    rows, columns = style.window(array, (8, 1.5, 1.5))
    assert (rows.start, columns.stop) == (0, 60)
    assert array[:, rows, columns].sum() == array.sum()
    assert style.window(0 * array, (8, 1.5, 1.5)) == (slice(None), slice(None))
    everything = style.window(array + 1, (8, 1.5, 1.5))
    assert everything == (slice(0, 50), slice(0, 60))


# Segmentations


def test_segmentations_figure_shows_each_method():
    nothing = np.zeros_like(labels())
    patients = {
        "6": (image(), {"manual": labels(), "U-Net": nothing}),
        "7": (image(seed=1), {"manual": labels()}),  # no mask of the U-Net
    }
    figure = segmentations.figure(patients, ["manual", "U-Net"], "manual", STRUCTURES)
    shown = panels(figure)
    assert len(shown) == 2 * 3 * 3
    # The first structure is drawn last: the endocardium is its own.
    assert contours(shown[1]) == [style.COLOURS[2], style.COLOURS[1], style.COLOURS[0]]
    assert not contours(shown[0])
    assert not contours(shown[2])
    assert texts(figure).count("N/A") == 3
    assert f"patient 7\nslice 4 of {SHAPE[0]}" in texts(figure)
    assert [axis.get_title() for axis in shown[:3]] == ["image", "manual", "U-Net"]


def test_slices_are_those_of_the_reference():
    everywhere, lower = np.ones_like(labels()), labels()
    lower[2:] = 0
    figure = segmentations.figure({"6": (image(), {"a": everywhere, "b": lower})}, ["a", "b"], "b", STRUCTURES)
    assert len(panels(figure)) == 3
    assert f"patient 6\nslice 2 of {SHAPE[0]}" in texts(figure)


def single_pixel(array):
    array[-1, 20, 20] = 1


def full(array):
    array[:] = 2


def at_the_edge(array):
    array[0, :3, :3] = 1
    array[-1, -3:, -3:] = 3


@pytest.mark.parametrize("draw", [None, single_pixel, full, at_the_edge])
@pytest.mark.parametrize("slices", [1, 4])
def test_figures_of_unusual_labels_are_drawn(draw, slices):
    array = np.zeros((slices, 48, 56), np.uint8)
    if draw:
        draw(array)
    scan, scores = image(array.shape), worst.worst_patients(table(("6", "LV", 0.5)), "ensemble_pp", 3)
    segmentations.figure({"6": (scan, {"manual": array})}, ["manual"], "manual", STRUCTURES)
    translations.figure({"6": (scan, [scan.array], array)}, "bSSFP", "LGE", STRUCTURES)
    maps = {"entropy": np.zeros(array.shape)}
    uncertainty.figure({"6": (scan, {"ensemble": array}, maps)}, "nats", STRUCTURES)
    worst.figure({"6": (scan, {"manual": array})}, scores, ["LV"])


def test_constant_image_and_odd_names(tmp_path):
    scan = Volume(np.zeros(SHAPE, np.float32), image().affine)
    patients = {name: (scan, {"U-Net (FT)": labels()}) for name in ("Jürgen Ø_^%s", "5$ and 6$ {")}
    names = [f"structure{index}" for index in range(8)]  # more than there are colours
    figure = segmentations.figure(patients, ["U-Net (FT)"], "U-Net (FT)", names)
    style.save(figure, [tmp_path / "figure.png"])
    assert any("5$ and 6$ {" in text for text in texts(figure))
    assert (tmp_path / "figure.png").exists()


# Translations


def test_translations_figure_shows_each_style():
    synthetic = [image(seed=seed).array for seed in (1, 2, 3)]
    patients = {name: (image(), synthetic, labels()) for name in ("6", "7")}
    figure = translations.figure(patients, "bSSFP", "LGE", STRUCTURES)
    shown = panels(figure)
    assert len(shown) == 2 * 5
    np.testing.assert_array_equal(shown[2].images[0].get_array(), synthetic[1][2])
    np.testing.assert_array_equal(shown[4].images[0].get_array(), image().array[2])
    assert [len(contours(axis)) for axis in shown[:5]] == [0, 0, 0, 0, 3]
    assert shown[3].get_title() == "synthetic LGE 3"


# Appearance


def test_densities_of_known_arrays():
    first, second = (Volume(np.full((1, 4, 4), value), np.eye(4)) for value in (-1.0, 1.0))
    one, both = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    one[0, 0] = 1  # four voxels of the first structure
    both[0, :3], both[0, 3] = 1, 2
    found = appearance.describe([(first, one), (second, both)], 3, 0).densities
    height = appearance.BINS / 2
    # Each volume counts the same, though the second has three times the voxels.
    np.testing.assert_allclose(found[1, [0, 1, -1]], [height / 2, 0, height / 2])
    np.testing.assert_allclose(found[0, [0, -1]], [height / 2, height / 2])
    np.testing.assert_allclose(found[2, [0, -1]], [0, height])
    assert np.isnan(found[3]).all()


def test_densities_have_area_one():
    found = appearance.describe([(image(seed=seed), labels()) for seed in (0, 1)], 3, 0).densities
    np.testing.assert_allclose(found.sum(axis=1) * 2 / appearance.BINS, 1)


def test_example_is_the_volume_asked_for():
    scans = [image(seed=seed) for seed in range(3)]
    kind = appearance.describe(((scan, labels()) for scan in scans), 3, 1)
    assert kind.image is scans[1]
    np.testing.assert_array_equal(kind.labels, labels())


def test_appearance_figure_shows_examples_and_distributions():
    kinds = {
        "bSSFP": appearance.describe([(image(), labels())], 3, 0),
        "synthetic LGE": appearance.describe([(image(seed=1), labels())], 3, 0),
        "LGE": appearance.describe([(image(seed=2), None)], 3, 0),
    }
    figure = appearance.figure(kinds, STRUCTURES)
    shown = panels(figure)
    assert [axis.get_title() for axis in shown] == list(kinds)
    assert [len(contours(axis)) for axis in shown] == [3, 3, 0]
    rest = [axis for axis in figure.axes if axis not in shown]
    assert [axis.get_title() for axis in rest] == ["all structures", *STRUCTURES]
    # No labels, no curve.
    assert [line.get_label() for line in rest[2].lines] == ["bSSFP", "synthetic LGE"]
    np.testing.assert_allclose(rest[2].lines[0].get_ydata(), kinds["bSSFP"].densities[2])


# Training


def history(length, **losses):
    return pd.DataFrame(
        {"iteration": np.arange(1, 1 + length)} | {key: [value] * length for key, value in losses.items()}
    )


@pytest.mark.parametrize("length", [1, 20])
@pytest.mark.parametrize("seeds", [1, 6])
def test_training_figure_shows_each_loss(length, seeds):
    members = {f"seed {seed}": history(length, loss=seed) for seed in range(1, 1 + seeds)}
    figure = training.figure(
        history(length, loss=0.2),
        history(length, discriminator=3.0, cycle=0.01),
        {"U-Net 1": members, "U-Net 2": members},
    )
    assert [axis.get_title() for axis in figure.axes] == ["localisation", "translation", "U-Net 1", "U-Net 2"]
    assert [len(axis.lines) for axis in figure.axes] == [1, 2, seeds, seeds]
    np.testing.assert_array_equal(figure.axes[2].lines[-1].get_xydata(), [[i, seeds] for i in range(1, 1 + length)])


def test_rest_of_a_few_iterations_is_no_spike():
    """833 iterations are 52 reports of 16 and one of a single iteration, whose loss is noise."""
    whole = pd.DataFrame({"iteration": [16, 32, 48, 49], "loss": [0.3, 0.2, 0.1, 0.9]})
    half = pd.DataFrame({"iteration": [16, 32, 48, 56], "loss": [0.3, 0.2, 0.1, 0.1]})
    single = pd.DataFrame({"iteration": [1], "loss": [0.3]})
    figure = training.figure(whole, single.rename(columns={"loss": "cycle"}), {"U-Net 1": {"a": whole, "b": half}})
    points = [[len(line.get_xdata()) for line in axis.lines] for axis in figure.axes]
    assert points == [[3], [1], [3, 4]]


def test_titles_of_six_trainings_stand_apart():
    phases = ("pre-training", "fine-tuning", "self-training")
    names = [f"U-Net {number}, {phase}" for phase in phases for number in (1, 2)]
    figure = training.figure(
        history(9, loss=0.2), history(9, cycle=0.01), {name: {"seed 1": history(9, loss=0.3)} for name in names}
    )
    figure.draw_without_rendering()
    boxes = [axis.title.get_window_extent() for axis in figure.axes if axis.get_title().startswith("U-Net")]
    assert len(boxes) == 6
    letter = boxes[0].width / len("pre-training")
    for left, right in itertools.pairwise(boxes):
        assert right.x0 - left.x1 > letter


def test_translation_without_training_has_no_losses():
    members = {"seed 1": history(3, loss=0.5)}
    figure = training.figure(history(3, loss=0.2), pd.DataFrame({"iteration": []}), {"U-Net 1": members})
    panel = figure.axes[1]
    assert (panel.get_title(), [text.get_text() for text in panel.texts]) == ("translation", ["not trained"])
    assert not panel.lines
    figure.canvas.draw()


# Metrics


def table(*rows, method="ensemble_pp", split="test", asd=2.0):
    rows = [(method, split, *row, asd) for row in rows]
    return metric_tables.metrics("method split patient structure dice asd_mm", rows)


def test_members_are_averaged_per_patient():
    metrics = table(("6", "LV", 0.8), ("6", "LV", 0.6), ("7", "LV", 0.9))
    metrics["asd_mm"] = [1.0, np.nan, 3.0]
    found = measures.mean_over_seeds(metrics).xs("LV", level="structure").loc[("test", "ensemble_pp")]
    assert found["dice"].to_dict() == pytest.approx({"6": 0.7, "7": 0.9})
    assert np.isnan(found.loc["6", "asd_mm"])
    assert found.loc["7", "asd_mm"] == 3


def test_distributions_figure_counts_missing_values():
    rows = [(patient, structure, 0.5) for patient in "678" for structure in ("LV", "RV")]
    metrics = pd.concat(
        [
            table(*rows, method="unet", asd=np.nan),
            table(*rows),
            table(*rows[:2], split="validation"),  # by one method alone
        ]
    )
    figure = distributions.figure(metrics, {"registration": "registration", "ensemble_pp": "ours", "unet": "U-Net"})
    dice, asd = figure.axes[0], figure.axes[2]
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:2]] == ["LV", "RV"]
    assert [label.get_text() for label in figure.axes[-2].get_xticklabels()] == ["ours", "U-Net"]
    points = [len(line.get_xdata()) for line in dice.lines if line.get_marker() == "o"]
    assert points == [3, 3, 1]
    assert [text.get_text() for text in asd.texts] == ["3 N/A"]
    assert not dice.texts
    assert asd.get_ylim()[1] > 2
    assert {"test (3)", "validation (1)"} <= set(texts(figure))


def test_missing_values_alone_are_counted_in_the_figure():
    metrics = table(("6", "LV", 0.0), method="unet", asd=np.nan)
    figure = distributions.figure(metrics, {"unet": "U-Net"})
    assert [text.get_text() for text in figure.axes[1].texts] == ["1 N/A"]


# The worst


def test_worst_patients_by_hand():
    metrics = pd.concat(
        [
            table(("9", "LV", 0.0), ("9", "RV", 0.0), method="unet"),
            table(
                *(("9", "LV", 0.9), ("9", "RV", 0.9)),
                *(("10", "LV", 0.6), ("10", "RV", 0.8)),  # 0.7, as is 2, which comes later
                *(("2", "LV", 0.8), ("2", "RV", 0.6)),
                *(("3", "LV", np.nan), ("3", "RV", 0.5)),  # one structure alone
                *(("4", "LV", np.nan), ("4", "RV", np.nan)),  # nothing to rank
            ),
        ]
    )
    found = worst.worst_patients(metrics, "ensemble_pp", 3)
    assert list(found.index) == ["3", "10", "2"]
    assert list(found.columns) == ["LV", "RV", "mean"]
    np.testing.assert_allclose(found["mean"], [0.5, 0.7, 0.7])
    assert len(worst.worst_patients(metrics, "ensemble_pp", 9)) == 4


def test_worst_figure_shows_slices_and_dice():
    scores = worst.worst_patients(table(("6", "LV", 0.25), ("6", "RV", np.nan)), "ensemble_pp", 3)
    patients = {"6": (image(), {"manual": labels(), "ours": 0 * labels()})}
    figure = worst.figure(patients, scores, ["LV", "RV"])
    shown = panels(figure)
    assert len(shown) == 2 * 3  # of the five slices three have labels
    assert "patient 6: Dice LV 0.25, RV N/A, mean 0.25" in texts(figure)
    assert [bool(contours(axis)) for axis in shown] == 3 * [True] + 3 * [False]


# Uncertainty


def test_uncertainty_figure_shows_labels_and_maps():
    maps = {"entropy": np.full(SHAPE, 0.5), "information": np.zeros(SHAPE)}
    patients = {name: (image(), {"manual": labels(), "ensemble": labels()}, maps) for name in ("6",)}
    figure = uncertainty.figure(patients, "nats", STRUCTURES)
    shown = [axis for axis in panels(figure)]
    assert len(shown) == 3 * 4
    assert [axis.get_title() for axis in shown[:4]] == ["manual", "ensemble", "entropy", "information"]
    assert shown[2].images[0].get_clim() == (0, 0.5)
    assert texts(figure).count("nats") == 2  # a colour bar each


# All slices of an image


def test_sheet_shows_all_slices_with_their_contours():
    stack = labels((8, 48, 56))
    figure = sheet.figure(image((8, 48, 56)), stack, "patient 60\nRV is missing", STRUCTURES)
    (axis,) = panels(figure)
    rows, columns = style.window(stack, (8, 1.5, 1.5))
    height, width = (stretch.stop - stretch.start + sheet.GAP for stretch in (rows, columns))
    assert axis.images[0].get_array().shape == (2 * height, 6 * width)
    assert contours(axis) == [style.colour(index) for index in (2, 1, 0)]
    # The second to the fourth slice of the first row have labels, which lie on their picture in the mosaic.
    corners = np.concatenate([path.vertices for path in axis.collections[-1].get_paths()])
    found = {(int(y // height), int(x // width)) for x, y in corners}
    assert found == {(0, 1), (0, 2), (0, 3)}
    assert {"patient 60\nRV is missing", "slice 1", "slice 8", "20 mm"} < set(texts(figure))


# As most stacks of MS-CMRSeg are stored: columns run to the left and back, rows upwards.
UPSIDE_DOWN = np.array(
    [[-0.379, -0.302, 3.779, 76.9], [-0.635, 0.186, -2.230, 146.4], [0.006, 0.649, 2.397, -127.7], [0, 0, 0, 1]]
)


@pytest.mark.parametrize(
    ("affine", "notes", "expected"),
    [
        (np.diag([-1, -1, 1, 1]), (), ("R", "L", "A", "P")),  # axial, as radiologists look at it
        (np.diag([2, 3, 1, 1]), (), ("L", "R", "P", "A")),
        (np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]), (), ("P", "A", "S", "I")),  # sagittal
        (UPSIDE_DOWN, (), ("AR", "PL", "I", "S")),
        (UPSIDE_DOWN, (NO_GEOMETRY,), ("", "", "", "")),
    ],
)
def test_sides_of_known_headers(affine, notes, expected):
    assert style.sides(Volume(np.zeros(SHAPE, np.float32), affine.astype(float), notes)) == expected


@pytest.mark.parametrize(
    ("affine", "notes", "expected"),
    [
        (np.diag([-1, -1, 1, 1]), (), "as stored"),
        (np.diag([2, 3, 1, 1]), (), "turned by 180 degrees"),
        (np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]), (), "as stored"),  # sagittal
        (
            np.array([[0, -1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, 0], [0, 0, 0, 1]]),
            (),
            "mirrored about a diagonal",
        ),  # coronal
        (UPSIDE_DOWN, (), "mirrored top to bottom"),
        (UPSIDE_DOWN, (NO_GEOMETRY,), "as stored"),
    ],
)
def test_turns_of_known_headers_to_what_viewers_show(affine, notes, expected):
    assert str(style.upright(Volume(np.zeros(SHAPE, np.float32), affine.astype(float), notes))) == expected


DRAWN = {
    "sheet": lambda image, labels: sheet.figure(image, labels, "a", STRUCTURES),
    "sheet around other labels": lambda image, labels: sheet.figure(
        image, labels * (labels == 1), "a", STRUCTURES, labels
    ),
    "segmentations": lambda image, labels: segmentations.figure({"1": (image, {"a": labels})}, ["a"], "a", STRUCTURES),
    "uncertainty": lambda image, labels: uncertainty.figure(
        {"1": (image, {"a": labels}, {"b": labels / 3})}, "unit", STRUCTURES
    ),
    "translations": lambda image, labels: translations.figure(
        {"1": (image, [image.array / 2], labels)}, "bSSFP", "LGE", STRUCTURES
    ),
    "appearance": lambda image, labels: appearance.figure(
        {"LGE": appearance.describe([(image, labels)], len(STRUCTURES), 0)}, STRUCTURES
    ),
    "worst patients": lambda image, labels: worst.figure(
        {"1": (image, {"a": labels})},
        worst.worst_patients(table(*(("1", name, 0.5) for name in STRUCTURES)), "ensemble_pp", 1),
        STRUCTURES,
    ),
}


@pytest.mark.parametrize("turn", [Turn(True, True, False), Turn(False, False, True)])
@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_picture_is_the_same_however_slices_are_stored(draw, turn):
    """An inferior scar of a stack that is stored upside down would look anterior."""
    stack = Volume(np.abs(image().array[:, :48, :48]), UPSIDE_DOWN)
    mask = labels()[:, :48, :48]
    expected, drawn = draw(stack, mask), draw(turn.apply(stack), turn.rearrange(mask))
    for one, other in zip(panels(expected), panels(drawn), strict=True):
        for first, second in zip(one.images, other.images, strict=True):
            np.testing.assert_array_equal(second.get_array(), first.get_array())
        for first, second in zip(one.collections, other.collections, strict=True):
            np.testing.assert_allclose(
                np.sort(second.get_paths()[0].vertices, 0), np.sort(first.get_paths()[0].vertices, 0)
            )


def test_map_of_the_uncertainty_lies_as_the_sheet_does():
    stack, mask = Volume(image().array, UPSIDE_DOWN), labels()
    (axis,) = panels(sheet.figure(Volume(mask / 3, UPSIDE_DOWN), mask, "a", STRUCTURES))
    shown = uncertainty.slices(mask / 3, mask, stack)
    expected = mpl.colormaps["inferno"](np.minimum(axis.images[0].get_array(), 1), bytes=True)
    inside = (
        sheet.mosaic(np.ones_like(mask[:, *style.window(style.upright(stack).rearrange(mask), stack.spacing)]), 0) > 0
    )
    np.testing.assert_array_equal(shown[inside], expected[inside])


def test_sheet_names_the_sides_of_its_first_slice():
    stack = Volume(image().array, UPSIDE_DOWN)
    (axis,) = panels(sheet.figure(stack, labels(), "patient", STRUCTURES))
    places = {text.get_text(): text.get_position() for text in axis.texts}
    width, height = (stretch.stop - stretch.start for stretch in reversed(style.window(labels(), stack.spacing)))
    left, right, top, bottom = (np.divide(places[side], (width, height)) for side in ("AR", "PL", "S", "I"))
    np.testing.assert_allclose([left[1], right[1], top[0], bottom[0]], 0.5)
    assert left[0] < 0.1 < 0.9 < right[0] < 1
    assert top[1] < 0.1 < 0.9 < bottom[1] < 1


def test_sheet_of_an_image_where_nothing_was_found():
    (axis,) = panels(sheet.figure(image(), np.zeros(SHAPE, np.uint8), "nothing", STRUCTURES))
    assert axis.images[0].get_array().shape == (SHAPE[1] + sheet.GAP, 6 * (SHAPE[2] + sheet.GAP))
    assert not contours(axis)
