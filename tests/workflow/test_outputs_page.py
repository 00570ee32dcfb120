"""docs/outputs.md explains every file that a run of the workflow makes, and no others."""

import re
from pathlib import Path

import pytest

from bad_input import ROOT

pytestmark = pytest.mark.slow


def patterns() -> dict[str, re.Pattern]:
    """The files that the page's part on results/ names, as they stand there and as what they match."""
    part = (ROOT / "docs" / "outputs.md").read_text().partition("\n## `cardioseg segment`")[0]
    tables = re.split(r"^###? ", part, flags=re.MULTILINE)
    rows = [row for text in tables if "| file |" in text for row in re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)]
    return {row: re.compile(expression(row)) for row in rows}


def expression(pattern: str) -> str:
    """{a,b} is one of these, {name} any name without a slash, ** anything."""
    text = re.escape(pattern).replace(r"\*\*", ".+")
    return re.sub(
        r"\\\{(.*?)\\\}", lambda found: f"({found[1].replace(',', '|')})" if "," in found[1] else "[^/]+", text
    )


def test_page_explains_the_files_of_a_run(run: Path) -> None:
    results = run / "results"
    files = [str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()]
    explained = patterns()
    assert len(explained) > 20
    assert [name for name in files if not any(known.fullmatch(name) for known in explained.values())] == []
    assert [name for name, known in explained.items() if not any(map(known.fullmatch, files))] == []
