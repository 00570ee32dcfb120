import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from cardioseg import figures

STRUCTURES = ["LV", "MYO", "RV"]


@pytest.fixture(autouse=True)
def no_screen():
    mpl.use("Agg")
    yield
    assert not plt.get_fignums(), "a figure was left open"


def image(shape=(5, 48, 56), seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def labels(shape=(5, 48, 56)):
    array = np.zeros(shape, np.uint8)
    array[1:4, 10:30, 10:34] = 3
    array[1:4, 12:28, 12:28] = 2
    array[1:4, 16:24, 16:24] = 1
    return array


def picture(path):
    """RGB of a PNG file; not of one colour."""
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    pixels = plt.imread(path)
    assert pixels.ndim == 3
    assert min(pixels.shape[:2]) > 100
    assert np.ptp(pixels[..., :3]) > 0.5
    return pixels[..., :3]


def coloured(pixels, colour):
    """How many pixels are, nearly, of a colour."""
    return int((abs(pixels - np.array(mpl.colors.to_rgb(colour))) < 0.15).all(axis=-1).sum())


def test_segmentations(tmp_path):
    path = tmp_path / "figure.png"
    patients = {
        "6": (image(), {"manual": labels(), "U-Net": np.zeros_like(labels())}),
        "7": (image(seed=1), {"manual": labels(), "U-Net": labels()}),
    }
    figures.segmentations(path, patients, STRUCTURES)
    pixels = picture(path)
    assert pixels.shape[0] > pixels.shape[1]  # six rows, three columns
    for colour in figures.COLOURS[:3]:
        assert coloured(pixels, colour) > 500


def test_contours_are_the_structures(tmp_path):
    """Without labels only the legend is coloured."""
    counts = []
    for array in (np.zeros_like(labels()), labels()):
        figures.segmentations(tmp_path / "figure.png", {"6": (image(), {"manual": array})}, STRUCTURES)
        counts.append([coloured(picture(tmp_path / "figure.png"), colour) for colour in figures.COLOURS[:3]])
    assert all(more > 3 * less for less, more in zip(*counts, strict=True))


def single_pixel(array):
    array[2, 20, 20] = 1


def full(array):
    array[:] = 2


def at_the_edge(array):
    array[0, :3, :3] = 1
    array[-1, -3:, -3:] = 3


@pytest.mark.parametrize("draw", [None, single_pixel, full, at_the_edge])
@pytest.mark.parametrize("slices", [1, 4])
def test_odd_labels(tmp_path, draw, slices):
    array = np.zeros((5, 48, 56), np.uint8)
    if draw:
        draw(array)
    array = array[:slices]
    figures.segmentations(tmp_path / "a.png", {"6": (image(array.shape), {"manual": array})}, STRUCTURES)
    figures.translations(
        tmp_path / "b.png", {"6": (image(array.shape), [image(array.shape)], array)}, "bSSFP", "LGE", STRUCTURES
    )
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")


def test_constant_image(tmp_path):
    patients = {"6": (np.zeros((5, 48, 56)), {"manual": labels()})}
    figures.segmentations(tmp_path / "figure.png", patients, STRUCTURES)
    picture(tmp_path / "figure.png")


def test_odd_names(tmp_path):
    patients = {name: (image(), {"U-Net (FT)": labels()}) for name in ("Jürgen Ø_^%s", "5$ and 6$ {")}
    figures.segmentations(tmp_path / "figure.png", patients, STRUCTURES)
    figures.translations(
        tmp_path / "figure.png", {name: (image(), [], labels()) for name in patients}, "bSSFP", "LGE", STRUCTURES
    )


def test_where_structures_meet_the_first_is_seen(tmp_path):
    """The endocardium is the LV's and not hidden by the wall's inner contour."""
    ring = np.where(labels() == 3, 0, labels())
    figures.segmentations(tmp_path / "figure.png", {"6": (0 * image(), {"manual": ring})}, STRUCTURES)
    red, green, _ = (coloured(picture(tmp_path / "figure.png"), colour) for colour in figures.COLOURS[:3])
    # Sides of 8 and 16 pixels, and the same line of each in the legend.
    assert red > green / 3


def test_more_structures_than_colours(tmp_path):
    array = labels()
    array[2, 40:44, 40:44] = 8
    names = [f"structure{index}" for index in range(8)]
    figures.segmentations(tmp_path / "figure.png", {"6": (image(), {"manual": array})}, names)
    picture(tmp_path / "figure.png")


def test_translations(tmp_path):
    path = tmp_path / "figure.png"
    patients = {name: (image(), [image(seed=seed) for seed in (1, 2, 3)], labels()) for name in ("6", "7")}
    figures.translations(path, patients, "bSSFP", "LGE", STRUCTURES)
    pixels = picture(path)
    assert pixels.shape[1] > 2 * pixels.shape[0]  # five columns, two rows
    for colour in figures.COLOURS[:3]:
        assert coloured(pixels, colour) > 50


def test_three_slices_from_apex_to_base():
    array = np.zeros((16, 4, 4), np.uint8)
    array[3:13] = 1
    assert figures._slices(array) == (4, 8, 11)
    array[:] = 0
    array[7, 0, 0] = 1
    assert figures._slices(array) == (7, 7, 7)
    assert figures._slices(np.zeros((3, 4, 4), np.uint8)) == (0, 1, 2)


def test_window_holds_the_labels():
    array = np.zeros((3, 200, 180), np.uint8)
    array[1, 90:120, 70:76] = 1
    rows, columns = figures._window(array)
    assert array[:, rows, columns].sum() == array.sum()
    assert rows.stop - rows.start == columns.stop - columns.start < 80
