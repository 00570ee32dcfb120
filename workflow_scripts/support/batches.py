"""Jobs that do several patients each, in place of one job a patient.

A rule is written for one patient. For a cohort of many, `make` has each of its jobs do the patients of a batch: the job
reads and makes the files of all of them, and its wildcard `patient` is the batch's name, such as 6..9. Scripts go
through them with `support.patients.each_patient`.

Snakemake has no such rules. One written for each batch would do for the graph, but not for the records: these would
hold the inputs and parameters of the whole batch for each of its files, so that another patient in it would repeat all
others, and the trainings after them. So three of Snakemake's own classes are extended: `Rule`, by how a job of a batch
is expanded; `FilePersistence`, which then records each file as its patient's alone; and `OutputIndex`, which else
searches for the rule of every file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import snakemake.api  # first, as its modules import each other
from snakemake.io import apply_wildcards, get_flag_value
from snakemake.iocontainers import InputFiles, OutputFiles, Params, ResourceList, Wildcards
from snakemake.output_index import OutputIndex
from snakemake.persistence.file import FilePersistence
from snakemake.rules import Rule

from cardioseg.core.errors import InputError

SNAKEMAKE = "9.27.1"  # whose inner workings this relies on
Names = Mapping[str, str]  # wildcards of a rule
Key = frozenset[tuple[str, str]]
MADE_BY: dict[str, Rule] = {}  # the rule of each file of a batch


def blocks(patients: Sequence[str], number: int) -> dict[str, int]:
    """The block of each patient, of so many blocks at most. The batches of successive steps follow the same blocks."""
    size = -(-len(patients) // number)
    return {patient: index // size for index, patient in enumerate(patients)}


def make(rule: Rule, members: Iterable[Names], key: Callable[[Names], Any]) -> None:
    """Let a job of the rule do all members of the same key. members: the wildcards of the rule for each patient."""
    if snakemake.__version__ != SNAKEMAKE:
        raise InputError(
            f"compute.jobs_per_step: jobs for several patients need Snakemake {SNAKEMAKE}, and this is "
            f"{snakemake.__version__}. Install that version, or set the key to the number of patients or more."
        )
    if not isinstance(rule, BatchedRule):
        rule.__class__ = BatchedRule
        rule.begin()
        # On a cluster a batch is a group of its own, however many patients a profile groups.
        rule.group = rule._group and f"{rule._group}_in_batches"
    for _, batch in groupby(sorted(members, key=key), key):
        rule.gather(list(batch))
    # Snakemake makes both after it has read the rules.
    snakemake.workflow.FilePersistence = RecordsOfPatients
    snakemake.dag.OutputIndex = KnownFiles


class Part:
    """What a job does for one patient; to Snakemake's records like a job."""

    def __init__(self, rule: "BatchedRule", wildcards: Names) -> None:
        self.rule, self.wildcards = rule, wildcards
        self.input, self.origins, self.depends, self.incomplete = Rule.expand_input(rule, wildcards)
        self.output, self.patterns = rule.outputs(wildcards)
        for path in self.output:
            if shown := get_flag_value(path, "report"):
                labels = {name: apply_wildcards(text, wildcards) for name, text in (shown.labels or {}).items()}
                path.flags["report"] = shown._replace(labels=labels or None)
        self.job: Any = None

    @cached_property
    def _params(self) -> tuple[Params, list[Any]]:
        return Rule.expand_params(self.rule, self.wildcards, self.input, self.output, self.job)

    @property
    def non_derived_params(self) -> list[Any]:
        return self._params[1]

    def told(self) -> dict[str, Any]:
        """What the script is told of this patient."""
        return {
            "wildcards": Wildcards(fromdict=self.wildcards),
            "input": self.input._plainstrings(),
            "output": self.output._plainstrings(),
            "params": self._params[0],
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job, name)


class BatchedRule(Rule):  # type: ignore[misc]
    """A rule whose jobs do the patients of a batch; where a patient is in none, one job does that patient."""

    def begin(self) -> None:
        self._members: dict[Key, Sequence[Names]] = {}
        self._outputs: dict[Key, tuple[OutputFiles, dict]] = {}
        self._parts: dict[Key, list[Part]] = {}
        self._job_of: dict[str, Names] = {}  # by file

    def gather(self, members: Sequence[Names]) -> None:
        """Let a job do these members; of several it is named by the first and the last patient."""
        name = members[0]
        if len(members) > 1:
            name = {**name, "patient": f"{members[0]['patient']}..{members[-1]['patient']}"}
            self._members[_key(name)] = members
        for member in members:
            output, _ = self._outputs[_key(member)] = super().expand_output(member)
            for path in output:
                self._job_of[str(path)] = name
                MADE_BY[str(path)] = self

    def outputs(self, member: Names) -> tuple[OutputFiles, dict]:
        return self._outputs[_key(member)]

    def parts(self, wildcards: Names, job: Any = None) -> list[Part]:
        """What a job does patient by patient; nothing of a job that does one patient."""
        key = _key(wildcards)
        if key not in self._parts:
            self._parts[key] = [Part(self, member) for member in self._members.get(key, [])]
        for part in self._parts[key]:
            part.job = job or part.job
        return self._parts[key]

    def get_wildcards(self, requested_output: str | None, wildcards_dict: Names | None = None) -> Names:
        return self._job_of.get(str(requested_output)) or super().get_wildcards(requested_output, wildcards_dict)

    def expand_input(self, wildcards: Names, groupid: str | None = None) -> tuple[InputFiles, dict, dict, bool]:
        parts = self.parts(wildcards)
        if not parts:
            return super().expand_input(wildcards, groupid)
        return (
            InputFiles(dict.fromkeys(path for part in parts for path in part.input)),
            {path: pattern for part in parts for path, pattern in part.origins.items()},
            {path: rule for part in parts for path, rule in part.depends.items()},
            any(part.incomplete for part in parts),
        )

    def expand_output(self, wildcards: Names) -> tuple[OutputFiles, dict]:
        parts = self.parts(wildcards)
        if not parts:
            return super().expand_output(wildcards)
        patterns = {path: pattern for part in parts for path, pattern in part.patterns.items()}
        return OutputFiles(patterns), patterns

    def expand_params(
        self, wildcards: Names, input: Any, output: Any, job: Any, omit_callable: bool = False
    ) -> tuple[Params, list[Any]]:
        parts = self.parts(wildcards, job)
        if not parts:
            return super().expand_params(wildcards, input, output, job, omit_callable)
        return Params(fromdict={"patients": [part.told() for part in parts]}), []

    def expand_resources(self, wildcards: Names, input: Any, attempt: int, skip_evaluation: Any = None) -> ResourceList:
        """Those of one patient's job, and a minute a patient at least: they are done one after another."""
        found = super().expand_resources(wildcards, input, attempt, skip_evaluation)
        if isinstance(minutes := found.get("runtime"), int):
            least = len(self.parts(wildcards)) * attempt
            return ResourceList(fromdict=dict(found.items()) | {"runtime": max(minutes, least)})
        return found


class KnownFiles(OutputIndex):  # type: ignore[misc]
    """Which rule makes a file, without a search where it is known."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = set(rules)
        super().__init__(self._rules)

    def match_producers(self, targetfile: str) -> set[Rule]:
        known = MADE_BY.get(str(targetfile))
        return {known} if known in self._rules else super().match_producers(targetfile)


class RecordsOfPatients(FilePersistence):  # type: ignore[misc]
    """Snakemake's records of what each file was made from: of a batch's file, that of its patient."""

    async def finished(self, job: Any) -> None:
        for part in _parts(job):
            await super().finished(part)

    def params_changed(self, job: Any, file: Any = None) -> Any:
        if file is not None:
            return super().params_changed(_part(job, file), file)
        parts = _parts(job)
        changes = FilePersistence.params_changed(self, parts[0])
        for part in parts[1:]:
            changes |= FilePersistence.params_changed(self, part)
        return changes

    def input_checksums(self, job: Any, input_path: Any) -> set[Any]:
        reading = [part for part in _parts(job) if input_path in part.input]
        return {checksum for part in reading for checksum in FilePersistence.input_checksums(self, part, input_path)}

    def _input_changed(self, job: Any, file: Any = None) -> bool:
        return super()._input_changed(_part(job, file), file)


def _key(wildcards: Names) -> Key:
    return frozenset(wildcards.items())


def _parts(job: Any) -> list[Any]:
    """A job by its patients; of a job that does one patient, or none, the job."""
    parts = job.rule.parts(job.wildcards_dict, job) if isinstance(job.rule, BatchedRule) else []
    return parts or [job]


def _part(job: Any, file: Any) -> Any:
    return next(part for part in _parts(job) if file in part.output)
