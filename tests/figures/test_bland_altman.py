import pandas as pd
import pytest

from cardioseg.evaluation import bland_altman
from cardioseg.figures import bland_altman as figures
from clinical_quantities import quantities

TITLES = {"unet": "U-Net", "ensemble_pp": "Ensemble + PP", "other": "not there"}


def panels(*arguments):
    """Method, agreement, label and number of lines of each panel of a figure."""
    return [
        ["".join(text.get_text() for text in axis.texts), axis.get_title(), axis.get_ylabel(), len(axis.lines)]
        for axis in figures.figure(*arguments).axes
    ]


def test_panels_are_one_per_quantity_and_method():
    found = panels(quantities(), TITLES)
    assert [panel[0] for panel in found] == ["U-Net", "Ensemble + PP", "", ""]
    # The mass stands for the volume.
    assert [panel[2].split("\n")[0] for panel in found[::2]] == ["MYO mass", "MYO thickness"]
    assert {panel[3] for panel in found} == {5}
    agreed = bland_altman.agreement(quantities())
    row = agreed[(agreed["method"] == "unet") & (agreed["quantity"] == "MYO_mass_g")].iloc[0]
    assert found[0][1] == f"{row['bias']:+.1f} ± {1.96 * row['sd']:.1f}".replace("-", "\u2212")


def test_largest_split_is_shown():
    both = pd.concat([quantities(patients=2, split="validation"), quantities(patients=4)])
    assert panels(both, TITLES) == panels(quantities(patients=4), TITLES)


def test_one_patient_has_a_bias_but_no_limits():
    assert {panel[3] for panel in panels(quantities(patients=1, seeds=(1,)), TITLES)} == {3}


@pytest.mark.parametrize("rows", [0, 1])
def test_figure_without_values_says_so(rows):
    """No patient, or a manual mask alone."""
    shown = figures.figure(quantities()[:rows], TITLES)
    assert not shown.axes
    assert "nothing to compare" in shown.texts[0].get_text()
