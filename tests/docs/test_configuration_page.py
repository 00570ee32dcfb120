"""docs/configuration.md explains every key.

WRITE_DOCS=1 python -m pytest tests/docs/test_configuration_page.py

writes that page anew.
"""

import os

import pytest

from bad_input import EVERY_KEY, ROOT
from cardioseg.core.configuration import SCHEMA
from configuration_page import described, page

PAGE = ROOT / "docs" / "configuration.md"
FORMS = dict(described(SCHEMA["properties"]))
# The names of structures are the user's own.
KEYS = [path for path, _ in EVERY_KEY if not path.startswith("cohort.structures.")]


@pytest.mark.parametrize("path", FORMS)
def test_key_is_described_in_a_sentence(path: str) -> None:
    description = FORMS[path].get("description", "")
    assert len(description.split()) > 1
    assert description[0].isupper()
    assert description.endswith(".")


def test_every_key_of_the_paper_is_in_the_schema() -> None:
    assert set(KEYS) <= set(FORMS)


def test_configuration_page_is_up_to_date() -> None:
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run `WRITE_DOCS=1 python -m pytest tests/docs/test_configuration_page.py`"
