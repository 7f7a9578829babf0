"""Small sound sources of every kind, really written; the fuzz test damages copies of them.

Each holds two or three patients. Files of one of them lie in a folder `TARGET` and are what is damaged, where the kind
of source has folders; the others must then still be converted.
"""

from __future__ import annotations

import importlib.util
import random
import secrets
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

TARGET = "Zebulon_target"
WRITERS = Path(__file__).parents[1] / "unit" / "dataset_conversion"
SHAPE = (4, 10, 8)
TAGS = {
    "RepetitionTime": 600.0,
    "EchoTime": 10.0,
    "ContrastBolusAgent": "Gadovist",
    "InstitutionName": "Klinikum Quirkestadt",
    "SeriesDescription": "t1_sag_KM Quirke",
    "OperatorsName": "Operatrix^Q",
}


def _module(path: Path, name: str) -> ModuleType:
    """The writers of the other tests, which are fixtures there."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _repeatable(seed: int) -> None:
    """Draw UIDs from a seed, so that the same input has the same bytes in another run."""
    source = random.Random(seed)
    secrets.randbelow = source.randrange
    uuid.uuid4 = lambda: uuid.UUID(int=source.getrandbits(128), version=4)


def write_templates(folder: Path) -> list[str]:
    """Write all sources below `folder`; returns their names."""
    _repeatable(1)
    make = _module(WRITERS / "conftest.py", "source_writers")
    enhanced = _module(WRITERS / "sources" / "conftest.py", "enhanced_writers")
    kinds: dict[str, Callable[[Path, int], object]] = {
        "dicom_seg": lambda place, n: _segmented(make, place, n),
        "dicom_fractional": lambda place, n: _segmented(make, place, n, kind="FRACTIONAL"),
        "dicom_rtstruct": lambda place, n: _outlined(make, place, n),
        "dicom_compressed": lambda place, n: _segmented(
            make, place, n, syntax=(RLELossless, JPEGLSLossless, JPEG2000Lossless)[n % 3]
        ),
        "enhanced_rtstruct": lambda place, n: _enhanced(make, enhanced, place, n, segmented=False),
        "enhanced_seg": lambda place, n: _enhanced(make, enhanced, place, n, segmented=True),
    }
    for name, write in kinds.items():
        for number, patient in enumerate((TARGET, "Quirke_a", "Quirke_b")):
            write(folder / name / patient, number)
    for name, suffixes in (("list_nifti", (".nii", ".nii.gz")), ("list_itk", (".nrrd", ".mha"))):
        _listed_volumes(make, folder / name, suffixes)
    _listed_dicom(make, folder / "list_dicom")
    _bids(make, folder / "bids")
    return sorted(path.name for path in folder.iterdir())


def _plan(make: Any, number: int, shape: tuple[int, int, int] = SHAPE) -> Any:
    return make.SeriesPlan(
        make.asymmetric(shape, seed=number),
        patient=f"ZQ-7741{number}",
        study=f"1.2.3.77.{number + 1}",
        origin=(-8.0, float(number), 90.0),
        tags=dict(TAGS),
        rescale=(2.0, -7.0),
    )


def _segmented(make: Any, place: Path, number: int, *, kind: str = "BINARY", syntax: Any = None) -> None:
    shape = (4, 64, 40) if syntax else SHAPE  # JPEG 2000 takes no smaller ones
    datasets = make.datasets_of(_plan(make, number, shape))
    mask = make.blob(shape)
    make.write_segmentation(
        place / "SEG" / "IM0001",
        datasets,
        mask.astype(np.float64) if kind == "FRACTIONAL" else mask,
        kind=kind,
        **({"fractional_type": "PROBABILITY"} if kind == "FRACTIONAL" else {}),
    )
    for dataset in datasets if syntax else ():
        dataset.compress(syntax, generate_instance_uid=False)
    make.write_datasets(place / "SER5", datasets, seed=number)


def _outlined(make: Any, place: Path, number: int) -> None:
    plan = _plan(make, number)
    datasets = make.datasets_of(plan)
    contours = [make.outline(plan, k, (2, 5), (1, 4)) for k in (1, 2)]
    make.write_structure_set(place / "RT" / "IM0001", datasets, {"tumor": contours, "cord": contours[:1]})
    make.write_datasets(place / "SER5", datasets, seed=number)


def _enhanced(make: Any, enhanced: Any, place: Path, number: int, *, segmented: bool) -> None:
    plan = _plan(make, number)
    frames = [{"slice": k, "slope": 1.0 + k / 4, "intercept": float(k)} for k in range(SHAPE[0])]
    dataset = enhanced.enhanced_dataset(plan, frames=frames)
    if segmented:
        make.write_segmentation(place / "SEG" / "IM0001", [dataset], make.blob(SHAPE))
    else:
        contours = [make.outline(plan, k, (2, 5), (1, 4)) for k in (1, 2)]
        make.write_structure_set(place / "RT" / "IM0001", [dataset], {"tumor": contours})
    place.joinpath("SER5").mkdir(parents=True)
    dataset.save_as(place / "SER5" / "IM0001", enforce_file_format=True)


def _listed_volumes(make: Any, folder: Path, suffixes: tuple[str, str]) -> None:
    folder.mkdir(parents=True)
    rows = ["patient,image,reference,compartment,tumor_type,split,maker,field_strength,region"]
    for number in range(3):
        image, mask = (f"{kind}{number}{suffixes[number % 2]}" for kind in ("i", "r"))
        values = make.asymmetric(SHAPE, seed=number).astype(np.float32) + 0.5
        sitk.WriteImage(make.itk_image(values), str(folder / image), useCompression=number == 1)
        sitk.WriteImage(make.itk_image(make.blob(SHAPE)), str(folder / mask), useCompression=number == 1)
        rows.append(f"ZQ-7741{number},{image},{mask},extramedullary,meningioma,,Canon,1.5,lumbar")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")


def _listed_dicom(make: Any, folder: Path) -> None:
    rows = ["patient,image,reference"]
    for number, name in enumerate((TARGET, "Quirke_a", "Quirke_b")):
        _segmented(make, folder / name, number)
        rows.append(f"ZQ-7741{number},{name}/SER5,{name}/SEG/IM0001")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")


def _bids(make: Any, folder: Path) -> None:
    people = ["participant_id\tpathology\tlevel"]
    for number, name in enumerate(("Zebulon0", "Quirke1", "Quirke2")):
        anatomy = folder / f"sub-{name}" / "anat"
        labels = folder / "derivatives" / "manual" / f"sub-{name}" / "anat"
        anatomy.mkdir(parents=True)
        labels.mkdir(parents=True)
        image = make.itk_image(make.asymmetric(SHAPE, seed=number).astype(np.float32) + 0.5)
        sitk.WriteImage(image, str(anatomy / f"sub-{name}_acq-sag_ce-gd_T1w.nii.gz"))
        (anatomy / f"sub-{name}_acq-sag_ce-gd_T1w.json").write_text('{"Manufacturer": "Siemens", "BodyPart": "SPINE"}')
        mask = make.itk_image(make.blob(SHAPE))
        sitk.WriteImage(mask, str(labels / f"sub-{name}_acq-sag_ce-gd_label-tumor_mask.nii.gz"))
        people.append(f"sub-{name}\tependymoma\tlumbar")
    (folder / "participants.tsv").write_text("\n".join(people) + "\n")
    (folder / "dataset_description.json").write_text('{"Name": "Quirke", "BIDSVersion": "1.9.0"}')
