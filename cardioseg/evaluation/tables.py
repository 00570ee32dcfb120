"""The paper's Table 1: the measures of every method with their spread, as numbers, Markdown, HTML and LaTeX."""

import html as markup
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from cardioseg.evaluation import methods, significance
from cardioseg.evaluation.measures import AVERAGE, DICE, MEASURES

LOW_DICE = 0.7
SIGNIFICANT = 0.05
# Chen et al. 2019, Table 1 (validation) and section 3.3 (test phase, averages not given), on MS-CMRSeg.
PUBLISHED_COLUMNS = [(measure, name) for measure in ("dice", "asd_mm") for name in ("LV", "MYO", "RV", AVERAGE)]
PUBLISHED = {
    ("validation", "registration"): "0.819 0.665 0.831 0.772 2.56 1.65 2.11 2.11",
    ("validation", "unet"): "0.624 0.441 0.577 0.547 10.03 6.07 N/A N/A",
    ("validation", "unet_ft"): "0.874 0.781 0.896 0.850 1.78 1.50 1.28 1.52",
    ("validation", "cascade_ft"): "0.895 0.812 0.898 0.868 1.41 1.46 1.23 1.37",
    ("validation", "cascade_ft_pp"): "0.897 0.816 0.895 0.869 1.17 1.42 1.18 1.26",
    ("test", "ensemble_pp"): "0.92 0.83 0.88 - 1.66 1.76 2.16 -",
}
PARTS_TITLE = "Parts and extensions"
NOTHING = "No patient with labels: nothing evaluated."

COLUMNS = ["split", "method", "source", "patients", "seeds"]
# How the symbols of the notes and cells are written in LaTeX.
LATEX = {
    **{character: rf"\{character}" for character in "&%$#_{}"},
    **{
        "<": "$<$",
        ">": "$>$",
        "±": r"$\pm$",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
    },
}


STYLE = (
    "body { font-family: sans-serif; font-size: 14px } table { border-collapse: collapse }"
    " th, td { padding: 4px 10px; text-align: center; border-bottom: 1px solid #ddd }"
    " th:first-child, td:first-child { text-align: left; min-width: 15em }"
    " .spread { font-size: 11px; color: #555; white-space: nowrap } .published td { font-style: italic }"
)


@dataclass(frozen=True)
class Cell:
    """A mean as printed, with its marks and spread."""

    mean: str
    marks: str = ""
    spread: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A method, or below it the paper's figures for it, which are printed in italics."""

    title: str
    cells: list[Cell]
    reported: bool = True
    published: bool = False


def values(metrics: pd.DataFrame) -> pd.DataFrame:
    """List the measures of every mask, and their average over structures.

    Every method gets a row for every patient of a split. If it was not evaluated on a patient, the value is NaN. The
    average stands under the structure `AVERAGE`. It is taken over the structures that have a value, and is NaN if a
    value that is due is missing.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure, seed, volume_truth_ml and those of `MEASURES`.

    Returns
    -------
    DataFrame
        The columns split, patient, structure, due, method, seed ("" for a method without seeds), measure, value. A
        value is due if the manual mask has the structure.
    """
    metrics = metrics.assign(seed=metrics["seed"].astype("string").fillna("").astype(object))
    case = ["split", "patient", "structure"]
    cases = metrics.groupby(case, sort=False)["volume_truth_ml"].max().gt(0).rename("due").reset_index()
    grid = cases.merge(metrics[["method", "seed"]].drop_duplicates(), how="cross")
    grid = grid.merge(metrics[[*case, "method", "seed", *MEASURES]], how="left", on=[*case, "method", "seed"])
    long = grid.melt([*case, "due", "method", "seed"], list(MEASURES), "measure", "value")
    average = (
        long.assign(missing=long["due"] & long["value"].isna())
        .groupby(["split", "patient", "method", "seed", "measure"], sort=False)
        .agg(due=("due", "any"), missing=("missing", "any"), value=("value", "mean"))
        .reset_index()
    )
    average["value"] = average["value"].mask(average["missing"])
    return pd.concat([long, average.assign(structure=AVERAGE)[long.columns]], ignore_index=True)


def aggregate(values: pd.DataFrame) -> pd.DataFrame:
    """Compute what the cells of the table hold. Values that are not available are left out.

    Parameters
    ----------
    values : DataFrame
        As from `values`.

    Returns
    -------
    DataFrame
        Indexed by split, method, measure and structure:

        - `mean`: the mean over seeds of each seed's mean over patients.
        - `sd_seeds`: the sample standard deviation of the seeds' means; NaN for one seed.
        - `sd_patients`: that of the patients' means over seeds; NaN for one patient.
        - `available`: the number of values, over patients and seeds.
        - `due`: the number of values that there should be.
    """
    cell = ["split", "method", "measure", "structure"]
    by_seed = values.groupby([*cell, "seed"], sort=False)["value"].mean().groupby(level=cell, sort=False)
    by_patient = values.groupby([*cell, "patient"], sort=False)["value"].mean().groupby(level=cell, sort=False)
    available = values["value"].notna()
    counts = values.assign(available=available, due=values["due"] | available).groupby(cell, sort=False)
    return pd.DataFrame(
        {
            "mean": by_seed.mean(),
            "sd_patients": by_patient.std(),
            "sd_seeds": by_seed.std(),
            "available": counts["available"].sum(),
            "due": counts["due"].sum(),
        }
    )


def comparisons(values: pd.DataFrame) -> pd.DataFrame:
    """Test the differences between methods (see `significance.compare`).

    Each method of the table is compared with the one above it, the last method with every other one, and each part of a
    method with the one that it refines.

    Parameters
    ----------
    values : DataFrame
        As from `values`.

    Returns
    -------
    DataFrame
        As from `significance.compare`.
    """
    found = [method for method in methods.reported() if (values["method"] == method).any()]
    pairs = [(method, above) for above, method in pairwise(found)]
    pairs += [(found[-1], method) for method in found[:-2]]
    return significance.compare(values, pairs + methods.refinements())


def table1(metrics: pd.DataFrame, published: bool) -> pd.DataFrame:
    """Make Table 1 as numbers.

    Parameters
    ----------
    metrics : DataFrame
        As for `values`.
    published : bool
        Whether the paper's own figures stand below the methods (column source).

    Returns
    -------
    DataFrame
        One row per split and method: first the means, then their spread and the numbers of values (see `aggregate`).
    """
    if metrics.empty:
        return pd.DataFrame(columns=COLUMNS)
    found = values(metrics)
    cells = aggregate(found)
    rows = []
    for split, of_split in found.groupby("split", sort=False):
        for method in _ordered(found):
            seeds = found.loc[found["method"] == method, "seed"].nunique()
            row = {"split": split, "method": method, "source": "this cohort"}
            row |= {"patients": of_split["patient"].nunique(), "seeds": seeds}
            for column in cells:
                suffix = "" if column == "mean" else f"_{column}"
                row |= {"_".join(name) + suffix: cells.at[(split, method, *name), column] for name in _names(found)}
            rows.append(row)
            if published and (split, method) in PUBLISHED:
                figures = {"_".join(name): text for name, text in _published(found, split, method).items()}
                about = {"split": split, "method": method, "source": "Chen et al. 2019"}
                rows.append(about | {name: pd.to_numeric(text, errors="coerce") for name, text in figures.items()})
    table = pd.DataFrame(rows)
    whole = [name for name in table if name in ("patients", "seeds") or name.endswith(("_available", "_due"))]
    return table.astype(dict.fromkeys(whole, "Int64"))


def markdown(metrics: pd.DataFrame, published: bool) -> str:
    """Make Table 1 in Markdown, one table per split.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure, seed, volume_truth_ml and those of `MEASURES`.
    published : bool
        Whether the figures of the paper are shown as well.

    Returns
    -------
    str
        The text.
    """
    lines = ["# Table 1"]
    if metrics.empty:
        return "\n".join([*lines, "", NOTHING, ""])
    found = values(metrics)
    header = [f"{MEASURES[measure].title} {structure}" for measure, structure in _names(found)]
    for split, of_split in found.groupby("split", sort=False):
        lines += ["", f"## {_heading(split, of_split)}", "", _line(["Method", *header])]
        lines.append(_line(["---", *([":---:"] * len(header))]))
        rows = list(_rows(found, split, published))
        for index, row in enumerate(rows):
            if _begins_parts(rows, index):
                lines.append(_line([f"*{PARTS_TITLE}*", *([""] * len(header))]))
            title = f"*{row.title}*" if row.published else row.title.replace("_", r"\_")
            lines.append(_line([title, *(_markdown_cell(cell, row.published) for cell in row.cells)]))
        lines += ["", *(f"- {note}" for note in _notes(of_split, published))]
    return "\n".join(lines) + "\n"


def html(metrics: pd.DataFrame, published: bool) -> str:
    """Make Table 1 as an HTML page, one table per split.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure, seed, volume_truth_ml and those of `MEASURES`.
    published : bool
        Whether the figures of the paper are shown as well.

    Returns
    -------
    str
        The page.
    """
    head = f"<head><meta charset='utf-8'/><title>Table 1</title><style>{STYLE}</style></head>"
    return f"<!DOCTYPE html><html>{head}<body>\n{html_tables(metrics, published)}\n</body></html>\n"


def html_tables(metrics: pd.DataFrame, published: bool) -> str:
    """Make the headings, tables and notes of `html` alone, to be put into another page.

    Parameters
    ----------
    metrics : DataFrame
        As for `html`.
    published : bool
        As for `html`.

    Returns
    -------
    str
        The HTML, in which all names are escaped.
    """
    if metrics.empty:
        return f"<p>{NOTHING}</p>"
    found = values(metrics)
    header = ["Method", *(f"{MEASURES[measure].title} {structure}" for measure, structure in _names(found))]
    parts = []
    for split, of_split in found.groupby("split", sort=False):
        parts += [f"<h2>{markup.escape(_heading(split, of_split))}</h2>", "<table>", _html_line(header, "th")]
        rows = list(_rows(found, split, published))
        for index, row in enumerate(rows):
            if _begins_parts(rows, index):
                parts.append(f"<tr><td colspan='{len(header)}'><em>{PARTS_TITLE}</em></td></tr>")
            parts.append(_html_line([markup.escape(row.title), *map(_html_cell, row.cells)], "td", row.published))
        parts += [
            "</table>",
            "<ul>",
            *(f"<li>{markup.escape(note)}</li>" for note in _notes(of_split, published)),
            "</ul>",
        ]
    return "\n".join(parts)


def latex(metrics: pd.DataFrame, published: bool) -> str:
    """Make Table 1 in LaTeX, one table per split.

    The tables need the packages booktabs and graphicx.

    Parameters
    ----------
    metrics : DataFrame
        The columns method, split, patient, structure, seed, volume_truth_ml and those of `MEASURES`.
    published : bool
        Whether the figures of the paper are shown as well.

    Returns
    -------
    str
        The tables.
    """
    if metrics.empty:
        return f"% {NOTHING}\n"
    found = values(metrics)
    names = _names(found)
    width = len(names) // len(MEASURES)
    first = [2 + index * width for index in range(len(MEASURES))]
    lines = ["% Needs the packages booktabs and graphicx."]
    for split, of_split in found.groupby("split", sort=False):
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{', '.join(measure.title for measure in MEASURES.values())}. {_heading(split, of_split)}.}}",
            rf"\label{{tab:{split}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'c' * len(names)}}}",
            r"\toprule",
            _latex_line(["", *(rf"\multicolumn{{{width}}}{{c}}{{{measure.title}}}" for measure in MEASURES.values())]),
            " ".join(rf"\cmidrule(lr){{{column}-{column + width - 1}}}" for column in first),
            _latex_line(["Method", *(_escape(structure) for _, structure in names)]),
            r"\midrule",
        ]
        rows = list(_rows(found, split, published))
        for index, row in enumerate(rows):
            if _begins_parts(rows, index):
                lines += [r"\midrule", rf"\multicolumn{{{1 + len(names)}}}{{l}}{{\emph{{{PARTS_TITLE}}}}} \\"]
            style = r"\emph{%s}" if row.published else "%s"
            lines.append(_latex_line([style % _escape(row.title), *(_latex_mean(cell, style) for cell in row.cells)]))
            if any(cell.spread for cell in row.cells):
                spreads = (rf"{{\scriptsize {_escape(cell.spread)}}}" if cell.spread else "" for cell in row.cells)
                lines.append(_latex_line(["", *spreads]))
        lines += [r"\bottomrule", r"\end{tabular}}", r"\par\smallskip\raggedright\footnotesize"]
        lines += [*map(_escape, _notes(of_split, published)), r"\end{table}"]
    return "\n".join(lines) + "\n"


def _names(values: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the measure and the structure of each column."""
    return [(measure, structure) for measure in MEASURES for structure in dict.fromkeys(values["structure"])]


def _ordered(values: pd.DataFrame) -> list[str]:
    """Return the methods that have values: the paper's, the parts, then those that `METHODS` does not list."""
    found = dict.fromkeys(values["method"])
    known = [method for method in [*methods.reported(), *methods.parts()] if method in found]
    return known + [method for method in found if method not in known]


def _published(values: pd.DataFrame, split: str, method: str) -> dict[tuple[str, str], str]:
    """Return the paper's figures by column, as printed there; "" for structures that the paper does not have."""
    figures = dict(zip(PUBLISHED_COLUMNS, PUBLISHED[split, method].split(), strict=True))
    return {name: figures.get(name, "") for name in _names(values)}


def _rows(found: pd.DataFrame, split: str, published: bool) -> Iterator[Row]:
    """Yield the rows of a split's table."""
    cells = aggregate(found).loc[split]
    tests = comparisons(found).set_index(["split", "measure", "structure", "method", "compared_with"])["p_holm"]
    above = None
    for method in _ordered(found):
        reported = method in methods.reported()
        row = []
        for measure, structure in _names(found):
            cell = cells.loc[(method, measure, structure)]
            marks = ""
            if measure == DICE.name and _printed(measure, cell["mean"]) < LOW_DICE:
                marks += "†"
            if reported and above and tests[split, measure, structure, method, above] < SIGNIFICANT:
                marks += "‡"
            if cell["available"] < cell["due"] and cell["available"]:
                marks += f" [{cell['available']:.0f}/{cell['due']:.0f}]"
            spreads = [_number(measure, cell["sd_patients"], "± {}"), _number(measure, cell["sd_seeds"], "({})")]
            best = reported and _is_best(cells, method, measure, structure)
            row.append(Cell(_number(measure, cell["mean"]) or "N/A", marks, " ".join(filter(None, spreads)), best))
        yield Row(methods.titles().get(method, method), row, reported)
        if published and (split, method) in PUBLISHED:
            row = [Cell(figure) for figure in _published(found, split, method).values()]
            yield Row("as published", row, reported, published=True)
        above = method


def _is_best(cells: pd.DataFrame, method: str, measure: str, structure: str) -> bool:
    """Return whether no reported method has a better mean, as printed. Only means of all due values compete."""
    column = cells.xs((measure, structure), level=["measure", "structure"])
    column = column[column.index.isin(list(methods.reported())) & (column["available"] == column["due"])]
    means = column["mean"].map(lambda mean: _printed(measure, mean))
    best = means.max() if MEASURES[measure].higher_is_better else means.min()
    return bool(method in means and means[method] == best)


def _number(measure: str, value: float, style: str = "{}") -> str:
    """Format a value; "" where it is not available."""
    return "" if pd.isna(value) else style.format(f"{value:.{MEASURES[measure].decimals}f}")


def _printed(measure: str, value: float) -> float:
    """Return a value as its digits say: NumPy rounds 0.8505 down, but prints it as 0.851."""
    return float(_number(measure, value) or "nan")


def _heading(split: str, of_split: pd.DataFrame) -> str:
    def count(column: str, what: str) -> str:
        number = of_split.loc[of_split[column] != "", column].nunique()
        return f"{number} {what}{'' if number == 1 else 's'}"

    seeds = f", {count('seed', 'seed')}" if (of_split["seed"] != "").any() else ""
    return f"{split.capitalize()}: {count('patient', 'patient')}{seeds}"


def _notes(of_split: pd.DataFrame, published: bool) -> list[str]:
    patients = of_split["patient"].nunique()
    structures = of_split[of_split["structure"] != AVERAGE].groupby("structure", sort=False)
    nowhere = [name for name, rows in structures if not (rows["due"].any() or rows["value"].notna().any())]
    notes = [
        "Mean ± standard deviation over the patients. Methods with several seeds are averaged over the seeds, whose "
        "standard deviation stands in parentheses.",
        "AVG: average over the structures of each patient.",
        f"Bold: the best mean, parts and extensions left out. †: Dice under {LOW_DICE:.3f}.",
        *([f"{', '.join(nowhere)}: N/A, since no manual mask has it. {AVERAGE} is without it."] if nowhere else []),
        "A structure that a method misses has Dice 0 and no distances. [m/n]: only m of n masks have a value, and the "
        "mean is over these. Such a mean is too good, so it is never marked best; the paper gives N/A instead.",
    ]
    if patients < significance.FEWEST_PATIENTS:
        notes.append(f"Differences between methods are not tested: fewer than {significance.FEWEST_PATIENTS} patients.")
    else:
        notes.append(
            "‡: differs from the method above (Wilcoxon signed-rank test over patients, Holm-corrected, "
            f"p < {SIGNIFICANT}). {patients} patients cannot give an uncorrected p below {2.0 ** (1 - patients):.2g}."
        )
    found = set(of_split["method"])
    notes += [method.note for method in methods.METHODS if method.note and method.name in found]
    if published:
        notes.append(
            "As published: Chen et al. 2019, Table 1 (5 patients) and section 3.3 (test phase, 40 patients), for "
            "comparison."
        )
    return notes


def _begins_parts(rows: list[Row], index: int) -> bool:
    return index > 0 and rows[index - 1].reported and not rows[index].reported


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(cell: Cell, published: bool) -> str:
    mean = f"**{cell.mean}**" if cell.best else f"*{cell.mean}*" if published and cell.mean else cell.mean
    return f"{mean}{cell.marks} {cell.spread}".rstrip()


def _html_line(cells: list[str], tag: str, published: bool = False) -> str:
    style = " class='published'" if published else ""
    return f"<tr{style}>{''.join(f'<{tag}>{cell}</{tag}>' for cell in cells)}</tr>"


def _html_cell(cell: Cell) -> str:
    mean = f"<strong>{cell.mean}</strong>" if cell.best else cell.mean
    spread = f"<br/><span class='spread'>{markup.escape(cell.spread)}</span>" if cell.spread else ""
    return f"{mean}{markup.escape(cell.marks)}{spread}"


def _latex_line(cells: list[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _latex_mean(cell: Cell, style: str) -> str:
    mean = rf"\textbf{{{cell.mean}}}" if cell.best else style % _escape(cell.mean) if cell.mean else ""
    return mean + _escape(cell.marks)


def _escape(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
