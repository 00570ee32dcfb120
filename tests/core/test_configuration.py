import copy
from pathlib import Path

import pytest
import yaml

from cardioseg.core import configuration, configuration_file
from cardioseg.core.errors import InputError

ROOT = Path(__file__).parents[2]
PAPER = yaml.safe_load((ROOT / "config.yaml").read_text())
MISSING = object()


def changed(**changes):
    """The paper's configuration with keys changed: cropping__size=100."""
    config = copy.deepcopy(PAPER)
    for name, value in changes.items():
        *sections, key = name.split("__")
        section = config
        for part in sections:
            section = section[part]
        if value is MISSING:
            del section[key]
        else:
            section[key] = value
    return config


def overlaid(base, overlay):
    merged = dict(base)
    for key, value in overlay.items():
        merged[key] = (
            overlaid(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
        )
    return merged


def failure(config):
    with pytest.raises(InputError) as caught:
        configuration.check(config)
    message = str(caught.value)
    assert message.startswith("configuration: ")
    return message


ON_TOP_OF_THE_RECIPE = ("demo/mscmrseg_quick.yaml", "demo/emidec.yaml", "demo/myops.yaml")


@pytest.mark.parametrize(
    "path",
    ["config.yaml", "tests/workflow/config.yaml", *(f"demo/{path.name}" for path in sorted(ROOT.glob("demo/*.yaml")))],
)
def test_configurations_of_the_project_are_valid(path):
    overlay = yaml.safe_load((ROOT / path).read_text())
    recipe = yaml.safe_load((ROOT / "demo/mscmrseg.yaml").read_text())
    configuration.check(overlaid(overlaid(PAPER, recipe) if path in ON_TOP_OF_THE_RECIPE else PAPER, overlay))


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "/data/ms cmrseg/Jürgen"},
        {"ensemble": [0]},
        {"seed": 2**40},
        {"cropping__size": 64},
        {"cohort__splits__validation": []},
        {"cohort__splits__validation": [1, "2", "3-5", "Jane Doe"]},
        {"seed": 0},
        {"compute__device": "cuda:3"},
        {"postprocessing__morphology__order": []},
        {"clinical": None},
        {"clinical": {"cavity": "RV", "myocardium": "MYO"}},
        {"translation__weights__cycle": 0},
        {"translation__learning_rate": 1},
        {"translation__precision": "bfloat16", "segmentation__precision": "tf32"},
        # What MUNIT's networks need of a crop is no matter to histogram matching.
        {"translation__method": "histogram", "cropping__size": 48},
        {"translation__method": "histogram", "cropping__size": 98, "segmentation__depth": 1},
    ],
)
def test_valid_values_are_accepted(changes):
    configuration.check(changed(**changes))


def test_null_takes_a_name_of_another_overlay_out_of_the_curves_that_fall():
    looks = yaml.safe_load((ROOT / "demo" / "config.yaml").read_text())["segmentation"]["appearance"]
    looks |= {"downward": {"background": 0.3, "muscle": None}, "nulled": None, "scar": None}
    configuration.check(changed(segmentation__appearance=looks))
    looks["downward"]["muscle"] = 0.3
    with pytest.raises(InputError, match=r"muscle is neither background nor in .*; or `muscle: null`"):
        configuration.check(changed(segmentation__appearance=looks))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dta": 1}, "unknown key dta; did you mean data?"),
        ({"cropping__sise": 192}, "unknown key cropping.sise; did you mean size?"),
        ({"translation__generator__widht": 64}, "unknown key translation.generator.widht; did you mean width?"),
        ({"cohort__splits__training": ["1-5"]}, "unknown key cohort.splits.training; known here: labelled,"),
        ({"segmentation__finetuning__xyz": 1}, "known here: epochs, learning_rate, with_source"),
        ({"cropping__7": 1}, "unknown key cropping.7; known here: size, percentiles"),
    ],
)
def test_unknown_key_is_refused_with_a_guess(changes, expected):
    assert expected in failure(changed(**changes))


def test_every_unknown_key_is_named():
    message = failure(changed(dta=1, sede=2, cropping__sise=3))
    for key in ("dta", "sede", "cropping.sise"):
        assert f"unknown key {key};" in message
    assert len(message.splitlines()) == 3


def test_keys_that_are_no_text():
    config = changed()
    config[7] = 1
    config[None] = 2
    message = failure(config)
    assert "unknown key 7;" in message
    assert "unknown key None;" in message


@pytest.mark.parametrize("key", ["data", "cohort__splits__test", "translation__weights__cycle", "postprocessing__crf"])
def test_missing_key_is_named(key):
    assert f"key {key.replace('__', '.')} is missing" in failure(changed(**{key: MISSING}))


def test_every_missing_key_is_named():
    message = failure({})
    assert all(f"key {key} is missing" in message for key in PAPER)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"translation__iterations": "abc"}, "translation.iterations: 'abc' is not a whole number."),
        ({"translation__iterations": 20000.0}, "translation.iterations: 20000.0 is not a whole number."),
        ({"translation__iterations": True}, "translation.iterations: True is not a whole number."),
        (
            {"translation__learning_rate": "1e-4"},
            "translation.learning_rate: '1e-4' is not a number. YAML takes 1e-4 for",
        ),
        ({"translation__learning_rate": "fast"}, "translation.learning_rate: 'fast' is not a number."),
        ({"translation__learning_rate": float("nan")}, "translation.learning_rate: nan is not a number."),
        ({"segmentation__edge_weight": float("inf")}, "segmentation.edge_weight: inf is not a number."),
        ({"segmentation__finetuning__with_source": "yes"}, "with_source: 'yes' is not true or false."),
        ({"data": 5}, "data: 5 is not text or nothing."),
        ({"cohort": None}, "cohort: None is not a section of keys."),
        ({"ensemble": 4}, "ensemble: 4 is not a list."),
        ({"cohort__splits__test": "1-5"}, "cohort.splits.test: '1-5' is not a list."),
        ({"cohort__splits__test": ["1-5", 6.5]}, "cohort.splits.test.1: 6.5 is not text or a whole number."),
        ({"cohort__structures": {"LV": "500"}}, "cohort.structures.LV: '500' is not a whole number or nothing."),
        ({"cohort__structures": {False: 500}}, "cohort.structures: False is not text."),  # `NO: 500` in YAML
        ({"cropping__percentiles": ["low", 99]}, "cropping.percentiles.0: 'low' is not a number."),
    ],
)
def test_value_of_a_wrong_type_is_refused(changes, expected):
    assert expected in failure(changed(**changes))


@pytest.mark.parametrize("config", [None, [], "data"])
def test_file_that_is_not_a_mapping_is_refused(config):
    assert "the file: " in failure(config)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": -1}, "seed: -1"),
        ({"data": ""}, "data: ''"),
        ({"ensemble": []}, "ensemble: []"),
        ({"synthesis__samples": 0}, "synthesis.samples: 0"),
        ({"segmentation__dropout": 1}, "segmentation.dropout: 1"),
        ({"segmentation__depth": 0}, "segmentation.depth: 0"),
        ({"segmentation__network": "vnet"}, "segmentation.network: 'vnet'; expected one of ['unet', 'segresnet']"),
        ({"translation__learning_rate": 0}, "translation.learning_rate: 0"),
        (
            {"translation__precision": "float16"},
            "translation.precision: 'float16'; expected one of ['float32', 'tf32', 'bfloat16']",
        ),
        ({"translation__betas": [0.5, 1]}, "translation.betas.1: 1"),
        ({"translation__betas": [0.5]}, "translation.betas: [0.5]"),
        ({"translation__weights__image": -1}, "translation.weights.image: -1"),
        ({"cropping__percentiles": [-1, 99]}, "cropping.percentiles.0: -1"),
        ({"cropping__percentiles": [1, 50, 99]}, "cropping.percentiles: [1, 50, 99]"),
        ({"resampling__spacing_mm": 0}, "resampling.spacing_mm: 0"),
        ({"compute__device": "gpu"}, "compute.device: 'gpu'"),
        ({"compute__threads__prediction": 0}, "compute.threads.prediction: 0"),
        ({"cohort__source__name": "b SSFP"}, "cohort.source.name: 'b SSFP'"),
        ({"cohort__target__name": "../LGE"}, "cohort.target.name: '../LGE'"),
        ({"cohort__structures": {}}, "cohort.structures: {}"),
        ({"cohort__structures": {"LV": 0}}, "cohort.structures.LV: 0"),
        ({"cohort__structures": {"L/V": 1}}, "cohort.structures: 'L/V'"),
        ({"postprocessing__morphology__order": ["LV", "LV"]}, "postprocessing.morphology.order: ['LV', 'LV']"),
        ({"postprocessing__morphology__radius_mm": [5, 2]}, "postprocessing.morphology.radius_mm: [5, 2]"),
    ],
)
def test_value_out_of_range_is_refused(changes, key):
    assert key in failure(changed(**changes))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"cropping__size": 100},
            "cropping.size: 100 is not divisible by the network's stride 16 (segmentation.depth); 96 is.",
        ),
        ({"cropping__size": 200, "segmentation__depth": 6}, "stride 64 (segmentation.depth); 192 is."),
        ({"cropping__size": 17, "segmentation__depth": 5}, "(segmentation.depth); 32 is."),
        (
            {"cropping__size": 98, "segmentation__depth": 1},
            "stride 4 (translation.generator.downsamplings); 96 is.",
        ),
        (
            {
                "cropping__size": 16,
                "translation__generator__downsamplings": 4,
                "translation__discriminator__scales": 1,
            },
            "cropping.size: 16 leaves one pixel after translation.generator.downsamplings",
        ),
        (
            {"cropping__size": 64, "segmentation__depth": 6, "segmentation__batch_size": 1},
            "segmentation.depth: 6 leaves one pixel of cropping.size: 64",
        ),
        ({"cropping__size": 48}, "cropping.size: 48 is too small for translation.discriminator (3 scales, 4 layers)"),
        ({"cropping__percentiles": [99, 1]}, "cropping.percentiles: [99, 1]; expected the lower one first"),
        ({"localisation__percentiles": [5, 5]}, "localisation.percentiles: [5, 5]"),
        ({"ensemble": [1, 2, 1]}, "ensemble: a seed occurs twice"),
        ({"cohort__source__name": "LGE"}, "cohort.source.name and cohort.target.name are equal"),
        ({"cohort__source__name": "labels"}, "cohort.source.name: 'labels' is the name of a folder"),
        (
            {"cohort__structures": {"LV": 1, "MYO": 1, "RV": 2}},
            "cohort.structures (LV, MYO, RV): two structures share a code",
        ),
        ({"cohort__source__image": "*_C0.nii.gz"}, "cohort.source.image: expected {patient} exactly once, got '*_C0"),
        (
            {"cohort__target__labels": "{patient}/{patient}.nii.gz"},
            "cohort.target.labels: expected {patient} exactly once",
        ),
        (
            {"cohort__target__image": PAPER["cohort"]["source"]["image"]},
            "cohort.target.image: the pattern of cohort.source.image",
        ),
        ({"cohort__structures": {"LV": None}}, "cohort.structures: no structure has a code"),
        (
            {"cohort__structures__LV": None},
            "segmentation.class_weights: 4 weights; expected 3, the background's and one for each structure of "
            "cohort.structures (MYO, RV).",
        ),
        ({"cohort__structures__LV": None}, "postprocessing.morphology.order: LV is not in"),
        ({"cohort__structures__LV": None}, "clinical.cavity: LV is not in"),
        ({"segmentation__class_weights": [1, 1, 1]}, "segmentation.class_weights: 3 weights; expected 4"),
        ({"localisation__class_weights": [1] * 5}, "localisation.class_weights: 5 weights; expected 4"),
        (
            {"postprocessing__morphology__order": ["LVM"]},
            "postprocessing.morphology.order: LVM is not in cohort.structures",
        ),
        (
            {"clinical__cavity": "LVM"},
            "clinical.cavity: LVM is not in cohort.structures (LV, MYO, RV); or `clinical: null`.",
        ),
        ({"clinical__cavity": "MYO"}, "clinical: cavity and myocardium are one structure"),
    ],
)
def test_contradictions_are_refused(changes, expected):
    assert expected in failure(changed(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"segmentation__batch_size": 2},
        {"segmentation__depth": 5},
        {"cropping__size": 128},
        {"segmentation__network": "segresnet"},
    ],
)
def test_networks_that_can_learn_from_what_they_halve_are_accepted(changes):
    smallest = {"cropping__size": 64, "segmentation__depth": 6, "segmentation__batch_size": 1}
    configuration.check(changed(**smallest | changes))


@pytest.mark.parametrize("name", ["background", "AVG", "mean"])
def test_structure_may_not_be_called_as_what_tables_name_beside_structures(name):
    message = failure(changed(cohort__structures={"LV": 500, "MYO": 200, name: 600}))
    assert f"cohort.structures: {name} is what no structure may be called; expected another name." in message


def test_a_structure_is_left_out_by_null():
    overlay = {
        "cohort": {"structures": {"RV": None, "scar": 700, "LV": 1}},
        "postprocessing": {"morphology": {"order": ["scar", "LV"]}},
    }
    config = overlaid(PAPER, overlay)
    configuration.check(config)
    assert list(configuration.structures(config).items()) == [("LV", 1), ("MYO", 200), ("scar", 700)]


def test_all_contradictions_are_told_at_once():
    message = failure(changed(cropping__size=100, ensemble=[1, 1], cropping__percentiles=[9, 8]))
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(("size", "depth"), [(197, 3), (70, 1), (100, 6), (201, 5), (127, 4)])
def test_advised_size_can_be_used(size, depth):
    message = failure(changed(cropping__size=size, segmentation__depth=depth))
    assert len(message.splitlines()) == 1
    configuration.check(changed(cropping__size=int(message.split()[-2]), segmentation__depth=depth))


SPELLINGS = [
    "2020-01-01",
    "2020-01-01 12:30:00",
    "~",
    "null",
    "NULL",
    "",
    "true",
    "NO",
    "on",
    "1.50",
    "1.0e+5",
    ".nan",
    ".inf",
]


@pytest.mark.parametrize("written", SPELLINGS)
def test_names_that_yaml_takes_for_something_else_are_refused(written):
    splits = yaml.safe_load(f"test: [1, {written or '~'}]")
    message = failure(PAPER | {"cohort": PAPER["cohort"] | {"splits": PAPER["cohort"]["splits"] | splits}})
    assert "cohort.splits.test.1: " in message
    assert "put quotes around them" in message


@pytest.mark.parametrize(
    "written", [*[f"'{name}'" for name in SPELLINGS if name], "NA", "nan", "None", "1e5", "n", "12:60x"]
)
def test_names_that_are_text_are_taken(tmp_path, written):
    path = tmp_path / "overlay.yaml"
    path.write_text(f"cohort: {{splits: {{test: [{written}]}}}}")
    configuration_file.check(path)
    splits = PAPER["cohort"]["splits"] | yaml.safe_load(path.read_text())["cohort"]["splits"]
    configuration.check(PAPER | {"cohort": PAPER["cohort"] | {"splits": splits}})
    assert splits["test"] == [written.strip("'")]


@pytest.mark.parametrize("given", [2019, 1.5, True])
def test_folder_that_is_called_like_a_number(given):
    assert "as ./NAME" in failure(PAPER | {"data": given})


def test_appearance_has_classes_in_place_of_names():
    looks = yaml.safe_load((ROOT / "demo" / "config.yaml").read_text())["segmentation"]["appearance"]
    configured = PAPER | {"segmentation": PAPER["segmentation"] | {"appearance": looks}}
    found = configuration.appearance(configured, "segmentation")
    assert found["downward"] == [0.3, 0, 0.3, 0]
    looks["downward"]["MYO"] = None
    assert configuration.appearance(configured, "segmentation")["downward"] == [0.3, 0, 0, 0]
    assert (found["scar"]["structure"], found["scar"]["blood"]) == (2, 1)
    assert (found["nulled"]["structure"], found["nulled"]["blood"]) == (2, 1)
    assert found["percentiles"] == PAPER["cropping"]["percentiles"]
    assert configuration.appearance(configured, "localisation") is None


def test_contraction_has_classes_in_place_of_names():
    asked = {"cavity": "LV", "wall": "MYO", "narrowing": [-0.1, 0.5]}
    configured = PAPER | {"segmentation": PAPER["segmentation"] | {"contraction": asked}}
    assert configuration.contraction(configured) == {"cavity": 1, "wall": 2, "narrowing": [-0.1, 0.5]}
    assert configuration.contraction(PAPER) is None
