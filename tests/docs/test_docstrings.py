"""Every public function of the library explains its arguments, what it returns and which errors it raises."""

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
    return found


def test_every_public_function_explains_its_arguments_results_and_errors():
    package = griffe.load("cardioseg", search_paths=[ROOT])
    found = {function.path: missing for function in functions(package) if (missing := gaps(function))}
    assert found == {}


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
    ],
)
def test_a_gap_in_a_docstring_is_found(code, found):
    with griffe.temporary_visited_module(f"{code}\n    pass\n") as module:
        assert gaps(module["f"]) == found
