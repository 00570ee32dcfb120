"""Signals of the tissues in bSSFP, LGE and T2-prepared images, by the equations of the sequences."""

import math
from typing import NamedTuple

import numpy as np


class Tissue(NamedTuple):
    """What the signal of a tissue depends on, at 1.5 T.

    Attributes
    ----------
    proton_density : float
        Relative to blood.
    t1, t2 : float
        Relaxation times in ms before contrast agent.
    t1_post_contrast : float
        T1 in ms about 15 minutes after contrast agent.
    """

    proton_density: float
    t1: float
    t2: float
    t1_post_contrast: float


TISSUES = {
    "blood": Tissue(1.00, 1500, 240, 325),
    "right blood": Tissue(1.00, 1500, 160, 333),
    "myocardium": Tissue(0.95, 960, 56, 470),
    "scar": Tissue(0.97, 1080, 64, 255),
    "obstruction": Tissue(0.97, 1080, 64, 520),
    "fat": Tissue(0.72, 260, 75, 270),
    "muscle": Tissue(0.90, 900, 42, 410),
    "lung": Tissue(0.18, 1200, 60, 340),
    "liver": Tissue(0.80, 580, 46, 350),
    "stomach": Tissue(0.80, 900, 60, 450),
    "marrow": Tissue(0.55, 550, 60, 380),
    "bone": Tissue(0.25, 1000, 20, 500),
}


def bssfp_signal(
    proton_density: float, t1: float, t2: float, *, flip_angle: float, repetition_time: float, echo_time: float
) -> float:
    """Return the steady-state signal of balanced SSFP on resonance.

    It is M0 sin(a) (1 - E1) / (1 - (E1 - E2) cos(a) - E1 E2) exp(-TE / T2), with E1 = exp(-TR / T1) and
    E2 = exp(-TR / T2).

    Parameters
    ----------
    proton_density : float
        M0.
    t1, t2 : float
        Relaxation times in ms.
    flip_angle : float
        The angle a in degrees.
    repetition_time, echo_time : float
        TR and TE in ms.

    Returns
    -------
    float
        The signal, in units of M0.

    References
    ----------
    K. Scheffler, S. Lehnhardt, Eur Radiol 2003; 13:2409.
    """
    e1, e2 = math.exp(-repetition_time / t1), math.exp(-repetition_time / t2)
    angle = math.radians(flip_angle)
    steady = math.sin(angle) * (1 - e1) / (1 - (e1 - e2) * math.cos(angle) - e1 * e2)
    return proton_density * steady * math.exp(-echo_time / t2)


def inversion_recovery_signal(
    proton_density: float, t1: float, *, inversion_time: float, repetition_time: float
) -> float:
    """Return the longitudinal magnetisation at the readout of a repeated inversion.

    It is M0 (1 - 2 exp(-TI / T1) + exp(-TR / T1)), negative before the null point. A magnitude image shows its
    absolute value.

    Parameters
    ----------
    proton_density : float
        M0.
    t1 : float
        Relaxation time in ms.
    inversion_time : float
        TI in ms.
    repetition_time : float
        TR, the time between inversions, in ms.

    Returns
    -------
    float
        The signed magnetisation, in units of M0.

    References
    ----------
    P. Kellman, A. E. Arai, J Magn Reson Imaging 2012; 36:529.
    """
    return proton_density * (1 - 2 * math.exp(-inversion_time / t1) + math.exp(-repetition_time / t1))


def t2_prepared_signal(
    proton_density: float, t1: float, t2: float, *, preparation_time: float, repetition_time: float
) -> float:
    """Return the magnetisation that is read out after a T2 preparation.

    It is M0 (1 - exp(-TR / T1)) exp(-TE / T2), as in a spin echo. Unlike in a black-blood spin echo the blood keeps
    its signal.

    Parameters
    ----------
    proton_density : float
        M0.
    t1, t2 : float
        Relaxation times in ms.
    preparation_time : float
        TE, the length of the preparation, in ms.
    repetition_time : float
        TR, the time between preparations, in ms.

    Returns
    -------
    float
        The magnetisation, in units of M0.

    References
    ----------
    P. Kellman et al., Magn Reson Med 2007; 57:891.
    """
    return proton_density * (1 - math.exp(-repetition_time / t1)) * math.exp(-preparation_time / t2)


def null_time(t1: float, repetition_time: float) -> float:
    """Return the inversion time at which the `inversion_recovery_signal` of a tissue vanishes.

    Parameters
    ----------
    t1 : float
        Relaxation time of the tissue in ms.
    repetition_time : float
        Time between inversions in ms.

    Returns
    -------
    float
        Inversion time in ms.
    """
    return t1 * math.log(2 / (1 + math.exp(-repetition_time / t1)))


def draw_bssfp_signals(rng: np.random.Generator) -> dict[str, float]:
    """Draw a bSSFP protocol and a patient's tissues.

    Parameters
    ----------
    rng : Generator
        Source of the draws.

    Returns
    -------
    dict of str to float
        The signal of each tissue, over that of blood.
    """
    sequence = {
        "flip_angle": rng.uniform(50, 70),
        "repetition_time": rng.uniform(2.7, 3.3),
        "echo_time": rng.uniform(1.3, 1.6),
    }
    signals = {
        name: bssfp_signal(t.proton_density, t.t1 * rng.normal(1, 0.04), t.t2 * rng.normal(1, 0.08), **sequence)
        for name, t in TISSUES.items()
    }
    # The phase between fat and water depends on the repetition time and the centre frequency: where they are opposed,
    # their borders are dark.
    signals["fat"] *= rng.choice((-1, 1))
    return {name: signal / signals["blood"] for name, signal in signals.items()}


def draw_late_enhancement_signals(rng: np.random.Generator, slices: int) -> list[dict[str, float]]:
    """Draw an LGE protocol and a patient's tissues. The inversion time drifts from slice to slice.

    Parameters
    ----------
    rng : Generator
        Source of the draws.
    slices : int
        Number of slices.

    Returns
    -------
    list of dict of str to float
        For each slice the signal of each tissue, over that of blood at the inversion time without drift.
    """
    repetition_time = rng.uniform(1500, 2200)
    t1 = {name: tissue.t1_post_contrast * rng.normal(1, 0.05) for name, tissue in TISSUES.items()}
    t1["scar"] = t1["blood"] * rng.uniform(0.45, 0.8)
    t1["obstruction"] = t1["myocardium"] * rng.uniform(0.95, 1.15)
    t1["right blood"] = t1["blood"] * rng.normal(1.05, 0.05)
    inversion_time = null_time(t1["myocardium"], repetition_time) * rng.uniform(1.02, 1.54)

    def at(time: float) -> dict[str, float]:
        return {
            name: inversion_recovery_signal(
                tissue.proton_density, t1[name], inversion_time=time, repetition_time=repetition_time
            )
            for name, tissue in TISSUES.items()
        }

    blood = at(inversion_time)["blood"]
    times = inversion_time * rng.normal(1, 0.02, slices)
    return [{name: signal / blood for name, signal in at(time).items()} for time in times]


def draw_t2_prepared_signals(rng: np.random.Generator) -> dict[str, float]:
    """Draw a T2-prepared protocol and a patient's tissues, see `draw_bssfp_signals`.

    Parameters
    ----------
    rng : Generator
        What the draws come from.

    Returns
    -------
    dict of str to float
        Signals of the tissues relative to blood, by name.
    """
    sequence = {"preparation_time": rng.uniform(45, 60), "repetition_time": rng.uniform(1500, 2800)}
    t2 = {name: tissue.t2 * rng.normal(1, 0.08) for name, tissue in TISSUES.items()}
    # Oedema, where the scar is and around it: a third above the healthy myocardium (Giri et al., J Cardiovasc Magn
    # Reson 2009; 11:56), less as it heals.
    t2["scar"] = t2["obstruction"] = t2["myocardium"] * rng.uniform(1.15, 1.5)
    signals = {
        name: t2_prepared_signal(tissue.proton_density, tissue.t1 * rng.normal(1, 0.04), t2[name], **sequence)
        for name, tissue in TISSUES.items()
    }
    signals["fat"] *= rng.uniform(0.1, 0.4)  # saturated
    return {name: signal / signals["blood"] for name, signal in signals.items()}
