"""The command `cardioseg`: a trained ensemble applied to images, for users who never saw the workflow.

What takes long to import is imported when it is needed, so that --help answers at once.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cardioseg.errors import InputError

DONE, FAILED, REVIEW, INTERRUPTED = 0, 1, 3, 130
WRITTEN = """\
Segment short-axis images by a trained ensemble.

Written to the folder of --out:
  masks/NAME.nii.gz         the structures, in the image's exact geometry, with the training cohort's codes
  uncertainty/NAME.nii.gz   entropy of the ensemble's mean probabilities, from 0 (certain) to 1, in the same geometry
  slices/NAME.png           all slices with contours
  results.csv results.json  an entry an image: volumes, mass and thickness of the myocardium, agreement between the
                            ensemble's members, and whether and why a person should look at the result
"""
STATUS = f"""\
exit status:
  {DONE}  all images are segmented, and nothing stands out
  {FAILED}  an image could not be segmented (the others are), or the model cannot be used
  2  wrong usage
  {REVIEW}  all images are segmented, and a person should look at some of the results
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cardioseg", description="Segmentation of cardiac MR by a trained ensemble.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="segment images",
        description=WRITTEN,
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="NIfTI file, or a folder of such files")
    segment.add_argument(
        "--model", type=Path, required=True, help="file made by `cardioseg export`, or the workflow's results folder"
    )
    segment.add_argument("--out", type=Path, required=True, help="folder to write to")
    segment.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    segment.add_argument("--threads", type=_count, help="of the CPU; unless told as many as it has cores")
    segment.set_defaults(run=_segment)
    return parser


def _segment(given: argparse.Namespace) -> int:
    import torch

    from cardioseg import batch, ensemble, images, training

    found = images.find(given.images)
    device = training.device(given.device)
    if given.threads:
        torch.set_num_threads(given.threads)
    statuses = batch.segment(found, ensemble.load(given.model), device, given.out)
    counts = {status: statuses.count(status) for status in ("review", "failed")}
    print(
        f"{len(statuses) - counts['failed']} segmented, {counts['review']} of them to be looked at, "
        f"{counts['failed']} failed. See {given.out / 'results.csv'}"
    )
    return FAILED if "failed" in statuses else REVIEW if "review" in statuses else DONE


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return int(text)
