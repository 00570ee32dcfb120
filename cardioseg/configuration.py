"""The configuration: one schema for its form, and the rules between keys that a schema cannot say."""

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from cardioseg.errors import InputError

SCHEMA = Path(__file__).with_name("configuration.schema.yaml")


def check(configuration: Mapping[str, Any]) -> None:
    """Raise InputError, naming each offending key, unless the configuration can be run."""
    schema = yaml.safe_load(SCHEMA.read_text())
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(configuration), key=lambda error: list(map(str, error.path)))
    problems = [_explain(error) for error in errors] or list(_contradictions(configuration))
    if problems:
        raise InputError("configuration: " + "\n  ".join(problems))


def _explain(error: jsonschema.ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = [name for name in error.instance if name not in known]
        guess = difflib.get_close_matches(str(unknown[0]), known, n=1)
        advice = f"did you mean {guess[0]}?" if guess else f"known here: {', '.join(known)}."
        return f"unknown key {'.'.join(filter(None, [key, str(unknown[0])]))}; {advice}"
    if error.validator == "required":
        missing = error.message.split("'")[1]
        return f"key {'.'.join(filter(None, [key, missing]))} is missing."
    return f"{key or 'the file'}: {error.message}."


def _contradictions(configuration: Mapping[str, Any]) -> Iterator[str]:
    structures = configuration["cohort"]["structures"]
    if len(set(structures.values())) < len(structures):
        yield "cohort.structures: two structures share a code; expected one code each."
    if configuration["cohort"]["source"]["name"] == configuration["cohort"]["target"]["name"]:
        yield "cohort.source.name and cohort.target.name are equal; expected two modalities."
    for role in ("source", "target"):
        for key in ("image", "labels"):
            if configuration["cohort"][role][key].count("{patient}") != 1:
                yield f"cohort.{role}.{key}: expected {{patient}} exactly once, got {configuration['cohort'][role][key]!r}."
    if len(set(configuration["ensemble"])) < len(configuration["ensemble"]):
        yield "ensemble: a seed occurs twice; equal members would count double."
    size = configuration["cropping"]["size"]
    strides = {
        "segmentation.depth": 2 ** configuration["segmentation"]["depth"],
        "translation.generator.downsamplings": 2 ** configuration["translation"]["generator"]["downsamplings"],
    }
    for key, stride in strides.items():
        if size % stride:
            nearest = max(stride, round(size / stride) * stride)
            yield f"cropping.size: {size} is not divisible by the network's stride {stride} ({key}); {nearest} is."
    discriminator = configuration["translation"]["discriminator"]
    if size < 2 ** (discriminator["scales"] - 1 + discriminator["layers"]):
        yield f"cropping.size: {size} is too small for translation.discriminator ({discriminator['scales']} scales, {discriminator['layers']} layers)."
    for section in ("localisation", "segmentation"):
        weights = configuration[section]["class_weights"]
        if len(weights) != 1 + len(structures):
            yield f"{section}.class_weights: {len(weights)} weights; expected {1 + len(structures)}, the background's and one a structure."
    for section in ("localisation", "cropping"):
        low, high = configuration[section]["percentiles"]
        if low >= high:
            yield f"{section}.percentiles: [{low}, {high}]; expected the lower one first."
    for name in configuration["postprocessing"]["morphology"]["order"]:
        if name not in structures:
            yield f"postprocessing.morphology.order: {name} is not in cohort.structures ({', '.join(structures)})."
