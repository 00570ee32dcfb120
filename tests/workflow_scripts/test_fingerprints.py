import ast
import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from support import fingerprints

SCRIPTS, LIBRARY = fingerprints.SCRIPTS, fingerprints.LIBRARY

FILES = {
    "workflow_scripts/train.py": """
        # Trains.
        from cardioseg import first, second as other
        from helper import run
        import numpy as np

        with run():
            first.fit(other.data)
        """,
    "workflow_scripts/evaluate.py": """
        import cardioseg.third

        cardioseg.third.evaluate()
        """,
    "workflow_scripts/helper.py": """
        def run():
            '''Run.'''
        """,
    "cardioseg/__init__.py": "",
    "cardioseg/first.py": """
        '''Fitting.'''
        from cardioseg.deep import value

        class Network:
            '''A network.'''

            def forward(self):
                '''Go.'''
                return value

        def fit(data):
            '''Fit.

            Until done.
            '''
            from cardioseg import lazy  # only here
            return value + 1
        """,
    "cardioseg/second.py": "data = 1\n",
    "cardioseg/deep.py": """
        import cardioseg.second
        from cardioseg import first  # a circle
        value = 3
        """,
    "cardioseg/lazy.py": "answer = 42\n",
    "cardioseg/third.py": "def evaluate():\n    return 1\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = text.split("\n")
        margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
        path.write_text("\n".join(line[margin:] for line in lines))
    monkeypatch.setattr(fingerprints, "SCRIPTS", tmp_path / "workflow_scripts")
    monkeypatch.setattr(fingerprints, "LIBRARY", tmp_path / "cardioseg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forget():
    for function in (fingerprints.code, fingerprints._module, fingerprints._remembered, fingerprints._reader):
        function.cache_clear()


def hashes():
    """The fingerprints of both scripts, as a new process would compute them that knows what earlier ones remembered."""
    forget()
    found = fingerprints.code("train.py"), fingerprints.code("evaluate.py")
    fingerprints.remember()
    return found


@pytest.fixture(autouse=True)
def forgotten():
    forget()
    yield
    forget()


def edit(tree, name, old, new):
    path = tree / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_template_counts_for_the_scripts_whose_modules_fill_it_in(tree):
    before = hashes()
    (tree / "cardioseg" / "third.html.j2").write_text("<p>{{ value }}</p>")
    with_template = hashes()
    assert (with_template[0] == before[0], with_template[1] == before[1]) == (True, False)
    edit(tree, "cardioseg/third.html.j2", "<p>", "<p >")
    assert hashes()[1] not in (before[1], with_template[1])


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/train.py", "# Trains.", "# Trains a network."),
        ("workflow_scripts/train.py", "first.fit(other.data)", "first.fit( other.data, )  # go"),
        ("workflow_scripts/helper.py", "'''Run.'''", "return 1"),  # logging, shared by the scripts
        ("cardioseg/first.py", "'''Fitting.'''", "'''Fitting a network.'''"),
        ("cardioseg/first.py", "'''Fitting.'''", ""),
        ("cardioseg/first.py", "'''A network.'''", "'''The network.'''"),
        ("cardioseg/first.py", "'''Go.'''", "'''Go on.'''"),
        ("cardioseg/first.py", "    Until done.", "    Until well done."),
        ("cardioseg/first.py", "# only here", "# here alone"),
        ("cardioseg/deep.py", "value = 3", "\n\n\nvalue = (\n    3\n)"),
        ("cardioseg/third.py", "return 1", "return 2"),  # not train.py's
    ],
)
def test_comments_and_layout_do_not_change_the_fingerprint(tree, name, old, new):
    before, _ = hashes()
    edit(tree, name, old, new)
    assert hashes()[0] == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflow_scripts/train.py", "other.data", "other.data + 1"),
        ("cardioseg/first.py", "value + 1", "value + 2"),  # imported
        ("cardioseg/first.py", "return value\n", "return -value\n"),
        ("cardioseg/second.py", "data = 1", "data = 1.0"),  # imported under another name
        ("cardioseg/deep.py", "value = 3", "value = 4"),  # imported by what is imported
        ("cardioseg/lazy.py", "42", "43"),  # within a function
    ],
)
def test_changes_of_code_change_the_fingerprint(tree, name, old, new):
    train, evaluate = hashes()
    edit(tree, name, old, new)
    changed = hashes()
    assert changed[0] != train
    assert changed[1] == evaluate


def test_new_module_counts_once_it_is_imported(tree):
    before = hashes()
    (tree / "cardioseg/new.py").write_text("x = 1\n")
    assert hashes() == before
    edit(tree, "workflow_scripts/evaluate.py", "import cardioseg.third", "import cardioseg.third\nimport cardioseg.new")
    after = hashes()
    assert after[0] == before[0]
    edit(tree, "cardioseg/new.py", "x = 1", "x = 2")
    assert hashes()[1] != after[1] != before[1]


def test_module_that_appears_where_an_import_looked_for_it_counts(tree):
    edit(tree, "cardioseg/third.py", "def evaluate", "from cardioseg import late\n\ndef evaluate")
    before = hashes()
    (tree / "cardioseg/late.py").write_text("x = 1\n")
    after = hashes()
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.fixture
def read(monkeypatch):
    """The texts of modules that are parsed."""
    texts = []
    monkeypatch.setattr(fingerprints, "_read", lambda text, read=fingerprints._read: texts.append(text) or read(text))
    return texts


def test_a_module_is_parsed_once_for_all_calls(tree, read):
    before = hashes()
    assert len(read) == 7
    record = fingerprints.MEMORY.stat()
    assert hashes() == before
    assert len(read) == 7
    assert fingerprints.MEMORY.stat() == record  # nor is it written again
    edit(tree, "cardioseg/deep.py", "value = 3", "value = 4")
    hashes()
    assert len(read) == 8


def test_edit_that_changes_neither_size_nor_time_is_seen(tree):
    before, _ = hashes()
    path = tree / "cardioseg/first.py"
    state = path.stat()
    edit(tree, "cardioseg/first.py", "value + 1", "value + 2")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert hashes()[0] != before


@pytest.mark.parametrize("other", ["Python", "reader"])
def test_what_another_version_read_does_not_count(tree, read, monkeypatch, tmp_path, other):
    hashes()
    if other == "Python":
        monkeypatch.setattr(fingerprints.sys, "version", "4.0")
    else:
        (tmp_path / "reader.py").write_text("x = 1\n")
        monkeypatch.setattr(fingerprints, "__file__", str(tmp_path / "reader.py"))
    hashes()
    assert len(read) == 14


def signed(record):
    return hashlib.sha256(record).hexdigest().encode() + b"\n" + record


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-20],
        lambda content: content.replace(b"second", b"secund"),
        lambda content: content[65:],
        lambda content: b"\xff" + content,
        lambda content: signed(b"{"),
        lambda content: signed(b"[1]"),
        lambda content: signed(b'{"cardioseg/first.py": 1}'),
        lambda content: signed(b'{"cardioseg/first.py": [1]}'),
    ],
)
def test_damaged_record_is_replaced(tree, damage):
    before = hashes()
    record = fingerprints.MEMORY.read_bytes()
    assert damage(record) != record
    fingerprints.MEMORY.write_bytes(damage(record))
    assert hashes() == before
    assert fingerprints.MEMORY.read_bytes() == record


def test_folder_may_be_read_only(tree, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    before = hashes()
    fingerprints.MEMORY.unlink()
    monkeypatch.setattr(Path, "mkdir", refused)
    assert hashes() == before
    assert not fingerprints.MEMORY.exists()


def test_place_of_the_tree_does_not_matter(tree, tmp_path, monkeypatch):
    before = hashes()
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("workflow_scripts", "cardioseg"):
        (tree / name).rename(moved / name)
    monkeypatch.setattr(fingerprints, "SCRIPTS", moved / "workflow_scripts")
    monkeypatch.setattr(fingerprints, "LIBRARY", moved / "cardioseg")
    assert hashes() == before


def test_missing_script_is_an_error(tree):
    with pytest.raises(FileNotFoundError):
        fingerprints.code("trian.py")


# The project's own


def modules(script):
    """Names of the library's modules in a script's closure."""
    closure = fingerprints._closure(SCRIPTS / script) - {SCRIPTS / script}
    return {".".join(path.relative_to(LIBRARY).with_suffix("").parts) for path in closure}


def test_scripts_depend_on_the_modules_that_they_import():
    files = {"core.errors", "core.files", "core.imports", "core.nifti", "core.volumes"}
    assert modules("register.py") == files | {"core.randomness", "registration.elastix"}
    assert "segmentation.cascade" not in modules("crop.py") | modules("train_localiser.py") | modules(
        "train_translation.py"
    )
    training = modules("train_translation.py")
    assert {"translation.munit", "translation.munit_training", "core.training_loop", "core.volumes"} <= training
    others = ("cohort", "evaluation", "figures", "inference", "phantoms")
    assert not [name for name in training if name.startswith(others)]
    assert "core.configuration" not in training
    own = {"core.turns", "evaluation.measures", "figures.style", "figures.worst"}
    assert modules("figure_worst.py") == files | own
    assert not [name for name in modules("evaluate.py") if name.startswith(("segmentation", "translation"))]


@pytest.mark.parametrize(
    "path",
    sorted([*SCRIPTS.glob("*.py"), *LIBRARY.rglob("*.py")]),
    ids=lambda path: path.relative_to(LIBRARY.parent).as_posix(),
)
def test_every_import_is_one_that_is_followed(path):
    """Imports are absolute and of modules, so that none escapes the closure; found here by their text."""
    text = re.sub(r"  # .*", "", path.read_text())
    assert not re.search(r"^\s*from\s+\.", text, re.MULTILINE)
    # `Late` imports by name, and only packages of others.
    assert "import_module" not in text or path == LIBRARY / "core" / "imports.py"
    assert not re.search(r"\bLate\(\s*.cardioseg", text)
    assert not re.search(r"^\s*import cardioseg\.", text, re.MULTILINE)
    names = set(re.findall(r"^\s*from cardioseg\.(\w+\.\w+) import", text, re.MULTILINE))
    for folder, found in re.findall(r"^\s*from cardioseg\.(\w+) import (\([^)]+\)|.+)$", text, re.MULTILINE):
        names |= {f"{folder}.{name.split(' as ')[0].strip()}" for name in found.strip("()").rstrip(",\n").split(",")}
    files = {LIBRARY.joinpath(*name.split(".")).with_suffix(".py") for name in names}
    assert all(file.exists() for file in files)
    assert files == set(fingerprints._module(path).imports)


def test_packages_hold_no_code_but_the_way_to_load_a_model():
    """Importing any module runs them, and no closure has them."""
    for path in LIBRARY.rglob("__init__.py"):
        others = [node for node in ast.parse(path.read_text()).body if not isinstance(node, ast.Expr | ast.Assign)]
        if path.parent == LIBRARY:
            *imports, function = others
            assert [ast.unparse(node).splitlines()[0] for node in imports] == [
                "from typing import TYPE_CHECKING, Any",
                "if TYPE_CHECKING:",
            ]
            assert isinstance(function, ast.FunctionDef) and function.name == "__getattr__"
        else:
            assert not others
