"""Masks of any origin against manual ones: the workflow's metrics and tables for files outside of a workflow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cardioseg.core import files, volumes
from cardioseg.core.errors import InputError
from cardioseg.core.volumes import Codes
from cardioseg.evaluation import bland_altman, clinical, patient, summary
from cardioseg.evaluation.patient import Agreement

SPLIT = "all"


class Evaluated(NamedTuple):
    """What `evaluate` finds.

    Attributes
    ----------
    agreement : Agreement
        As `metrics.csv` and `metrics_thirds.csv` of the workflow. A mask that could not be measured has rows without
        values.
    failed : dict of str to str
        The reason for each mask that could not be measured, by its name.
    elsewhere : list of str
        The masks whose headers place them elsewhere than the manual ones, on whose grid they are measured.
    """

    agreement: Agreement
    failed: dict[str, str]
    elsewhere: list[str]


def pair(masks: Mapping[str, Path], truths: Mapping[str, Path]) -> dict[str, tuple[Path, Path | None]]:
    """Find the manual mask of each mask: that of the same name; a single one belongs to a single one.

    Parameters
    ----------
    masks, truths : mapping of str to Path
        Files by name, without suffix.

    Returns
    -------
    dict of str to (Path, Path or None)
        By name, the mask and the manual mask, which is None where there is none. Manual masks without a partner are
        left out, see `without_mask`.
    """
    if len(masks) == len(truths) == 1:
        (truth,) = truths.values()
        return {name: (path, truth) for name, path in masks.items()}
    return {name: (path, truths.get(name)) for name, path in masks.items()}


def without_mask(truths: Mapping[str, Path], pairs: Mapping[str, tuple[Path, Path | None]]) -> list[str]:
    """Find the manual masks without a partner.

    Parameters
    ----------
    truths : mapping of str to Path
        The manual masks by name.
    pairs : mapping of str to (Path, Path or None)
        As from `pair`.

    Returns
    -------
    list of str
        Their names.
    """
    paired = {truth for _, truth in pairs.values()}
    return [name for name, truth in truths.items() if truth not in paired]


def evaluate(
    pairs: Mapping[str, tuple[Path, Path | None]],
    method: str,
    codes: Codes,
    wall: Mapping[str, str] | None,
    manual_codes: Codes | None = None,
) -> Evaluated:
    """Measure masks against manual ones, on the grid of these.

    A mask that cannot be measured does not stop the others.

    Parameters
    ----------
    pairs : mapping of str to (Path, Path or None)
        As from `pair`; the files are NIfTI.
    method : str
        What the masks are called in the tables.
    codes : mapping of str to int or sequence of int
        The value, or the values, of each structure in the masks, see `volumes.read_labels`.
    wall : mapping of str to str or None
        The names of the `cavity` and the `myocardium` whose thickness is measured; None measures none.
    manual_codes : mapping of str to int or sequence of int, optional
        The values in the manual masks, of the same structures in the same order; by default `codes`.

    Returns
    -------
    Evaluated
        The metrics, and which masks have none.

    Raises
    ------
    InputError
        No mask can be measured.
    """
    found, failed, elsewhere = [], {}, []
    for name, (path, truth) in ((files.readable(name), pair) for name, pair in pairs.items()):
        try:
            measured, notes = _measured(path, truth, method, codes, manual_codes or codes, wall)
            elsewhere += [name] if volumes.ELSEWHERE in notes else []
        except InputError as error:
            failed[name] = files.readable(str(error))
            measured = patient.not_measured(method, volumes.structures(codes))
        found.append(measured.named(SPLIT, name))
    if len(failed) == len(pairs):
        first, *others = failed.values()
        raise InputError(first + (f" The others, {len(others)}, cannot be measured either." if others else ""))
    return Evaluated(Agreement(*map(_together, zip(*found, strict=True))), failed, elsewhere)


def write(folder: Path, evaluated: Evaluated, myocardium: str | None, without: Sequence[str]) -> str:
    """Write the tables of the workflow: `metrics`, `metrics_thirds`, `clinical` and `bland_altman`, and `summary.txt`.

    Parameters
    ----------
    folder : Path
        The folder to write to.
    evaluated : Evaluated
        As from `evaluate`.
    myocardium : str or None
        The structure whose mass and thickness are given.
    without : sequence of str
        Manual masks without a partner, by name, which the summary lists.

    Returns
    -------
    str
        The summary, for the terminal, with the masks that could not be measured, and those that lie elsewhere.
    """
    agreement, failed, elsewhere = evaluated
    quantities = clinical.quantities(agreement.whole, myocardium)
    tables = {
        "metrics": agreement.whole,
        "metrics_thirds": agreement.thirds,
        "clinical": quantities,
        "bland_altman": bland_altman.agreement(quantities),
    }
    for name, table in tables.items():
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6f", na_rep="N/A"))
    told = [f"{name}  failed: {failed[name]}" for name in failed]
    told += [
        f"{name}  lies elsewhere than the manual mask by its header; measured voxel by voxel" for name in elsewhere
    ]
    told += [f"no mask of: {files.readable(', '.join(without))}"] if without else []
    text = "\n".join([summary.by_method(agreement.whole), *told])
    files.write_text(folder / "summary.txt", text + "\n")
    return text


def _measured(
    path: Path,
    truth_path: Path | None,
    method: str,
    codes: Codes,
    manual_codes: Codes,
    wall: Mapping[str, str] | None,
) -> tuple[Agreement, tuple[str, ...]]:
    if truth_path is None:
        raise InputError(
            f"{path}: has no manual mask of its name; expected one. Rename the files, or name one mask and one manual "
            "mask."
        )
    truth = volumes.read_labels(truth_path, manual_codes)
    mask = volumes.read_labels(path, codes, truth)
    structures = volumes.structures(codes)
    return patient.evaluate([(method, mask.array)], truth.array, truth.spacing, structures, wall), mask.notes


def _together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(tables, ignore_index=True)
    return table.assign(seed=pd.Series(pd.NA, table.index, dtype="Int64"))
