"""The drawing of the data's way in docs/architecture.md shows what the rules do."""

from pathlib import Path

import pytest

from architecture_page import ASIDE, DATA, stage
from calls import jobs

pytestmark = pytest.mark.slow

DRAWN = {(one, other) for one, others in DATA.items() for other in others}
# So that every box of the drawing is made, and every way to it is taken.
OVERLAYS = [
    "",
    "self_training: {epochs: 1, learning_rate: 0.001, targets: probabilities, fused: false, least_agreement: 0}",
]
COMMAND = ("model/ensemble.pt", "cardioseg segment")


def reached(start: str) -> set[str]:
    """Where the drawing leads from a box."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for other in DATA.get(waiting.pop(), []):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def test_drawing_shows_which_folder_is_made_from_which(tmp_path: Path) -> None:
    made = {
        (stage(one), stage(other))
        for overlay in OVERLAYS
        for job in jobs(tmp_path / "work", overlay=overlay)
        for one in job.inputs
        for other in job.outputs
        if stage(one) != stage(other) and not {stage(one), stage(other)} & ASIDE
    }
    assert DRAWN - {COMMAND} <= made, "drawn, but no rule does it"
    assert [arrow for arrow in sorted(made) if arrow[1] not in reached(arrow[0])] == [], (
        "not drawn, nor is a longer way"
    )
