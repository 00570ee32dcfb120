"""Pages made from templates that lie beside the code."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(package: str, template: str, **values: Any) -> str:
    """Fill in a template. Values are escaped, and one that is missing is an error.

    Parameters
    ----------
    package : str
        The package whose folder holds the template.
    template : str
        The template's file name, which ends in `.j2`.
    **values
        What the template shows, by the names in it.

    Returns
    -------
    str
        The page as HTML.
    """
    pages = Environment(
        loader=PackageLoader(package, "."), autoescape=select_autoescape(["j2"]), undefined=StrictUndefined
    )
    return pages.get_template(template).render(**values)
