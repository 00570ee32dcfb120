"""Every public function of the library explains its arguments, what it returns and which errors it raises, legibly."""

from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[2]
# Torch's networks explain `forward` in their class.
EXPLAINED_BY_CLASS = {"forward"}


def functions(package):
    """Yield the public functions of a package and the public methods of its classes."""
    for name, member in package.members.items():
        if name.startswith("_") or member.is_alias:
            continue
        if member.is_function and name not in EXPLAINED_BY_CLASS:
            yield member
        elif member.is_module or (member.is_class and "Protocol" not in map(str, member.bases)):
            yield from functions(member)


def gaps(function):
    """List what the docstring of a function leaves out, or names without reason."""
    if function.docstring is None:
        return ["no docstring"]
    sections = {section.kind.value: section.value for section in function.docstring.parse("numpy", warnings=False)}
    arguments = [each.name for each in function.parameters if each.name not in ("self", "cls")]
    explained = [each.name.lstrip("*") for each in sections.get("parameters", [])]
    found = [f"argument {name}" for name in sorted(set(arguments) ^ set(explained))]
    returns = str(function.returns) not in ("None", "NoReturn")
    if returns != any(kind in sections for kind in ("returns", "yields")):
        found.append("what it returns")
    if "raise InputError" in function.source and "raises" not in sections:
        found.append("InputError")
    typed = [each for kind in ("parameters", "returns") for each in sections.get(kind, [])]
    found += [f"type {each.annotation}" for each in typed if not is_legible(each.annotation)]
    return found


def is_legible(annotation):
    """Whether the site shows a type as it is written: what parses as Python loses spaces, quotes and braces."""
    if isinstance(annotation, str):
        return " : " not in annotation
    return not isinstance(annotation, griffe.ExprCall | griffe.ExprTuple | griffe.ExprSet | griffe.ExprDict)


def test_every_public_function_explains_its_arguments_results_and_errors():
    package = griffe.load("cardioseg", search_paths=[ROOT])
    found = {function.path: missing for function in functions(package) if (missing := gaps(function))}
    assert found == {}


def returning(kind):
    """Write a function whose docstring says that it returns something of this type."""
    return f"def f() -> int:\n    '''Return it.\n\n    Returns\n    -------\n    {kind}\n        It.\n    '''"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def f(a: int) -> int:\n    '''Return it.'''", ["argument a", "what it returns"]),
        ("def f() -> None:", ["no docstring"]),
        ("def f() -> None:\n    '''Check.'''\n    raise InputError('wrong')", ["InputError"]),
        (
            "def f() -> None:\n    '''Do.\n\n    Parameters\n    ----------\n    b : int\n        It.\n    '''",
            ["argument b"],
        ),
        (
            "def f(*b: int) -> None:\n    '''Do.\n\n    Parameters\n    ----------\n    *b : int\n        It.\n    '''",
            [],
        ),
        (returning("array of shape (n, m)"), []),
        (returning("array, shape (n, m)"), ["type (array, shape(n, m))"]),
        (returning("low, high : int"), ["type low, high : int"]),
    ],
)
def test_a_gap_in_a_docstring_is_found(code, found):
    with griffe.temporary_visited_module(f"{code}\n    pass\n") as module:
        assert gaps(module["f"]) == found
