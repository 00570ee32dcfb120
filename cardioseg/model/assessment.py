"""What is said of a segmentation: its quantities, its scar and segments, and whether a person should look at it."""

from dataclasses import dataclass
from typing import Any

from cardioseg.clinical import examination
from cardioseg.clinical.examination import Examination
from cardioseg.core import volumes
from cardioseg.core.volumes import Volume
from cardioseg.evaluation import clinical
from cardioseg.model import review
from cardioseg.model.segmentation import Segmentation
from cardioseg.model.trained_model import TrainedModel


@dataclass(frozen=True)
class Assessment:
    """The judgement of one segmentation.

    Attributes
    ----------
    reasons : list of str
        Why a person should look at it; empty where nothing stands out.
    numbers : dict of str to float
        Volumes, mass and thickness (see `evaluation.clinical.measure`), and by structure the agreement of the members.
    examined : Examination
        Scar and segments.
    """

    reasons: list[str]
    numbers: dict[str, float]
    examined: Examination

    @property
    def status(self) -> str:
        """Return `review` where a person should look at it, else `ok`."""
        return "review" if self.reasons else "ok"

    def entry(self) -> dict[str, Any]:
        """Return all of it as an entry of a table.

        Returns
        -------
        dict
            Values by column.
        """
        return {"status": self.status, "reasons": self.reasons, **self.numbers, **self.examined.entry()}


def assess(image: Volume, found: Segmentation, model: TrainedModel) -> Assessment:
    """Judge what a model found in an image.

    No scar is measured where the outline of the wall or of its cavity is doubtful, since an outline that takes in blood
    makes it scar.

    Parameters
    ----------
    image : Volume of shape (z, y, x)
        The raw image.
    found : Segmentation
        What the model found in it.
    model : TrainedModel
        The model.

    Returns
    -------
    Assessment
        The numbers, and why a person should check them.
    """
    structures, wall = list(model.structures), model.settings["clinical"]
    measured = clinical.measure(found.labels, image.spacing, structures, wall)
    agreements = review.agreement(found.members, structures)
    volumes_ml = {structure: measured[f"{structure}_volume_ml"] for structure in structures}
    known_ml, edges = model.cohort["volumes_ml"], review.at_edge(found.labels, structures)
    doubts = [
        reason
        for each in (wall or {}).values()
        for reason in review.doubts(each, volumes_ml[each], known_ml[each], agreements[each], edges[each])
    ]
    reasons = review.reasons(
        volumes_ml, known_ml, agreements, edges, found.members, found.location.found, found.orientation.doubt
    )
    reasons += review.emptied_reasons(found.members, found.labels)
    # Programs differ in which of the two they go by, so that the mask may lie elsewhere in some.
    reasons += [note for note in image.notes if note == volumes.FORMS_DISAGREE]
    if found.witness:
        reasons += review.source_reasons(found.witness.agreement, found.witness.unused)
    examined = examination.examine(image, found.labels, structures, model.settings, doubts)
    reasons += [doubt for doubt in (examined.open_wall, examined.basal_scar) if doubt]
    return Assessment(
        reasons=reasons,
        numbers={**measured, **{f"{structure}_agreement": value for structure, value in agreements.items()}},
        examined=examined,
    )
