"""The result of a run on one page: the cohort in numbers, Table 1, the thirds of the stack, segmentations."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup

from cardioseg.core import templates
from cardioseg.evaluation import tables
from cardioseg.evaluation.measures import DICE, MEASURES
from cardioseg.evaluation.thirds import THIRDS
from cardioseg.figures import embedding

WIDTH = 1100


def page(
    cohort: pd.DataFrame,
    metrics: pd.DataFrame,
    thirds: pd.DataFrame,
    translator: str,
    published: bool,
    shown: tuple[str, str],
    picture: Path,
) -> str:
    """Make the page, which needs nothing but itself to be shown. It can also stand inside another page.

    Parameters
    ----------
    cohort : DataFrame
        A row a volume: modality, patient, splits (separated by spaces), slices, labels, located.
    metrics, thirds : DataFrame
        As `metrics.csv` and `metrics_thirds.csv`.
    translator : str
        Title of what made the synthetic images.
    published : bool
        Whether the paper's own figures stand in Table 1.
    shown : tuple of str
        Name and title of the method whose thirds are shown.
    picture : Path
        The figure of segmentations.

    Returns
    -------
    str
        The page as HTML.
    """
    return templates.render(
        "cardioseg.figures",
        "overview.html.j2",
        style=tables.STYLE.replace("body", ".overview").replace(" table", " .overview table"),
        cohort=_counts(cohort),
        translator=translator,
        table1=Markup(tables.html_tables(metrics, published)),  # which has escaped all names
        title=shown[1],
        thirds=_means(thirds[thirds["method"] == shown[0]]),
        measures=[measure.title for measure in MEASURES.values()],
        picture=embedding.address(picture, WIDTH),
    )


def _counts(cohort: pd.DataFrame) -> list[dict[str, str | int]]:
    """Return what is said of each modality's volumes."""
    rows: list[dict[str, str | int]] = []
    for modality, volumes in cohort.groupby("modality", sort=False):
        splits = volumes["splits"].str.split().explode().value_counts(sort=False)
        rows.append(
            {
                "modality": str(modality),
                "volumes": len(volumes),
                "slices": f"{volumes['slices'].min()} to {volumes['slices'].max()}",
                "labels": int((volumes["labels"] == "yes").sum()),
                "missed": int((volumes["located"] == "no").sum()),
                "splits": ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in splits.items()),
            }
        )
    return rows


def _means(thirds: pd.DataFrame) -> list[list[str]]:
    """Return the rows of the table of thirds: split, structure, third, and each measure's mean with its deviation.

    A patient who has nothing of a structure in a third does not count there. If a structure is missed, the means of its
    distances are not available (see `Measure.ignores_missing`).
    """
    rows = []
    for (split, structure), of_structure in thirds.groupby(["split", "structure"], sort=False):
        for third in THIRDS:
            found = of_structure[(of_structure["third"] == third) & of_structure[DICE.name].notna()]
            cells = []
            for measure in MEASURES.values():
                mean, deviation = (
                    summarised(skipna=measure.ignores_missing)
                    for summarised in (found[measure.name].mean, found[measure.name].std)
                )
                cell = "N/A" if pd.isna(mean) else f"{mean:.{measure.decimals}f}"
                cells.append(cell + ("" if pd.isna(deviation) else f" ± {deviation:.{measure.decimals}f}"))
            rows.append([split, structure, third, *cells])
    return rows
