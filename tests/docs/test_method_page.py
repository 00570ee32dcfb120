"""docs/method.md explains every method of the tables."""

import re

from bad_input import ROOT
from cardioseg.evaluation.methods import METHODS


def test_every_method_is_explained() -> None:
    page = (ROOT / "docs" / "method.md").read_text()
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == {method.name for method in METHODS}
