"""Masks of any origin against manual ones: the workflow's metrics and tables for files outside of a workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cardioseg.core import files, volumes
from cardioseg.core.errors import InputError
from cardioseg.evaluation import bland_altman, clinical, patient, summary
from cardioseg.evaluation.patient import Agreement

SPLIT = "all"


def pair(masks: Mapping[str, Path], truths: Mapping[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Find the manual mask of each mask: that of the same name; a single one belongs to a single one.

    Parameters
    ----------
    masks, truths : mapping of str to Path
        Files by name, without suffix.

    Returns
    -------
    dict of str to (Path, Path)
        By name, the mask and the manual mask. Manual masks without a partner are left out.

    Raises
    ------
    InputError
        A mask has no partner.
    """
    if len(masks) == len(truths) == 1:
        (truth,) = truths.values()
        return {name: (path, truth) for name, path in masks.items()}
    alone = [name for name in masks if name not in truths]
    if alone:
        raise InputError(
            f"{masks[alone[0]]}: has no manual mask of its name, nor have {len(alone) - 1} others; expected one file "
            "of the same name for each mask. Rename them, or name one mask and one manual mask."
        )
    return {name: (path, truths[name]) for name, path in masks.items()}


def evaluate(
    pairs: Mapping[str, tuple[Path, Path]], method: str, codes: Mapping[str, int], wall: Mapping[str, str] | None
) -> Agreement:
    """Measure masks against manual ones, on the grid of these.

    Parameters
    ----------
    pairs : mapping of str to (Path, Path)
        By the patient's name, the files (NIfTI) of a mask and of the manual mask.
    method : str
        What the masks are called in the tables.
    codes : mapping of str to int
        The value of each structure in all files; 0 is background.
    wall : mapping of str to str or None
        The names of the `cavity` and the `myocardium` whose thickness is measured; None measures none.

    Returns
    -------
    Agreement
        As `metrics.csv` and `metrics_thirds.csv` of the workflow.

    Raises
    ------
    InputError
        A file cannot be read or has another value, or two masks do not fit.
    """
    found = []
    for name, (path, truth_path) in pairs.items():
        truth = volumes.read_labels(truth_path, codes)
        mask = volumes.read_labels(path, codes, truth)
        measured = patient.evaluate([(method, mask.array)], truth.array, truth.spacing, list(codes), wall)
        found.append(measured.named(SPLIT, name))
    return Agreement(*map(_together, zip(*found, strict=True)))


def write(folder: Path, agreement: Agreement, myocardium: str | None) -> str:
    """Write the tables of the workflow: `metrics`, `metrics_thirds`, `clinical` and `bland_altman`, and `summary.txt`.

    Parameters
    ----------
    folder : Path
        The folder to write to.
    agreement : Agreement
        As from `evaluate`.
    myocardium : str or None
        The structure whose mass and thickness are given.

    Returns
    -------
    str
        The summary, for the terminal.
    """
    quantities = clinical.quantities(agreement.whole, myocardium)
    tables = {
        "metrics": agreement.whole,
        "metrics_thirds": agreement.thirds,
        "clinical": quantities,
        "bland_altman": bland_altman.agreement(quantities),
    }
    for name, table in tables.items():
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6f", na_rep="N/A"))
    text = summary.by_method(agreement.whole)
    files.write_text(folder / "summary.txt", text + "\n")
    return text


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table.assign(seed=pd.Series(pd.NA, table.index, dtype="Int64"))
