"""docs/architecture.md states the imports that there are.

WRITE_DOCS=1 python -m pytest tests/docs/test_architecture_page.py

writes the page and its drawings anew.
"""

import os
import re
from pathlib import Path

import pytest

import architecture_page
from architecture_page import ROOT, between_folders, imports, ranks

PAGE = ROOT / "docs" / "architecture.md"
ARROWS = between_folders(imports(ROOT))


def test_architecture_page_is_up_to_date() -> None:
    files = {PAGE.name: architecture_page.page(), **architecture_page.drawings()}
    for name, text in files.items():
        if os.environ.get("WRITE_DOCS"):
            PAGE.with_name(name).write_text(text)
        assert PAGE.with_name(name).read_text() == text, "run this test with WRITE_DOCS=1 in the environment"


def test_page_states_the_arrows_of_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert {(one, other) for one, others in rows for other in re.findall(r"`(\w+)`", others)} == ARROWS


def test_there_are_no_circular_imports() -> None:
    ranks(imports(ROOT))
    ranks(ARROWS)


def test_core_imports_no_other_folder() -> None:
    assert not {other for one, other in ARROWS if one == "core"}


def test_every_folder_has_a_page_of_its_api() -> None:
    folders = {path.parent.name for path in (ROOT / "cardioseg").glob("*/__init__.py")}
    assert {path.stem for path in (ROOT / "docs" / "api").glob("*.md")} == folders
    assert folders <= {name for arrow in ARROWS for name in arrow}


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    package = tmp_path / "cardioseg"
    (package / "a").mkdir(parents=True)
    (package / "b").mkdir()
    (package / "a" / "__init__.py").write_text("")
    (package / "b" / "__init__.py").write_text("")
    (package / "a" / "one.py").write_text("import os\ndef f():\n    from cardioseg.b.two import g\n")
    (package / "b" / "two.py").write_text("import cardioseg.a\n")
    found = imports(tmp_path)
    assert found == {("cardioseg.a.one", "cardioseg.b.two"), ("cardioseg.b.two", "cardioseg.a")}
    with pytest.raises(AssertionError, match="circle"):
        ranks(between_folders(found))
