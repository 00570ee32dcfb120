"""docs/configuration.md from the schema, which describes every key, and from the values of config.yaml."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from bad_input import PAPER
from cardioseg.core.configuration import SCHEMA, TYPES

INTRODUCTION = """\
# Configuration

This page is made from `cardioseg/core/configuration.schema.yaml` and `config.yaml` by
`WRITE_DOCS=1 python -m pytest tests/docs/test_configuration_page.py`; do not edit it.

`config.yaml` is the paper; the values below are its own. A section that is null is off, and its keys have no values;
whoever sets it gives all of them, for instance those of `demo/mscmrseg.yaml`. An overlay changes single keys:
`--configfile overlay.yaml`.
Several overlays are merged key by key, and the last one wins. Unknown keys, wrong types and values out of range are
errors that name the key, before any job starts ([bad input](bad_input.md)). *Source* is the labelled modality, *target*
the one to be segmented.
"""
BOUNDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "to {}",
    "exclusiveMaximum": "less than {}",
}


def page() -> str:
    """The page: a table for the keys at the top, and one for each section."""
    top = {name: form for name, form in SCHEMA["properties"].items() if not is_section(form)}
    parts = [INTRODUCTION, "## Top level\n", table(rows(top, PAPER))]
    for name, form in SCHEMA["properties"].items():
        if is_section(form):
            parts += [
                f"## `{name}`\n",
                resolve(form)["description"] + "\n",
                table(rows(form["properties"], PAPER[name])),
            ]
    return "\n".join(parts)


def described(properties: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key, named with dots, with its form in the schema; sections before their keys."""
    for name, form in properties.items():
        form = resolve(form)
        yield prefix + name, form
        yield from described(form.get("properties", {}), f"{prefix}{name}.")


def resolve(form: Mapping[str, Any]) -> dict[str, Any]:
    """A part of the schema with its reference resolved; its own keys take precedence."""
    if "$ref" not in form:
        return dict(form)
    name = form["$ref"].removeprefix("#/$defs/")
    return {**resolve(SCHEMA["$defs"][name]), **{key: value for key, value in form.items() if key != "$ref"}}


def is_section(form: Mapping[str, Any]) -> bool:
    return "properties" in resolve(form)


def rows(properties: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for path, form in described(properties):
        *sections, name = path.split(".")
        section: Any = values
        for each in sections:
            section = section[each] if section is not None else None
        off = section is None or name not in section
        shown = "" if off or ("properties" in form and section[name] is not None) else code(section[name])
        yield f"`{path}`", shown, expected(form), form["description"]


def code(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n")
    return f"`{text.strip()}`"


def expected(form: Mapping[str, Any]) -> str:
    """What a key takes, in words."""
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    types = [form["type"]] if isinstance(form["type"], str) else form["type"]
    words = " or ".join(_kind(name, form) for name in types)
    return " ".join(word for word in [words, bounds(form)] if word)


def _kind(name: str, form: Mapping[str, Any]) -> str:
    if name != "array" or "items" not in form:
        return "null" if name == "null" else TYPES[name]
    each = expected(resolve(form["items"]))
    for one, many in (("a whole number", "whole numbers"), ("a number", "numbers"), ("a section of keys", "sections")):
        each = each.replace(one, many)
    return f"a list of {each}"


def bounds(form: Mapping[str, Any]) -> str:
    return " ".join(
        text.format(f"{form[key]:g}" if form[key] < 1e6 else form[key]) for key, text in BOUNDS.items() if key in form
    )


def table(lines: Iterator[tuple[str, ...]]) -> str:
    head = ("key", "value", "expected", "what it is")
    return (
        "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in (head, ("---",) * 4, *lines)
        )
        + "\n"
    )
