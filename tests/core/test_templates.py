import jinja2
import pytest

from cardioseg.core import templates


def test_values_are_escaped_and_a_missing_one_is_an_error(tmp_path, monkeypatch):
    package = tmp_path / "package_with_a_page"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "page.html.j2").write_text("<p>{{ name }}</p>")
    monkeypatch.syspath_prepend(tmp_path)
    assert templates.render(package.name, "page.html.j2", name="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(jinja2.UndefinedError, match="name"):
        templates.render(package.name, "page.html.j2")
