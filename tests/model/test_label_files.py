import re

from matplotlib.colors import to_hex

from cardioseg.figures import style
from cardioseg.model import label_files

CODES = {"LV": 500, "right ventricle": 600}


def test_slicer_and_itk_snap_show_codes_by_name_in_the_figures_colours(tmp_path):
    label_files.write(tmp_path, "structures", CODES)
    slicer = [line.split() for line in (tmp_path / "structures.ctbl").read_text().splitlines() if line[0] != "#"]
    assert [(int(code), name) for code, name, *_ in slicer] == [
        (0, "background"),
        (500, "LV"),
        (600, "right_ventricle"),
    ]
    assert [alpha for *_, alpha in slicer] == ["0", "255", "255"]
    snap = [line for line in (tmp_path / "structures.label").read_text().splitlines() if line[0] != "#"]
    found = [re.fullmatch(r'(\d+) (\d+) (\d+) (\d+) ([01]) ([01]) ([01]) "(.*)"', line).groups() for line in snap]
    assert [(int(row[0]), row[-1]) for row in found] == [(0, "Clear Label"), (500, "LV"), (600, "right ventricle")]
    for index, (table, label) in enumerate(zip(slicer[1:], found[1:], strict=True)):
        assert table[2:5] == list(label[1:4])
        assert to_hex([int(part) / 255 for part in table[2:5]]) == to_hex(style.colour(index))
