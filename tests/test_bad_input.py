"""Every case in `support/bad_input.py` has the outcome that it states, and docs/bad_input.md shows it.

    WRITE_DOCS=1 python -m pytest tests/test_bad_input.py

writes that page.
"""

import os
import re
from collections.abc import Iterable

import numpy as np
import pytest

import bad_input
from bad_input import ROOT, Case, Outcome
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import metrics
from cardioseg.inference import postprocessing

PAGE = ROOT / "docs" / "bad_input.md"
TABLES = {
    "Images": bad_input.IMAGES,
    "Labels": bad_input.LABEL_FILES,
    "Cohorts": bad_input.COHORTS,
    "Configurations": bad_input.CONFIGURATIONS,
}
CASES = [case for cases in TABLES.values() for case in cases]


def by_name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", CASES, ids=by_name)
def test_input_is_refused_noted_or_used_as_stated(case: Case) -> None:
    got = bad_input.outcome(case)
    if case.error:
        assert case.error in got.error
        assert got.error.replace("\n", "").isprintable()
    else:
        assert got.error == ""
        assert bool(got.notes) == bool(case.notes)
        assert case.notes in "\n".join(got.notes)


@pytest.mark.parametrize(("path", "value"), bad_input.EVERY_KEY, ids=[path for path, _ in bad_input.EVERY_KEY])
def test_wrong_values_of_every_key_give_an_error_that_names_it(path: str, value: object) -> None:
    wrong = bad_input.wrong_types(path, value) + bad_input.out_of_range(path, value)
    for other in wrong:
        assert path in bad_input.complaint(path, other), f"{path}: {other!r}"


@pytest.mark.parametrize(("name", "spoil", "error"), bad_input.WEIGHTS, ids=[name for name, _, _ in bad_input.WEIGHTS])
def test_faulty_weights_are_refused(name: str, spoil: object, error: str) -> None:
    got = bad_input.weights_outcome(name)
    assert got.startswith("unet.pt: ")
    assert error in got


# Volumes and masks without a heart

SPACING = (8.0, 1.25, 1.25)
CRF = {"iterations": 5, "gaussian_mm": 1.5, "gaussian_compat": 1}
CRF |= {"bilateral_mm": 3, "bilateral_intensity": 0.1, "bilateral_compat": 1}
STRUCTURES = ["LV", "MYO", "RV"]
HEART = bad_input.CLASSES
APICAL = np.where(np.arange(len(HEART))[:, None, None] < 2, 0, HEART).astype(np.uint8)
WITHOUT_RV = np.where(HEART == 3, 0, HEART).astype(np.uint8)
EMPTY = np.zeros_like(HEART)

# Name, prediction, truth, Dice and ASD (mm) of LV, MYO and RV.
NONE = float("nan")
MASKS = [
    ("all background predicted", EMPTY, HEART, [0, 0, 0], [NONE] * 3),
    ("a heart predicted where there is none", HEART, EMPTY, [0, 0, 0], [NONE] * 3),
    ("neither a heart nor one predicted", EMPTY, EMPTY, [NONE] * 3, [NONE] * 3),
    ("RV not predicted", WITHOUT_RV, HEART, [1, 1, 0], [0, 0, NONE]),
    ("RV in neither", WITHOUT_RV, WITHOUT_RV, [1, 1, NONE], [0, 0, NONE]),
    ("apical slices without heart", APICAL, APICAL, [1, 1, 1], [0, 0, 0]),
    ("one slice", HEART[:1], HEART[:1], [1, 1, 1], [0, 0, 0]),
    ("one slice, all background predicted", EMPTY[:1], HEART[:1], [0, 0, 0], [NONE] * 3),
]


def measured(prediction: np.ndarray, truth: np.ndarray) -> list[dict]:
    """Post-process a prediction as the workflow does, and measure it."""
    probabilities = 0.97 * (prediction == np.arange(4).reshape(-1, 1, 1, 1)) + 0.0075
    affine = bad_input.affine()
    image = prediction.astype(np.float32) / 3
    settings = postprocessing.Settings(
        postprocessing.Crf(**CRF), postprocessing.Morphology((5, 2.5, 2.5), (2, 1), True)
    )
    crop = Volume(image, affine)
    labels = postprocessing.postprocess(
        Volume(probabilities.astype(np.float32), affine), crop, crop, settings, ["both"]
    )
    found = metrics.compare(labels["both"], truth, SPACING, STRUCTURES)
    return [metrics.measure(structure, SPACING) for structure in found]


@pytest.mark.parametrize(("name", "prediction", "truth", "dice", "asd"), MASKS, ids=[case[0] for case in MASKS])
def test_metrics_without_a_heart_are_as_stated(
    name: str, prediction: np.ndarray, truth: np.ndarray, dice: list, asd: list
) -> None:
    rows = measured(prediction, truth)
    np.testing.assert_allclose([row["dice"] for row in rows], dice, atol=0.05)
    np.testing.assert_allclose([row["asd_mm"] for row in rows], asd, atol=0.2)


# The page

INTRODUCTION = """\
# Faulty input and what happens to it

`WRITE_DOCS=1 python -m pytest tests/test_bad_input.py` makes this page from the cases in `tests/support/bad_input.py`
and from what the code did with them; do not edit it. Each case is made in a small cohort of two patients below
`data`, or in the paper's configuration.

*Refused* means that the message in the table is shown before any job starts, for all faulty files at once, and that
nothing is written. *Used, and noted* means that the note is shown once and stands in `results/cohort/cohort.csv`.

Two things are used without a note. The images of test patients may train the translation, and their bSSFP labels may
train the networks, as in the paper: no label of the target is ever learnt from. And a network accepts weights that
were trained with other settings; the workflow trains again when settings change.

Data is never run as code: neither weights, nor volumes, nor names of files. A configuration must be trusted like a
program, because Snakemake runs the Python in one that asks for `__use_yte__`.

Snakemake reads the files of `--configfile` before the workflow has a say, and does not name the one that it refuses:

- `UnicodeDecodeError: 'utf-8' codec can't decode ...`, in a traceback: the file is not in UTF-8. Save it as UTF-8, by
  `iconv -f latin1 -t utf-8 old.yaml > new.yaml` for instance.
- `Config file must be given as JSON or YAML with keys at top level.`: the file is empty, has nothing but comments, or
  does not begin with a key. Leave it out of the command, or write `{}` into it.
- `Config file is not valid JSON or YAML.`: brackets or quotes are not closed, or the indentation is not right.

`config.yaml` itself is refused with a sentence that names it.

No check can recognise labels that were drawn for another patient on the same grid, or images of another sequence under
the right name. An array that is mirrored although its affine does not say so is noted only where the labels or the
localiser show it.
"""


def table(header: str, rows: Iterable[tuple[str, ...]]) -> str:
    head = header.split("|")
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(in_a_cell, line)) + " |" for line in lines) + "\n"


def in_a_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", "<br>")


def shown(got: Outcome) -> str:
    if got.error:
        # Checksums of drawn voxels, which processors round differently, are left out.
        return "refused: " + re.sub(r"0x[0-9a-f]+", "0x...", got.error.removeprefix("configuration: "))
    return "used, and noted: " + "; ".join(got.notes) if got.notes else "used"


def key_rows() -> Iterable[tuple[str, str, str]]:
    """Each key, with the message for the first wrong type and for the first value out of range."""
    for path, value in bad_input.EVERY_KEY:
        wrong = [bad_input.wrong_types(path, value)[0], *bad_input.out_of_range(path, value)[:1]]
        said = [bad_input.complaint(path, other).splitlines()[0].removeprefix(f"{path}: ") for other in wrong]
        yield f"`{path}`", *said, *[""] * (2 - len(said))


def metric(values: Iterable[float]) -> str:
    return ", ".join("N/A" if np.isnan(value) else f"{value:.2f}" for value in values)


def page() -> str:
    parts = [INTRODUCTION]
    for title, cases in TABLES.items():
        rows = ((case.name, shown(bad_input.outcome(case))) for case in cases)
        parts += [f"## {title}\n", table("what is wrong|what happens", rows)]
    tried = sum(
        len(bad_input.wrong_types(*entry)) + len(bad_input.out_of_range(*entry)) for entry in bad_input.EVERY_KEY
    )
    parts += [
        "## Every key of the configuration\n",
        f"{len(bad_input.EVERY_KEY)} keys were set to {tried} wrong values. Each gives an error that names it. The "
        "table has the first value of a wrong type and the first that is out of range.\n",
        table("key|wrong type|out of range", key_rows()),
        "## Weights\n",
        "Every step that uses a network reads its weights like this. None of these files runs code.\n",
        table(
            "what is wrong|what happens", ((name, bad_input.weights_outcome(name)) for name, _, _ in bad_input.WEIGHTS)
        ),
        "## Volumes and masks without a heart\n",
        "Measured after post-processing, for LV, MYO and RV.\n",
    ]
    rows = []
    for name, prediction, truth, *_ in MASKS:
        found = measured(prediction, truth)
        rows.append((name, metric(row["dice"] for row in found), metric(row["asd_mm"] for row in found)))
    return "\n".join([*parts, table("what|Dice|ASD (mm)", rows)])


def test_bad_input_page_is_up_to_date() -> None:
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run `WRITE_DOCS=1 python -m pytest tests/test_bad_input.py`"
