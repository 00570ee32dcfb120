"""The configuration: one schema for its form, and the rules between keys that a schema cannot express."""

import datetime
import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from cardioseg.core import volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import BACKGROUND

_SCHEMA = Path(__file__).with_name("configuration.schema.yaml").read_text("utf-8")
# The reader in C is eight times as fast; not every build has it.
SCHEMA = yaml.load(_SCHEMA, yaml.CSafeLoader) if yaml.__with_libyaml__ else yaml.safe_load(_SCHEMA)
# The sections that say what is done to an image. A trained model keeps them for new patients.
IMAGE_SECTIONS = (
    *("resampling", "localisation", "cropping", "segmentation", "postprocessing"),
    *("clinical", "scar", "segments"),
)
# Where names that YAML takes for something else need another spelling.
OTHER_SPELLINGS = {
    "data": "Write a folder with such a name as ./NAME.",
    "cohort.splits": "YAML takes some names for a number, a date or a truth value: put quotes around them.",
}
TYPES = {
    "object": "a section of keys",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "nothing",
}
EXPECTED = {
    "enum": "one of {}",
    "minimum": "{} or more",
    "maximum": "{} or less",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minItems": "at least {} values",
    "maxItems": "at most {} values",
    "minProperties": "at least {} key",
    "minLength": "some text",
    "pattern": "{1}",
    "uniqueItems": "each once",
}
# JSON Schema accepts 2.0 as an integer, but `range` does not. Numbers that are NaN or infinite are refused.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    ),
)


def check(configuration: Mapping[str, Any]) -> None:
    """Check a configuration against the schema and the rules between keys.

    Parameters
    ----------
    configuration : mapping
        All sections, with the command line's changes.

    Raises
    ------
    InputError
        The configuration cannot be run; the error names every offending key.
    """
    errors = sorted(Validator(SCHEMA).iter_errors(configuration), key=lambda error: list(map(str, error.path)))
    problems = [problem for error in errors for problem in _explain(error)] or list(_contradictions(configuration))
    if problems:
        raise InputError("configuration: " + "\n  ".join(problems))


def structures(configuration: Mapping[str, Any]) -> dict[str, int]:
    """Return the codes of the structures to segment, in the order of the networks' classes.

    A structure whose code is null is left out.

    Parameters
    ----------
    configuration : mapping
        The whole configuration.

    Returns
    -------
    dict of str to int
        Codes by structure.
    """
    return {name: code for name, code in configuration["cohort"]["structures"].items() if code is not None}


def fused_labels(configuration: Mapping[str, Any]) -> list[str]:
    """Which labels of a patient's own source image are fused: `manual` or `predicted` ones, both, or none.

    Parameters
    ----------
    configuration : mapping
        The whole configuration.

    Returns
    -------
    list of str
        The kinds of labels.
    """
    return configuration["fusion"]["labels"] if configuration["fusion"] else []


def label_codes(configuration: Mapping[str, Any], role: str) -> dict[str, list[int]]:
    """Return the values in a modality's label files.

    Parameters
    ----------
    configuration : mapping
        All sections, or at least `cohort`.
    role : one of 'source', 'target'
        The modality.

    Returns
    -------
    dict of str to list of int
        The values of each structure, in the order of the networks' classes, then those that are background as 0 is,
        under that name. A structure that the files do not have has no values.
    """
    own = configuration["cohort"][role].get("codes") or {}
    values = {**structures(configuration), BACKGROUND: []} | own
    return {
        name: [value] if isinstance(value, int) else list(value or ())
        for name, value in values.items()
        if name in (*structures(configuration), BACKGROUND)
    }


def appearance(configuration: Mapping[str, Any], section: str) -> dict[str, Any] | None:
    """Return the settings `appearance` of a section, with the numbers of classes in place of the structures' names.

    Parameters
    ----------
    configuration : mapping
        All sections.
    section : one of 'localisation', 'segmentation'
        The section.

    Returns
    -------
    dict or None
        What `segmentation.appearance.randomise` takes; None where the setting is off.
    """
    settings = configuration[section]["appearance"]
    if settings is None:
        return None
    classes = [BACKGROUND, *structures(configuration)]
    numbered = {
        name: settings[name] and _numbered(settings[name], classes, "structure", "blood") for name in ("nulled", "scar")
    }
    downward = [settings["downward"].get(name) or 0 for name in classes]
    percentiles = configuration["cropping" if section == "segmentation" else section]["percentiles"]
    return {**settings, **numbered, "downward": downward, "percentiles": percentiles}


def contraction(configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """The `segmentation.contraction` with classes in place of names, as `augmentation.contract` takes it.

    Parameters
    ----------
    configuration : mapping
        The whole configuration.

    Returns
    -------
    dict or None
        The settings, or None where the configuration has none.
    """
    settings = configuration["segmentation"]["contraction"]
    if settings is None:
        return None
    classes = [BACKGROUND, *structures(configuration)]
    return _numbered(settings, classes, "cavity", "wall")


def _numbered(settings: Mapping[str, Any], classes: Sequence[str], *keys: str) -> dict[str, Any]:
    """Settings with the number of its class in place of the name that each of the keys has."""
    return {**settings, **{key: classes.index(settings[key]) for key in keys}}


def check_settings(sections: Mapping[str, Any]) -> None:
    """Refuse settings that no configuration can have.

    Parameters
    ----------
    sections : mapping of str to Any
        Sections of a configuration by name. A section may lack keys, and have others than this version knows.

    Raises
    ------
    InputError
        A value is not of its type or out of its bounds.
    """
    for name, section in sections.items():
        own = {
            key: rule
            for key, rule in SCHEMA["properties"][name].items()
            if key not in ("required", "additionalProperties")
        }
        schema = {"$defs": SCHEMA["$defs"], **own}
        problems = [problem for error in Validator(schema).iter_errors(section) for problem in _explain(error)]
        if problems:
            raise InputError(f"section {name}: {problems[0]}")


def _explain(error: jsonschema.ValidationError) -> Iterator[str]:
    def path(*name: Any) -> str:
        return ".".join(map(str, (*error.absolute_path, *name))) or "the file"

    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        for name in error.instance:
            if name not in known:
                guess = difflib.get_close_matches(str(name), known, n=1)
                advice = f"did you mean {guess[0]}?" if guess else f"known here: {', '.join(known)}."
                yield f"unknown key {path(name)}; {advice}"
    elif error.validator == "required":
        # jsonschema gives one error per missing key, and names the key only in the message.
        yield f"key {path(error.message.split(chr(39))[1])} is missing."
    elif error.validator == "type":
        expected = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        advice = " YAML takes 1e-4 for text: write 1.0e-4 or 0.0001." if _is_number_as_text(error.instance) else ""
        if not isinstance(error.instance, list | dict | str):
            advice += "".join(f" {other}" for key, other in OTHER_SPELLINGS.items() if path().startswith(key))
        shown = error.instance if isinstance(error.instance, datetime.date) else repr(error.instance)
        yield f"{path()}: {shown} is not {' or '.join(TYPES[name] for name in expected)}.{advice}"
    elif error.validator in EXPECTED:
        expected = EXPECTED[error.validator].format(error.validator_value, error.schema.get("description"))
        yield f"{path()}: {error.instance!r}; expected {expected}."
    else:
        yield f"{path()}: {error.message}."


def _is_number_as_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and "e" in value.lower() and math.isfinite(float(value))
    except ValueError:
        return False


def _contradictions(configuration: Mapping[str, Any]) -> Iterator[str]:
    """What no configuration can have although each key by itself is right, in the order of the sections."""
    yield from _of_structures(configuration)
    yield from _of_modalities(configuration)
    yield from _of_members(configuration)
    yield from _of_sizes(configuration)
    for section in ("localisation", "segmentation"):
        yield from _of_training(configuration, section)
    yield from _of_contraction(configuration)
    for section in ("localisation", "cropping"):
        low, high = configuration[section]["percentiles"]
        if low >= high:
            yield f"{section}.percentiles: [{low}, {high}]; expected the lower one first."
    yield from _of_masks(configuration)


def _known(configuration: Mapping[str, Any]) -> str:
    """The key that names the structures, with their names."""
    return f"cohort.structures ({', '.join(structures(configuration))})"


def _of_structures(configuration: Mapping[str, Any]) -> Iterator[str]:
    codes = structures(configuration)
    if not codes:
        yield "cohort.structures: no structure has a code; expected at least one code."
    for name in volumes.RESERVED:
        if name in codes:
            yield f"cohort.structures: {name} is what no structure may be called; expected another name."
    if len(set(codes.values())) < len(codes):
        yield (
            f"{_known(configuration)}: two structures share a code; expected one code each, or null to leave a "
            "structure out."
        )


def _of_modalities(configuration: Mapping[str, Any]) -> Iterator[str]:
    cohort = configuration["cohort"]
    if cohort["source"]["name"] == cohort["target"]["name"]:
        yield "cohort.source.name and cohort.target.name are equal; expected two modalities."
    patterns: dict[str, str] = {}
    for role in ("source", "target"):
        yield from _of_codes(configuration, role)
        if cohort[role]["name"] == "labels":
            yield f"cohort.{role}.name: 'labels' is the name of a folder of results; expected another."
        for key in ("image", "labels"):
            pattern = cohort[role][key]
            if pattern.count("{patient}") != 1:
                yield f"cohort.{role}.{key}: expected {{patient}} exactly once, got {pattern!r}."
            elif "\\" in pattern:
                yield f"cohort.{role}.{key}: {pattern!r}; expected / between folders."
            elif {"", ".", ".."} & set(pattern.split("/")):
                yield f"cohort.{role}.{key}: {pattern!r}; expected a path below `data`, without . and .. in it."
            elif pattern in patterns:
                yield f"cohort.{role}.{key}: the pattern of {patterns[pattern]}; expected one that finds other files."
            patterns[pattern] = f"cohort.{role}.{key}"


def _of_codes(configuration: Mapping[str, Any], role: str) -> Iterator[str]:
    codes, own = structures(configuration), configuration["cohort"][role].get("codes") or {}
    left_out = {name for name, code in configuration["cohort"]["structures"].items() if code is None}
    unknown = [
        name
        for name, value in own.items()
        if name not in (BACKGROUND, *codes) and not (value is None and name in left_out)
    ]
    if unknown:
        yield f"cohort.{role}.codes: {unknown[0]} is neither {BACKGROUND} nor in {_known(configuration)}."
    values_of = label_codes(configuration, role)
    unlabelled = volumes.unlabelled(values_of)
    if role == "source" and unlabelled:
        yield (
            f"cohort.source.codes.{unlabelled[0]}: no value; networks learn from these labels. Give its value, or "
            f"leave the structure out (cohort.structures.{unlabelled[0]}: null)."
        )
    elif codes and len(unlabelled) == len(codes):
        yield f"cohort.{role}.codes: no structure has a value; expected one for those that the files have."
    values = [value for listed in values_of.values() for value in listed]
    if own and len(set(values)) < len(values):
        yield f"cohort.{role}.codes: a value stands for two of {_known(configuration)}; expected each value once."


def _of_members(configuration: Mapping[str, Any]) -> Iterator[str]:
    if len(set(configuration["ensemble"])) < len(configuration["ensemble"]):
        yield "ensemble: a seed occurs twice; equal members would count double."
    self_training = configuration["self_training"]
    if self_training and len(configuration["ensemble"]) < 2:
        yield (
            "self_training: `ensemble` has one seed, and each member learns from what the others see; expected two "
            "seeds or more, or `self_training: null`."
        )
    if self_training and self_training["fused"] and not configuration["fusion"]:
        yield "self_training.fused: `fusion` is null, so there is nothing to fuse; set it, or `fused: false`."


def _of_sizes(configuration: Mapping[str, Any]) -> Iterator[str]:
    """Crops that the networks cannot halve as often as they do."""
    size, translation = configuration["cropping"]["size"], configuration["translation"]
    segmentation = configuration["segmentation"]
    strides = {"segmentation.depth": 2 ** segmentation["depth"]}
    if translation["method"] == "munit":
        strides["translation.generator.downsamplings"] = 2 ** translation["generator"]["downsamplings"]
    # The strides are powers of two, so a multiple of the largest is a multiple of all.
    key, stride = max(strides.items(), key=lambda item: item[1])
    if size % stride:
        nearest = max(stride, round(size / stride) * stride)
        yield f"cropping.size: {size} is not divisible by the network's stride {stride} ({key}); {nearest} is."
    discriminator = translation["discriminator"]
    if translation["method"] == "munit" and size < 2 ** (discriminator["scales"] - 1 + discriminator["layers"]):
        yield (
            f"cropping.size: {size} is too small for translation.discriminator ({discriminator['scales']} scales, "
            f"{discriminator['layers']} layers)."
        )
    elif size == strides.get("translation.generator.downsamplings"):
        yield f"cropping.size: {size} leaves one pixel after translation.generator.downsamplings; expected more."
    if (segmentation["network"], segmentation["batch_size"], size) == ("unet", 1, strides["segmentation.depth"]):
        yield (
            f"segmentation.depth: {segmentation['depth']} leaves one pixel of cropping.size: {size}, of which a batch "
            "norm cannot learn where segmentation.batch_size is 1; expected a smaller depth, or a larger crop or batch."
        )


def _of_training(configuration: Mapping[str, Any], section: str) -> Iterator[str]:
    codes, known = structures(configuration), _known(configuration)
    weights, expected = configuration[section]["class_weights"], 1 + len(codes)
    if len(weights) != expected:
        yield (
            f"{section}.class_weights: {len(weights)} weights; expected {expected}, the background's and one for "
            f"each structure of {known}."
        )
    looks = configuration[section]["appearance"] or {}
    for name, probability in looks.get("downward", {}).items():
        if probability is not None and name not in (BACKGROUND, *codes):
            yield f"{section}.appearance.downward: {name} is neither {BACKGROUND} nor in {known}; or `{name}: null`."
    for part in ("nulled", "scar"):
        wall = looks.get(part) or {}
        for key in ("structure", "blood"):
            if wall and wall[key] not in codes:
                yield f"{section}.appearance.{part}.{key}: {wall[key]} is not in {known}; or `{part}: null`."
        if wall and wall["structure"] == wall["blood"]:
            yield f"{section}.appearance.{part}: structure and blood are one; expected two structures."
        for key in ("share", "half_width_degrees", "transmurality", "brightness"):
            if key in wall and wall[key][0] > wall[key][1]:
                yield f"{section}.appearance.{part}.{key}: {wall[key]}; expected the least first, then the most."


def _of_contraction(configuration: Mapping[str, Any]) -> Iterator[str]:
    contracted = configuration["segmentation"]["contraction"]
    if not contracted:
        return
    for key in ("cavity", "wall"):
        if contracted[key] not in structures(configuration):
            yield (
                f"segmentation.contraction.{key}: {contracted[key]} is not in {_known(configuration)}; or "
                "`contraction: null`."
            )
    if contracted["cavity"] == contracted["wall"]:
        yield "segmentation.contraction: cavity and wall are one structure; expected two."
    if contracted["narrowing"][0] > contracted["narrowing"][1]:
        yield f"segmentation.contraction.narrowing: {contracted['narrowing']}; expected the least first, then the most."


def _of_masks(configuration: Mapping[str, Any]) -> Iterator[str]:
    """What is done to masks and measured in them, with structures that there are not or that cannot be meant."""
    codes, known = structures(configuration), _known(configuration)
    for name in configuration["postprocessing"]["morphology"]["order"]:
        if name not in codes:
            yield f"postprocessing.morphology.order: {name} is not in {known}."
    clinical = configuration["clinical"] or {}
    for key, name in clinical.items():
        if name not in codes:
            yield f"clinical.{key}: {name} is not in {known}; or `clinical: null`."
    if clinical and clinical["cavity"] == clinical["myocardium"]:
        yield "clinical: cavity and myocardium are one structure; expected two."
    for section in ("scar", "segments"):
        if configuration[section] and not clinical:
            yield f"{section}: needs `clinical`, which names the wall and its cavity; or `{section}: null`."
    if configuration["segments"]:
        name = configuration["segments"]["right_ventricle"]
        if name not in codes:
            yield f"segments.right_ventricle: {name} is not in {known}; or `segments: null`."
        elif name in clinical.values():
            yield f"segments.right_ventricle: {name} is cavity or myocardium of `clinical`; expected another structure."
