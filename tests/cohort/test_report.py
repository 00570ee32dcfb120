import json

import pytest

from cardioseg.cohort import report
from cardioseg.core.errors import InputError
from cardioseg.phantoms import heart

CODES = {"LV": 500, "MYO": 200, "RV": 600}
SPLITS = {"LGE": {"validation": ["1"], "test": ["60", "61"], "translation_target": ["60"]}}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    heart.write_patient(folder, 60, seed=1, matrix_scale=0.25)
    return heart.release_files(folder, 60)["LGE"]


def row(image, location):
    (found,) = report.rows([report.Entry("LGE", "60", image, None, location)], SPLITS, {"LGE": CODES}, None)
    return found


def test_a_volume_is_described(image):
    found = row(image, None)
    assert (found["modality"], found["patient"], found["image"]) == ("LGE", "60", str(image))
    assert found["splits"] == "test translation_target"
    assert (found["labels"], found["located"]) == ("no", "not needed")


@pytest.mark.parametrize(("found", "expected"), [(True, "yes"), (False, "no")])
def test_a_heart_that_was_not_found_is_noted(image, tmp_path, found, expected):
    location = tmp_path / "60.json"
    location.write_text(json.dumps({"centre": [1.0, 2.0], "found": found}))
    described = row(image, location)
    assert described["located"] == expected
    assert ("the localiser finds no heart" in described["notes"]) is not found


def test_a_missing_image_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        row(tmp_path / "nowhere.nii.gz", None)
