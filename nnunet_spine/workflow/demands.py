"""What a step needs of a machine: CPUs, GPUs, memory and time, each with the reason.

Memory of a training comes from its plans, time from epochs that were trained before with the same plans, else from the
size of a step. Before there are plans, an assumption is stated. What the study file asks for goes before all of it.
"""

from __future__ import annotations

import math
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nnunet_spine.cases import read_splits
from nnunet_spine.files import read_json
from nnunet_spine.nnunet.environment import CONFIGURATION, allocated_cpus, is_trusted
from nnunet_spine.nnunet.grid import DEFAULT_MEMORY_GIB
from nnunet_spine.nnunet.plans_check import check_configuration, read_plans
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.training.epoch_log import read_epochs
from nnunet_spine.workflow.step_commands import fold_folder
from nnunet_spine.workflow.study_settings import NNUNET_PLANS, AskedResources, StudySettings
from nnunet_spine.workflow.study_steps import Step, read_record, steps_of

GIB = 2**30
MIB = 2**20

PROCESS_GIB = 2.0
"""Python with torch and nnU-Net, and the worker that writes predictions, rounded up.

Measured on Linux as the largest sum of proportional set sizes: 2.17 GiB for a training of the documented network whose
step is 0.28 GiB by `training_bytes`.
"""

MARGIN = 1.3
"""What is asked for over what is derived: allocators keep freed blocks."""

WORKER_GIB = 1.0
"""A worker process that holds a case of a usual size with its copies."""

BYTES_PER_VOXEL = 60
"""Copies of one case while it is preprocessed or judged: image in two precisions, field, masks, distances."""

SECONDS_PER_GIB = {"cpu": 12.0, "gpu": 0.4}
"""A training step by its memory: CPU per thread, measured on two cores of a server; GPU a cautious guess."""

OTHER_CPUS = 4
"""Of a step that works through cases."""

MINUTES_PER_CASE = 4.0
"""Of such a step on one CPU, cautious."""

NNUNET_EPOCHS = 1000

LARGEST_FACT = 2**50
MOST_MINUTES = 10**7


@dataclass(frozen=True)
class Demand:
    """What one step needs.

    Parameters
    ----------
    cpus, gpus
        How many.
    memory_mb, minutes
        Memory in MiB, which SLURM and Snakemake call MB; time.
    reason
        Where the figures come from, in one line.
    partition
        SLURM's partition, or None.
    assumed
        Whether the memory is an assumption, since there are no plans yet.
    """

    cpus: int
    gpus: int
    memory_mb: int
    minutes: int
    reason: str
    partition: str | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Machine:
    """What one machine has.

    Parameters
    ----------
    cpus, memory_mb, gpus
        CPUs that this process may use, memory in MiB, GPUs.
    """

    cpus: int
    memory_mb: int
    gpus: int = 0


def demand_of(step: Step, study: StudySettings, machine: Machine | None = None) -> Demand:
    """What a step needs, from the study file, its plans, and what was trained before.

    Parameters
    ----------
    step, study
        The step.
    machine
        Where it is to run; then it asks for no more CPUs, and assumes no more memory, than there are.
    """
    asked = study.resources.get(step.kind, AskedResources())
    training = step.kind == "train"
    cpus = asked.cpus or (study.threads if training else 1 if step.kind == "compare" else OTHER_CPUS)
    cpus = min(cpus, machine.cpus) if machine else cpus
    gpus = asked.gpus if asked.gpus is not None else _gpus(study, machine) if training else 0
    facts = _facts(step, study)
    memory_gib, memory_reason = _memory(step, facts, cpus, gpus)
    minutes, time_reason = _minutes(step, study, facts, cpus, gpus)
    if asked.memory_gib is not None:
        memory_gib, memory_reason = asked.memory_gib, "by the study file"
    if asked.hours is not None:
        minutes, time_reason = asked.hours * 60, "by the study file"
    memory_mb = math.ceil(memory_gib * GIB / MIB)
    assumed = asked.memory_gib is None and facts is None and step.kind != "compare"
    return Demand(
        cpus,
        gpus,
        min(memory_mb, machine.memory_mb) if machine and assumed else memory_mb,
        max(1, min(math.ceil(minutes), MOST_MINUTES)),
        f"memory {memory_reason}; time {time_reason}",
        asked.partition or study.slurm.partition,
        assumed,
    )


def _gpus(study: StudySettings, machine: Machine | None) -> int:
    """One where the device is a GPU; `auto` takes it on a machine that has one, and asks a scheduler for none."""
    return 1 if study.device == "cuda" or (study.device == "auto" and machine is not None and machine.gpus > 0) else 0


def this_machine() -> Machine:
    """CPUs, memory and GPUs that this process may use; memory is the machine's, capped by a cgroup's limit."""
    import psutil

    total = int(psutil.virtual_memory().total)
    for limit in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            total = min(total, int(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return Machine(allocated_cpus(), total // MIB, gpus_here())


@cache
def gpus_here() -> int:
    """GPUs of this machine by nvidia-smi; 0 where it is absent."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines()) if done.returncode == 0 else 0


def _facts(step: Step, study: StudySettings) -> dict[str, Any] | None:
    """What the planning step wrote about its plans, or None before it."""
    plans = step.plans or next(iter(study.plans))
    record = read_record(study.output / "steps" / "plan" / f"{plans.name}.json")
    facts = record.get("facts") if record else None
    return facts if isinstance(facts, dict) and _is_sound(facts) else None


def _is_sound(facts: dict[str, Any]) -> bool:
    """Whether facts are as `plan_facts` gives them; somebody may have changed the file."""
    grid = facts.get("grid")
    numbers = [facts.get(key) for key in ("batch_size", "training_bytes", "cases", "iterations", "largest_voxels")]
    return isinstance(grid, list) and all(
        isinstance(number, int) and 0 < number < LARGEST_FACT for number in (*grid, *numbers)
    )


def _memory(step: Step, facts: dict[str, Any] | None, cpus: int, gpus: int) -> tuple[float, str]:
    if step.kind != "train":
        return _memory_of_cases(step, facts, cpus)
    if gpus:
        return (
            PROCESS_GIB * 2 + WORKER_GIB * (cpus + 1),
            f"of the host: {PROCESS_GIB * 2:g} GiB, {WORKER_GIB:g} GiB for prediction and for each of {cpus} workers",
        )
    if facts is None:
        target = (step.plans.memory_gib if step.plans else None) or DEFAULT_MEMORY_GIB
        return PROCESS_GIB + MARGIN * target, f"assumed before planning: the planner's target of {target:g} GiB"
    step_gib = facts["training_bytes"] / GIB
    grid = "x".join(map(str, facts["grid"]))
    reason = f"{step_gib:.1f} GiB for a step of {facts['batch_size']} x {grid}, a margin of 30 % and {PROCESS_GIB} GiB"
    return PROCESS_GIB + MARGIN * step_gib, reason


def _memory_of_cases(step: Step, facts: dict[str, Any] | None, cpus: int) -> tuple[float, str]:
    if step.kind == "compare":
        return PROCESS_GIB, f"{PROCESS_GIB} GiB: tables only"
    if facts is None:
        return PROCESS_GIB + WORKER_GIB * cpus, f"assumed before planning: {WORKER_GIB:g} GiB for each of {cpus} CPUs"
    case_gib = max(0.25, facts["largest_voxels"] * BYTES_PER_VOXEL / GIB)
    # A worker of the preprocessing is a process with torch of its own.
    worker = case_gib + (0.5 if step.kind == "preprocess" else 0.0)
    return PROCESS_GIB + worker * cpus, f"{worker:.2f} GiB for each of {cpus} CPUs, by the largest case"


def _minutes(step: Step, study: StudySettings, facts: dict[str, Any] | None, cpus: int, gpus: int) -> tuple[float, str]:
    if step.kind == "train":
        return _minutes_of_training(step, study, facts, cpus, gpus)
    if step.kind == "compare":
        return 60, "an hour"
    cases = facts["cases"] if facts else None
    if cases is None:
        return 240, "assumed before planning: four hours"
    return (
        30 + cases * MINUTES_PER_CASE / cpus,
        f"{MINUTES_PER_CASE:g} min for each of {cases} cases on {cpus} CPU{'s' if cpus > 1 else ''}",
    )


def _minutes_of_training(
    step: Step, study: StudySettings, facts: dict[str, Any] | None, cpus: int, gpus: int
) -> tuple[float, str]:
    by_nnunet = step.plans is not None and step.plans.name == NNUNET_PLANS
    epochs = (step.model.epochs if step.model else None) or (NNUNET_EPOCHS if by_nnunet else PROTOCOL.epochs)
    seconds = _measured_seconds(step, study)
    if seconds is not None:
        return 30 + 1.5 * epochs * seconds / 60, f"{epochs} epochs of {seconds:.1f} s as measured, and a half more"
    if facts is None:
        return 24 * 60, "assumed before planning: a day; a longer training goes on in another allocation"
    per_gib = SECONDS_PER_GIB["gpu"] if gpus else SECONDS_PER_GIB["cpu"] / cpus
    second = facts["training_bytes"] / GIB * per_gib * facts["iterations"]
    reason = f"{epochs} epochs of {facts['iterations']} steps, about {second:.0f} s each by their size"
    return 30 + 1.5 * epochs * second / 60, reason


def _measured_seconds(step: Step, study: StudySettings) -> float | None:
    """Median seconds of the last epochs of this training, or of another with the same trainer and plans."""
    if step.model is None:
        return None
    alike = [m for m in study.models if (m.trainer, m.plans) == (step.model.trainer, step.model.plans)]
    steps = [other for other in steps_of(study).values() if other.kind == "train" and other.model in alike]
    for other in sorted(steps, key=lambda other: other.name != step.name):
        epochs = read_epochs(fold_folder(other, study), last=10)
        seconds = float(statistics.median(epoch.seconds for epoch in epochs)) if epochs else 0.0
        if 0 < seconds < MOST_MINUTES:
            return seconds
    return None


def plan_facts(step: Step, study: StudySettings) -> dict[str, Any]:
    """What plans say about memory and time; to be called once they are made. Imports torch.

    Parameters
    ----------
    step
        The planning step.
    study
        Its study.
    """
    from nnunet_spine.networks.memory import training_bytes

    plans = step.plans or study.plans[0]
    folder = study.workspace().preprocessed / study.dataset_name()
    plans_file = folder / f"{plans.name}.json"
    content = read_plans(plans_file, trusted=is_trusted())
    configuration = check_configuration(content, CONFIGURATION, str(plans_file), trusted=is_trusted())
    grid, batch = list(configuration["patch_size"]), int(configuration["batch_size"])
    folds = read_splits(folder / "splits_final.json")
    cases = {case for fold in folds for case in (*fold.train, *fold.test)}
    fewest = min(len(fold.train) for fold in folds)
    shapes = [math.prod(shape) for shape in read_json(folder / "dataset_fingerprint.json")["shapes_after_crop"]]
    return {
        "grid": grid,
        "batch_size": batch,
        "training_bytes": nnunet_bytes(configuration) if plans.by_nnunet else training_bytes(grid, batch),
        "cases": len(cases),
        "iterations": 250 if plans.by_nnunet else math.ceil(fewest / batch),
        "largest_voxels": max(shapes),
    }


def nnunet_bytes(configuration: dict[str, Any]) -> int:
    """Estimate the memory of one training step of nnU-Net's own network, in bytes of float32.

    Each convolution's output is kept and has a gradient; instance norm and activation keep one more each.
    """
    arguments = configuration["architecture"]["arch_kwargs"]
    features: Sequence[int] = arguments["features_per_stage"]
    encoder = arguments.get("n_conv_per_stage") or [2 * n for n in arguments["n_blocks_per_stage"]]
    decoder = [*arguments["n_conv_per_stage_decoder"], 0]
    shape = [float(size) for size in configuration["patch_size"]]
    values = 0.0
    for count, stride, down, up in zip(features, arguments["strides"], encoder, decoder, strict=True):
        shape = [size / step for size, step in zip(shape, stride, strict=True)]
        # A decoder's stage begins with the transposed convolution and the joined skip: three more such volumes.
        values += math.prod(shape) * count * 2 * (down + up + (3 if up else 0))
    return int(values * configuration["batch_size"] * 2 * 4)
