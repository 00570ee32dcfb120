import re

import pytest
import yaml

from cardioseg.core import configuration_file
from cardioseg.core.errors import InputError


def test_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text("seed: 1\ncohort:\n  splits: {test: [1], validation: [], test: [2]}\nseed: 2\n")
    with pytest.raises(InputError, match=r"overlay.yaml: key cohort.splits.test, seed is given twice"):
        configuration_file.check(path)


@pytest.mark.parametrize(
    "written",
    ["010", "0o10", "0x1F", "0b11", "1_000", "1:30", "12:30:15", "-07", "+7", "-0", "1:30.5", "1_0.5"],
)
def test_numbers_that_yaml_reads_differently_are_refused(tmp_path, written):
    path = tmp_path / "overlay.yaml"
    path.write_text(f"cohort:\n  splits: {{test: [1, {written}]}}\n")
    if isinstance(yaml.safe_load(written), str):
        configuration_file.check(path)
        return
    with pytest.raises(InputError, match=rf"overlay.yaml: .* cohort.splits.test: {re.escape(written)}; expected plain"):
        configuration_file.check(path)


def test_quoted_names_and_plain_numbers_are_taken(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_text("seed: 0\ncohort: {splits: {test: ['010', \"0x1F\", 1-30, 10, 1.50]}}\n")
    configuration_file.check(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("# Größe\n".encode("latin-1"), "overlay.yaml: is not in UTF-8"),
        ("seed: 1\n".encode("utf-16"), "overlay.yaml: is not in UTF-8"),
        (b"seed: [1", "overlay.yaml: is no YAML"),
        (b"a: &a [*a]\n", "overlay.yaml: is no YAML"),
        (b"[" * 100_000, "overlay.yaml: sections or lists lie more than 20 deep"),
        (b"{a: " * 21 + b"}" * 21, "overlay.yaml: sections or lists lie more than 20 deep"),
        (
            b"a0: &a0 [1]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n + 1, n + 1, b"*a%d," % n * 9) for n in range(11)),
            "99 al",
        ),
    ],
)
def test_files_that_cannot_be_read_are_refused(tmp_path, content, message):
    path = tmp_path / "overlay.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        configuration_file.check(path)


def test_aliases_and_the_line_ends_and_mark_of_windows_are_taken(tmp_path):
    path = tmp_path / "overlay.yaml"
    path.write_bytes(b"\xef\xbb\xbfcohort:\r\n  splits: {labelled: &all [1-9], translation_source: *all}\r\n")
    configuration_file.check(path)


@pytest.mark.parametrize("text", ["", "seed: 1", "cohort: {source: {name: A}, target: {name: A}}", "{}"])
def test_keys_given_once_are_accepted(tmp_path, text):
    path = tmp_path / "overlay.yaml"
    path.write_text(text)
    configuration_file.check(path)
