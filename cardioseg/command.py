"""The command `cardioseg`: a trained ensemble applied to images, for users who never saw the workflow.

Slow imports are made where they are needed, so that --help answers at once.
"""

import argparse
import dataclasses
import io
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from cardioseg.core import checksums, files, imports
from cardioseg.core.errors import InputError

if TYPE_CHECKING:
    from cardioseg.model.trained_model import TrainedModel

MOST_THREADS = 1024
DONE, FAILED, REVIEW, INTERRUPTED = 0, 1, 3, 130
WRITTEN = """\
Segment images with a trained ensemble.

Written to the folder of --out:
  report.html               what to look at first: numbers, what stands out, pictures, links; opens without a network
  masks/NAME.nii.gz         the structures, in the image's exact geometry, with the training cohort's codes
  dicom/NAME.dcm            the structures for the archive, with the patient's name (for a DICOM series)
  rtstruct/NAME.dcm         the same as contours, a DICOM RT structure set
  uncertainty/NAME.nii.gz   entropy of the ensemble's mean probabilities (with --source, of the fused ones), from 0
                            (certain) to 1, in the same geometry
  uncertainty/NAME.png      its slices
  slices/NAME.png           all slices with contours
  scar/NAME.nii.gz, .png    (if the model measures scar) 1 scar, 2 dark core in it, 3 remote myocardium; all slices
                            with their contours
  segments/NAME.png, .svg   (if the model has segments) the 17 segments as a bull's-eye
  segments.csv              one row per image and segment: mass, thickness, intensity, scar, transmurality
  structures.ctbl .label    names and colours of the codes in masks, for 3D Slicer and ITK-SNAP; scar.* for scar
  errors/NAME.txt           details of an unexpected error
  results.csv results.json  one entry per image: volumes, mass and thickness of the wall (if the ensemble has one), scar
                            by two methods with their thresholds, agreement between the members, and whether and why a
                            person should check the result

Results of earlier calls remain in the folder and in its tables. If two images of a call have the same name, all of the
call are called FOLDER/NAME, and so is an image whose name another call's has. All results in a folder are of one model.
"""
STATUS = f"""\
exit status:
  {DONE}    all images are segmented, and no result needs a check
  {FAILED}    an image could not be segmented (the others are), or the model cannot be used
  2    wrong usage
  {REVIEW}    all images are segmented, and a person should check some of the results
  {INTERRUPTED}  interrupted, by Ctrl-C or a batch system's time limit; what was written stays
"""
EVALUATED = """\
Measure masks against manual ones, which may come from any program. Each mask needs a manual mask of the same name; a
single mask and a single manual mask belong together. Both must be NIfTI, on one grid. A mask that cannot be measured
does not stop the others.

Written to the folder of --out:
  metrics.csv         Dice, ASD, HD95 and volumes, one row per mask and structure; for MYO the thickness of the wall
  metrics_thirds.csv  Dice, ASD and HD95 in the basal, mid and apical third of the manual mask
  clinical.csv        volumes, and mass and thickness of the myocardium, one row per mask and one per manual mask
  bland_altman.csv    bias and limits of agreement of these
  summary.txt         means and standard deviations, which masks could not be measured, and of which manual masks there
                      is no mask; printed as well
"""
EVALUATED_STATUS = f"""\
exit status:
  {DONE}  all masks are measured
  {FAILED}  a mask could not be measured (the others are; its values are N/A), or none could
  2  wrong usage
"""
# What a workflow's folder of results holds, and no other folder that this command writes to.
OF_WORKFLOW = (Path("cohort", "made_from.json"), Path("model", "ensemble.pt"))
MSCMRSEG = {"LV": 500, "MYO": 200, "RV": 600}
WALL = {"cavity": "LV", "myocardium": "MYO"}
NO_MODEL = (
    "--model is missing: name a model file or a folder of results; `make demo` trains a small model on the digital "
    "phantom in minutes, and the workflow run on your own images (docs/your_data.md) trains one for patients."
)
EXPORTED = """\
Write a trained ensemble to the folder of --out, so that others can use it: ensemble.pt, with the licence given here,
and MODEL_CARD.md, which describes it. With --onnx also the networks alone, in onnx/.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; by default that of the process.

    Returns
    -------
    int
        The exit status: 0, `REVIEW`, `FAILED` or `INTERRUPTED`.
    """
    given = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a name shows it with escapes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP):  # a batch system's limit ends the command as Ctrl-C does
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        return given.run(given)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        advice = " Make room and give the same command again." if error.errno in files.NO_ROOM else ""
        print(f"Error: {where}{error.strerror or error}.{advice}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cardioseg", description="Segmentation of cardiac MR with a trained ensemble."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {metadata.version('cardioseg')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="segment images",
        description=WRITTEN,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_argument(
        "images",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="NIfTI file, folder of such files, folder of a DICOM series, or one of its files",
    )
    segment.add_argument(
        "--model", type=Path, help="the workflow's file model/ensemble.pt, or its folder of results (must be given)"
    )
    segment.add_argument("--out", type=Path, required=True, help="folder to write to")
    segment.add_argument(
        "--source",
        nargs="+",
        type=Path,
        default=[],
        metavar="IMAGE",
        help="image of the labelled modality, of the same examination, whose own segmentation, registered, counts as "
        "well: one for each IMAGE, of the same name or in the same order",
    )
    segment.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    segment.add_argument("--threads", type=_count, help="number of CPU threads; by default one per core")
    segment.set_defaults(run=_segment)
    export = commands.add_parser("export", help="write a trained ensemble for others", description=EXPORTED)
    export.add_argument("model", type=Path, metavar="MODEL", help="model file, or the workflow's folder of results")
    export.add_argument("--out", type=Path, required=True, help="folder to write to")
    export.add_argument("--licence", metavar="TEXT", help="who may use the weights for what")
    export.add_argument(
        "--onnx",
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="also write the networks as ONNX, and check on these images that they give the same masks",
    )
    export.set_defaults(run=_export)
    evaluate = commands.add_parser(
        "evaluate",
        help="measure masks against manual ones",
        description=EVALUATED,
        epilog=EVALUATED_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    evaluate.add_argument("masks", type=Path, metavar="MASKS", help="NIfTI file of labels, or folder of such files")
    evaluate.add_argument("truth", type=Path, metavar="TRUTH", help="the manual mask, or a folder with the same names")
    evaluate.add_argument("--out", type=Path, required=True, help="folder to write to")
    evaluate.add_argument(
        "--structures",
        nargs="+",
        type=_structure,
        default=[(name, [code]) for name, code in MSCMRSEG.items()],
        metavar="NAME=CODE",
        help="value of each structure in the files, or several, as MYO=2,3, and background=CODE for what does not "
        "count; by default " + " ".join(f"{name}={code}" for name, code in MSCMRSEG.items()),
    )
    evaluate.add_argument(
        "--manual-structures",
        nargs="+",
        type=_structure,
        default=[],
        metavar="NAME=CODE",
        help="the same of the manual masks, for structures whose values are others there",
    )
    evaluate.set_defaults(run=_evaluate)
    return parser


def _segment(given: argparse.Namespace) -> int:
    with imports.uncollected():
        import torch

        from cardioseg.cohort import inputs
        from cardioseg.core import devices
        from cardioseg.model import batch, trained_model

    if given.model is None:
        raise InputError(NO_MODEL)
    _check_no_workflow(given.out)
    found = inputs.find(given.images, given.out)
    device = devices.choose_any(given.device, "--device")
    if given.threads:
        torch.set_num_threads(given.threads)
    path = trained_model.find(given.model)
    model = trained_model.load(path)
    sources = _sources(given, found, model) if given.source else {}
    statuses = batch.segment(found, model, device, given.out, _about(path), sources)
    counts = {status: statuses.count(status) for status in ("review", "failed")}
    segmented = len(statuses) - counts["failed"]
    batch.say(
        f"{segmented} segmented, {counts['review']} of them to be checked, {counts['failed']} failed. "
        f"See {given.out / 'report.html'}",
        sys.stdout,
    )
    return FAILED if "failed" in statuses else REVIEW if "review" in statuses else DONE


def _sources(given: argparse.Namespace, images: Mapping[str, Path], model: "TrainedModel") -> dict[str, Path]:
    """The source image of each image, where the model takes such."""
    from cardioseg.cohort import inputs, pairs
    from cardioseg.registration import elastix

    if not model.source_networks:
        raise InputError(
            f"--source: this model cannot use {model.cohort['source']} images of new patients; the workflow puts what "
            "that needs into the model file where `fusion.labels` has `predicted`. Train with that, or leave --source "
            "out."
        )
    elastix.check_installed()
    sources = inputs.find(given.source, given.out)
    listed = len(images) == len(given.images) and len(sources) == len(given.source)
    return pairs.pair(images, sources, listed)


def _about(model: Path) -> dict[str, str]:
    """Identify a model file."""
    return {"model": files.readable(str(model.absolute())), "model_sha256": checksums.sha256([model])[str(model)]}


def _export(given: argparse.Namespace) -> int:
    from cardioseg.cohort import inputs
    from cardioseg.model import model_card, trained_model

    _check_no_workflow(given.out)
    onnx_export = _onnx_export() if given.onnx else None
    written = given.out / "ensemble.pt"
    if written.exists() and written.samefile(trained_model.find(given.model)):
        raise InputError(f"{written}: is the model itself; expected another folder to write to.")
    networks = given.out / "onnx"
    if networks.exists() and not onnx_export:
        raise InputError(
            f"{networks}: holds networks of an earlier export, which may be of another model. Give --onnx to write "
            "them anew, remove them, or write to another folder."
        )
    model = trained_model.load(given.model)
    if given.licence:
        model = dataclasses.replace(model, licence=given.licence)
    found = None
    if onnx_export:
        images = [inputs.read(path).volume for path in inputs.find(given.onnx).values()]
        given.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=given.out) as aside:
            computed = onnx_export.write(model, Path(aside))
            differing, voxels = onnx_export.check(model, computed, images)
            shutil.rmtree(networks, ignore_errors=True)
            shutil.copytree(aside, networks)
        found = f"onnxruntime's masks of {len(images)} images: {differing} of {voxels} voxels differ."
        print(found)
    trained_model.save(written, model)
    files.write_text(given.out / "MODEL_CARD.md", model_card.text(model, found))
    print(f"Written: {written}, {given.out / 'MODEL_CARD.md'}")
    return DONE


def _onnx_export() -> ModuleType:
    try:
        from cardioseg.model import onnx_export
    except ImportError as error:
        raise InputError(f"--onnx: {error}. Install the packages onnx, onnxruntime and onnxscript.") from error
    return onnx_export


def _evaluate(given: argparse.Namespace) -> int:
    from cardioseg.cohort import inputs

    codes = _codes("--structures", given.structures, {})
    manual_codes = _codes("--manual-structures", given.manual_structures, codes)
    _check_no_workflow(given.out)
    try:
        from cardioseg.evaluation import clinical, folders
    except ModuleNotFoundError as error:
        raise InputError(
            f"evaluate: the package {error.name}, which measures masks, is missing; install it."
        ) from error
    truths = inputs.find([given.truth], given.out)
    pairs = folders.pair(inputs.find([given.masks], given.out), truths)
    wall = WALL if set(WALL.values()) <= set(codes) else None
    method = files.readable(given.masks.absolute().name)
    if method == clinical.MANUAL:  # what the manual masks are called in the tables
        method = f"{method} (masks)"
    evaluated = folders.evaluate(pairs, method, codes, wall, manual_codes)
    without = folders.without_mask(truths, pairs)
    print(folders.write(given.out, evaluated, WALL["myocardium"] if wall else None, without))
    return FAILED if evaluated.failed else DONE


def _check_no_workflow(out: Path) -> None:
    """Raise InputError if a folder to write to holds results of a workflow, or its model: files of the same names."""
    record, model = OF_WORKFLOW
    of_model = (Path("..", record),) if out.resolve().name == model.parent.name else ()
    for name in (record, model, *of_model):
        if (out / name).is_file():
            raise InputError(
                f"{out}: holds the results of a workflow ({name}), of which files would be overwritten. Write to "
                "another folder."
            )


def _codes(
    option: str, given: Sequence[tuple[str, list[int]]], others: Mapping[str, list[int]]
) -> dict[str, list[int]]:
    """The values of each structure by an option, and of those that it does not name by `others`; background is last."""
    from cardioseg.core.volumes import BACKGROUND, structures

    named = dict(given)
    codes = {**others, **named}
    values = [code for listed in codes.values() for code in listed]
    if len(named) < len(given) or len(set(values)) < len(values):
        raise InputError(f"{option}: a name or a code stands there twice; expected each once.")
    if unknown := [name for name in named if others and name not in (*others, BACKGROUND)]:
        raise InputError(f"{option}: {unknown[0]} is not in --structures ({', '.join(structures(others))}).")
    if not structures(codes):
        raise InputError(f"{option}: names no structure; expected one or more.")
    return {name: codes[name] for name in (*structures(codes), BACKGROUND) if name in codes}


def _structure(text: str) -> tuple[str, list[int]]:
    name, _, listed = text.partition("=")
    codes = listed.split(",")
    if not name or not all(code.isdecimal() and int(code) > 0 for code in codes):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=CODE with a whole number above 0, such as LV=500, or several, such as MYO=2,3"
        )
    from cardioseg.core.volumes import BACKGROUND, RESERVED

    if name in RESERVED and name != BACKGROUND:
        raise argparse.ArgumentTypeError(f"{name} is what no structure may be called; expected another name")
    return name, [int(code) for code in codes]


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_THREADS}")
    return int(text)
