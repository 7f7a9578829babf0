"""Fingerprint and plans of a data set, and what they mean for its cases."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, WorkFailed
from nnunet_spine.files import check_output, write_csv
from nnunet_spine.images import read_volume
from nnunet_spine.locks import sole_writer_in
from nnunet_spine.nnunet.case_measures import WORKER_IMPORTS, ResizeCeiling, measure_cases
from nnunet_spine.nnunet.environment import CONFIGURATION, PLANS_NAME, Workspace, allocated_cpus
from nnunet_spine.nnunet.field_advice import CaseField, FieldAdvice, advise
from nnunet_spine.nnunet.fold_check import check_folds
from nnunet_spine.nnunet.grid import DEFAULT_MEMORY_GIB
from nnunet_spine.nnunet.orientation import ORIENTATION_KEY, survey
from nnunet_spine.nnunet.plans_check import read_dataset_json
from nnunet_spine.nnunet.raw_cases import ENDING, raw_cases
from nnunet_spine.nnunet.runtime import quiet
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import prepare_processes

PLAIN_NNUNET_PLANS = "nnUNetPlans"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A plans file and what it means for the references.

    Parameters
    ----------
    plans_file
        Where the plans are.
    plans
        Their content.
    ceiling, bias_fields
        For each training case, in order of its identifier.
    advice
        What the fields come to.
    """

    plans_file: Path
    plans: dict[str, Any]
    ceiling: tuple[ResizeCeiling, ...]
    bias_fields: tuple[CaseField, ...]
    advice: FieldAdvice


def plan_dataset(
    dataset: str,
    workspace: Workspace,
    *,
    memory_gib: float = DEFAULT_MEMORY_GIB,
    settings: IntensitySettings | None = None,
    plans_name: str = PLANS_NAME,
    progress: Progress = silent,
) -> Planned:
    """Extract nnU-Net's fingerprint, derive the plans, and measure the ceiling of the resize and the bias fields.

    Parameters
    ----------
    dataset
        Number or full name of the data set.
    workspace
        nnU-Net's folders.
    memory_gib
        Memory that training may take, in GiB.
    settings
        Intensity settings; by default the protocol's.
    plans_name
        Name of the plans file, without suffix.
    progress
        Told of each case measured.

    Raises
    ------
    BadInput, NotFound, NotWritable
        Where the data set is absent or incomplete, its folds are not those of its cases, the memory is not above 0, or
        the name is nnU-Net's own.
    WorkFailed
        Where nnU-Net cannot read an image, or no grid fits the memory.
    """
    _check(memory_gib, plans_name)
    name = workspace.dataset_name(dataset)
    raw = workspace.raw / name
    if not (raw / "dataset.json").is_file():
        raise NotFound(
            f"There is no file {raw / 'dataset.json'}: {name} is no raw data set. Make it with `nnunet-spine convert`."
        )
    dataset_json = read_dataset_json(raw / "dataset.json")
    if (ending := dataset_json["file_ending"]) != ENDING:
        raise BadInput(
            f"{raw / 'dataset.json'} has `file_ending` {ending}; this package plans and preprocesses {ENDING}. Convert "
            "the data set with `nnunet-spine convert`."
        )
    images = [image for image, _ in raw_cases(raw).values()]
    folder = workspace.preprocessed / name
    with sole_writer_in(folder):
        for written in ("dataset_fingerprint.json", "dataset.json"):  # by nnU-Net, which would follow a link
            check_output(folder / written)
        check_folds(raw, folder)
        found = survey(images, str(dataset_json.get("overwrite_image_reader_writer")))
        if found.warning:
            logger.warning(found.warning)
        workspace.apply()
        prepare_processes(*WORKER_IMPORTS)  # they get ready while nnU-Net looks at the images
        _extract_fingerprint(name, raw, found.orientation.axes)

        from nnunet_spine.nnunet.planner import FIELDS_KEY, SpinePlanner

        with quiet():
            planner = SpinePlanner(name, memory_gib, plans_name=plans_name, settings=settings, turned=True)
            plans = planner.derive_plans()
        grid, axes = plans["configurations"][CONFIGURATION]["patch_size"], plans[ORIENTATION_KEY]["axes"]
        measures = measure_cases(raw, grid, planner.settings, axes, progress)
        ceiling, bias_fields = tuple(m.ceiling for m in measures), tuple(m.field for m in measures)
        _write_rows(folder / f"{plans_name}_resize_ceiling.csv", ResizeCeiling, ceiling)
        _write_rows(folder / f"{plans_name}_bias_fields.csv", CaseField, bias_fields)
        advice = advise(bias_fields)
        plans[FIELDS_KEY] = advice.as_json(planner.settings.bias_method)
        planner.write_plans()
    return Planned(folder / f"{plans_name}.json", plans, ceiling, bias_fields, advice)


def _check(memory_gib: float, plans_name: str) -> None:
    if not 0 < memory_gib < math.inf:
        raise BadInput(f"The memory to plan for is {memory_gib} GiB; expected a number above 0.")
    if plans_name == PLAIN_NNUNET_PLANS or not plans_name.isidentifier():
        raise BadInput(
            f"The plans cannot be named {plans_name[:60]!r}: take letters, digits and _, not nnU-Net's own name."
        )


def _extract_fingerprint(dataset_name: str, raw: Path, axes: str | None) -> None:
    """Let nnU-Net make its fingerprint of images that are read as in preprocessing, turned to `axes`."""
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor

    from nnunet_spine.nnunet.image_io import SpineImageIO
    from nnunet_spine.nnunet.registration import list_with_threads

    list_with_threads()
    find_reader = fingerprint_extractor.determine_reader_writer_from_dataset_json
    with quiet():
        extractor = fingerprint_extractor.DatasetFingerprintExtractor(dataset_name, allocated_cpus())
        extractor.show_progress_bar = False
        try:
            fingerprint_extractor.determine_reader_writer_from_dataset_json = lambda *_, **__: partial(
                SpineImageIO, axes
            )
            extractor.run(overwrite_existing=True)
        except (NnunetSpineError, MemoryError):
            raise
        except Exception as error:
            raise WorkFailed(f"nnU-Net cannot make the fingerprint of {raw}: {_reason(error, raw)}") from error
        finally:
            fingerprint_extractor.determine_reader_writer_from_dataset_json = find_reader


def _reason(error: Exception, raw: Path) -> str:
    """Why nnU-Net cannot make a fingerprint; it does not say that no reference marks anything."""
    if not any(read_volume(label).array.any() for _, label in raw_cases(raw).values()):
        return f"there is no voxel of any label in {raw / 'labelsTr'}. Convert the references again"
    return " ".join(str(error).split()) or "it gives no reason"


def _write_rows(path: Path, kind: type[ResizeCeiling | CaseField], rows: Sequence[ResizeCeiling | CaseField]) -> None:
    write_csv(path, [field.name for field in fields(kind)], [asdict(row) for row in rows])
