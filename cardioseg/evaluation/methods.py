"""The methods that a run compares: their names, titles and order, for the rules, the tables and the figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Method:
    """A way to segment a target image.

    Parameters
    ----------
    name : str
        The folder below `results/masks`, and the method's name in every table.
    title : str
        What a reader is shown.
    per_seed : bool
        Whether there is a mask for each seed of the ensemble, in subfolders `seed1`, ...
    source_labels : str or None
        Which labels of the patient's own source image the method uses for the mask: `manual` ones, which only some
        patients have, or those `predicted` by the networks, for which the image is enough. This says nothing about the
        training of the networks, see `note`.
    part : bool
        Whether the method is a part of another one, or adds to one what is beyond the paper. Table 1 has it at its end,
        and the figures leave it out.
    refines : str or None
        The method that this one adds a single step to; their difference is tested.
    final : bool
        Whether the method is the result of the run, which the saved ensemble repeats. Exactly one method is.
    section : str or None
        The section of the configuration that leaves the method out where it is null, or does not name its
        `source_labels`.
    fused : bool or None
        What `fused` must be in the section, where the method depends on it.
    member : bool
        Whether the ensemble may consist of the method's cascades. It consists of those of the last such method.
    note : str or None
        What a reader of the tables must know about the method.
    """

    name: str
    title: str
    per_seed: bool = False
    source_labels: str | None = None
    part: bool = False
    refines: str | None = None
    final: bool = False
    section: str | None = None
    fused: bool | None = None
    member: bool = False
    note: str | None = None

    def folders(self, seeds: Sequence[int]) -> list[str]:
        """Return the folders of the method's masks below `results/masks`, one a seed where there is one for each.

        Parameters
        ----------
        seeds : sequence of int
            The seeds of the ensemble.

        Returns
        -------
        list of str
            The folders.
        """
        return [f"{self.name}/seed{seed}" for seed in seeds] if self.per_seed else [self.name]


SELF_TRAINING = (
    "these cascades, and therefore the ensemble, were also trained on the target images that the translation sees, "
    "some of which may be in this table"
)
# From the simplest method to the final one, then the methods that go beyond it. Table 1 moves the parts to its end.
METHODS = (
    Method("registration_none", "Registration: none", source_labels="manual", part=True),
    Method(
        "registration_rigid",
        "Registration: rigid",
        source_labels="manual",
        part=True,
        refines="registration_none",
    ),
    Method(
        "registration_affine",
        "Registration: rigid, affine",
        source_labels="manual",
        part=True,
        refines="registration_rigid",
    ),
    Method("registration", "Registration", source_labels="manual", refines="registration_affine"),
    Method("unet", "U-Net", per_seed=True),
    Method("unet_ft", "U-Net (FT)", per_seed=True),
    Method("cascade_ft", "Cascaded U-Net (FT)", per_seed=True, member=True),
    Method("cascade_ft_crf", "Cascaded U-Net (FT) + CRF", per_seed=True, part=True, refines="cascade_ft"),
    Method("cascade_ft_morphology", "Cascaded U-Net (FT) + morphology", per_seed=True, part=True, refines="cascade_ft"),
    Method("cascade_ft_pp", "Cascaded U-Net (FT) + PP", per_seed=True),
    Method(
        "cascade_st",
        "Cascaded U-Net (FT) + self-training",
        per_seed=True,
        part=True,
        refines="cascade_ft",
        section="self_training",
        fused=False,
        member=True,
        note=f"Self-training: {SELF_TRAINING}. None of their labels were used.",
    ),
    Method(
        "cascade_st_fused",
        "Cascaded U-Net (FT) + self-training with source labels of target patients",
        per_seed=True,
        part=True,
        refines="cascade_ft",
        section="self_training",
        fused=True,
        member=True,
        note=f"Self-training with source labels of target patients: {SELF_TRAINING}. For labelled patients the manual "
        "labels of their source images, registered to the target images, were used as well.",
    ),
    Method("ensemble", "Ensemble", part=True),
    Method("ensemble_pp", "Ensemble + PP", refines="ensemble", final=True),
    Method(
        "fusion_pp",
        "Ensemble + own source labels + PP",
        source_labels="manual",
        part=True,
        refines="ensemble_pp",
        section="fusion",
    ),
    Method(
        "fusion_own_pp",
        "Ensemble + own source image + PP",
        source_labels="predicted",
        part=True,
        refines="ensemble_pp",
        section="fusion",
    ),
)


def chosen(configuration: Mapping[str, Any]) -> list[Method]:
    """Return those of `METHODS` that a configuration asks for.

    Parameters
    ----------
    configuration : mapping
        The whole configuration.

    Returns
    -------
    list of Method
        The methods, in the order of `METHODS`.
    """
    return [method for method in METHODS if method.section is None or _is_on(method, configuration[method.section])]


def member(among: Sequence[Method]) -> Method:
    """Return the method whose cascades the ensemble is made of.

    Parameters
    ----------
    among : sequence of Method
        The methods of a run.

    Returns
    -------
    Method
        The last of them whose cascades may be members.
    """
    return [method for method in among if method.member][-1]


def _is_on(method: Method, section: Mapping[str, Any] | None) -> bool:
    return (
        section is not None
        and method.source_labels in section.get("labels", [None])
        and method.fused in (None, section.get("fused"))
    )


def titles() -> dict[str, str]:
    """Return the title of every method by its name, in the order of `METHODS`.

    Returns
    -------
    dict of str to str
        Titles by name.
    """
    return {method.name: method.title for method in METHODS}


def reported() -> dict[str, str]:
    """Return the titles of the methods that are no part or extension of another, by name.

    Returns
    -------
    dict of str to str
        Titles by name.
    """
    return {method.name: method.title for method in METHODS if not method.part}


def parts() -> dict[str, str]:
    """Return the titles of the methods that are a part or an extension of another, by name.

    Returns
    -------
    dict of str to str
        Titles by name.
    """
    return {method.name: method.title for method in METHODS if method.part}


def refinements() -> list[tuple[str, str]]:
    """Return the pairs of a method and the one that it refines.

    Returns
    -------
    list of (str, str)
        The name of the method, and of the one that it refines.
    """
    return [(method.name, method.refines) for method in METHODS if method.refines]


def of_folder(folder: str) -> tuple[str, str]:
    """Return the name of the method whose masks a folder holds, and their seed, "" where there is none.

    Parameters
    ----------
    folder : str
        A folder below `results/masks`, as from `Method.folders`.

    Returns
    -------
    name : str
        The method's name.
    seed : str
        The seed.
    """
    name, _, seed = folder.partition("/seed")
    return name, seed


def final() -> Method:
    """Return the method that is the result of a run.

    Returns
    -------
    Method
        The method whose masks a reader should look at first.
    """
    (method,) = (method for method in METHODS if method.final)
    return method
