"""Files as scanners, archives and de-identification write them: bare, twice, without UIDs, behind links."""

from __future__ import annotations

import copy
import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless, generate_uid

from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.dicom_files import open_dataset
from nnunet_spine.dataset_conversion.dicom_grouping import group_files, read_export
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.series_parts import parts_of
from nnunet_spine.dataset_conversion.source_files import look_below
from nnunet_spine.errors import BadInput


def bare(dataset: Any, path: Path, *, implicit: bool, little: bool = True, start: bytes = b"") -> None:
    """Write the data set alone, as old scanners do, after some first bytes."""
    plain = Dataset(dataset)
    if not little:
        plain.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        plain["PixelData"].VR = "OW"
    pydicom.dcmwrite(path, plain, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    path.write_bytes(start + path.read_bytes())


PREAMBLE = bytes(128) + b"DICM"


@pytest.mark.parametrize(
    "how",
    [
        {"implicit": True},
        {"implicit": False},
        {"implicit": False, "little": False},
        {"implicit": True, "start": PREAMBLE},
        {"implicit": False, "start": PREAMBLE},
    ],
    ids=["implicit", "explicit", "big endian", "preamble, implicit", "preamble, explicit"],
)
def test_a_data_set_without_preamble_or_meta_information(
    make: Any, check_voxels: Any, tmp_path: Path, how: dict[str, Any]
) -> None:
    plan = make.Plan(make.asymmetric(), rescale=(2.0, -7.0))
    for number, dataset in enumerate(make.datasets_of(plan)):
        bare(dataset, tmp_path / f"{number}", **how)
    export = read_export(tmp_path)
    (series,) = export.series
    assert (export.not_dicom, export.damaged) == ((), ())
    check_voxels(read_series(series.files).volume, plan, plan.array * 2.0 - 7.0)


def test_meta_information_without_preamble(make: Any, check_voxels: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric((6, 64, 40)))
    for number, dataset in enumerate(make.datasets_of(plan)):
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(tmp_path / f"{number}", enforce_file_format=True)
        (tmp_path / f"{number}").write_bytes((tmp_path / f"{number}").read_bytes()[132:])
    (series,) = read_export(tmp_path).series
    check_voxels(read_series(series.files).volume, plan, plan.array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        b"\x08\x00\x05\x00garbage",
        b"\x02\x00\x00\x00UL\x04\x00",
        b"plain text that is long enough",
        b"\0" * 500,
    ],
)
def test_what_is_no_dicom_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(BadInput, match=r"no readable DICOM series \(1 files looked at\)"):
        discover_export(tmp_path)


def with_reference(make: Any, root: Path, datasets: list[Any]) -> Path:
    make.write_datasets(root / "a", datasets)
    return make.write_segmentation(root / "s" / "IM1", datasets, make.blob())


def compressed(dataset: Any) -> None:
    dataset.compress(RLELossless, generate_instance_uid=False)


def with_more(dataset: Any) -> None:
    dataset.InstitutionName = "Somewhere"
    block = dataset.private_block(0x0099, "ARCHIVE", create=True)
    block.add_new(1, "LO", "stored again")


@pytest.mark.parametrize("change", [compressed, with_more, lambda dataset: None])
def test_an_instance_that_is_there_twice_is_used_once(
    make: Any, check_voxels: Any, tmp_path: Path, change: Any
) -> None:
    plan = make.Plan(make.asymmetric((6, 64, 40)))
    datasets = make.datasets_of(plan)
    make.write_datasets(tmp_path / "a", datasets)
    make.write_segmentation(tmp_path / "s" / "IM1", datasets, np.ones((6, 64, 40), np.uint8))
    again = [copy.deepcopy(dataset) for dataset in datasets]
    for dataset in again:
        change(dataset)
    make.write_datasets(tmp_path / "b", again, seed=5)
    reference = pydicom.dcmread(tmp_path / "s" / "IM1")
    change(reference) if change is with_more else None
    reference.save_as(tmp_path / "s" / "IM2")
    discovery = discover_export(tmp_path)
    (case,) = discovery.cases
    assert discovery.files["copies"] == 7
    assert [p.found for p in discovery.problems] == ["7 DICOM files are copies of others and were not used again"]
    check_voxels(read_series(case.image).volume, plan, plan.array)


def test_copies_may_be_rounded_differently_and_may_not_mean_other_values(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric(), rescale=(2.0, 0.0)))
    again = [copy.deepcopy(dataset) for dataset in datasets]
    for dataset in again:
        place = [float(v) for v in dataset.ImagePositionPatient]
        dataset.ImagePositionPatient = [f"{round(v + 0.004, 2):.10g}" for v in place]
        dataset.RescaleSlope = "2.000000"
    other = copy.deepcopy(datasets[0])
    other.RescaleSlope = 3.0
    make.write_datasets(tmp_path / "a", datasets)
    make.write_datasets(tmp_path / "b", again)
    make.write_datasets(tmp_path / "c", [other])
    export = read_export(tmp_path)
    assert len(export.copies) == 6
    (series,) = export.series
    assert len(series.slices) == 7


def test_a_copy_with_loss_gives_way(make: Any, check_voxels: Any, tmp_path: Path) -> None:
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate

    plan = make.Plan(make.asymmetric((6, 64, 40)) % 256)
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, plan.array, strict=True):
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = pixels.astype("u1").tobytes()
    lossy = [copy.deepcopy(dataset) for dataset in datasets]
    for dataset, pixels in zip(lossy, plan.array, strict=True):
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=60)
        dataset.PixelData = encapsulate([stream.getvalue()])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID, dataset.LossyImageCompression = JPEGBaseline8Bit, "01"
    make.write_datasets(tmp_path / "a lossy", lossy)
    make.write_datasets(tmp_path / "b", datasets, seed=2)
    (series,) = read_export(tmp_path).series
    check_voxels(read_series(series.files).volume, plan, plan.array)


def test_one_uid_for_two_contents_is_no_copy(make: Any, tmp_path: Path) -> None:
    first, second = (make.datasets_of(make.Plan(make.asymmetric(seed=n))) for n in (1, 2))
    for one, other in zip(first, second, strict=True):
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        other.SeriesInstanceUID = one.SeriesInstanceUID
        other.EchoTime = 30.0
    make.write_datasets(tmp_path / "a", first)
    make.write_datasets(tmp_path / "b", second)
    export = read_export(tmp_path)
    assert export.copies == ()
    assert [len(part.slices) for part in parts_of(export.series[0])] == [6, 6]


@pytest.mark.parametrize("also", [(), ("StudyInstanceUID",), ("SOPInstanceUID",)], ids=["series", "study", "instance"])
def test_blank_series_uids_mix_neither_series_nor_patients(make: Any, tmp_path: Path, also: tuple[str, ...]) -> None:
    for patient in range(3):
        plan = make.Plan(make.asymmetric(seed=patient), patient=f"P{patient}", study=f"1.2.{patient}")
        datasets = make.datasets_of(plan)
        t2 = {"RepetitionTime": 3000.0, "EchoTime": 90.0}
        other = make.datasets_of(
            make.Plan(make.asymmetric(seed=9), patient=f"P{patient}", study=f"1.2.{patient}", number=3, tags=t2)
        )
        make.write_segmentation(tmp_path / f"s{patient}", datasets, make.blob())
        for dataset in (*datasets, *other):
            for keyword in ("SeriesInstanceUID", *also):
                setattr(dataset, keyword, "")
        make.write_datasets(tmp_path / f"a{patient}", datasets)
        make.write_datasets(tmp_path / f"b{patient}", other)
    discovery = discover_export(tmp_path)
    if also == ("SOPInstanceUID",):  # nothing says any more what the references were drawn on
        assert discovery.cases == ()
        return
    assert [{path.parent.name for path in case.image} for case in discovery.cases] == [{"a0"}, {"a1"}, {"a2"}]
    assert [len(case.image) for case in discovery.cases] == [6] * 3
    assert discovery.problems[0].found.startswith("36 DICOM files have no Series Instance UID")


@pytest.mark.parametrize("refer_by", ["segmentation", "series", "instances", "frame"])
def test_a_series_uid_of_two_patients_mixes_nothing(make: Any, tmp_path: Path, refer_by: str) -> None:
    shared = generate_uid()
    for patient in range(2):
        plan = make.Plan(make.asymmetric(seed=patient), patient=f"P{patient}", study=f"1.2.{patient}")
        datasets = make.datasets_of(plan)
        for dataset in datasets:
            dataset.SeriesInstanceUID = shared
        make.write_datasets(tmp_path / f"a{patient}", datasets)
        if refer_by == "segmentation":
            make.write_segmentation(tmp_path / f"s{patient}", datasets, make.blob())
        else:
            contour = make.outline(plan, 1, (2, 4), (1, 2))
            make.write_structure_set(tmp_path / f"s{patient}", datasets, {"tumor": [contour]}, refer_by=refer_by)
    discovery = discover_export(tmp_path)
    pairs = [({path.parent.name for path in case.image}, case.reference.name) for case in discovery.cases]
    assert pairs == [({"a0"}, "s0"), ({"a1"}, "s1")]
    assert [case.patient_key for case in discovery.cases] == ["p0", "p1"]
    assert "1 Series Instance UIDs belong to several patients" in discovery.problems[0].found


def test_a_study_uid_for_each_file_does_not_take_a_series_apart(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    reference = with_reference(make, tmp_path, datasets)
    assert reference.is_file()
    for path in (tmp_path / "a").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = generate_uid()
        dataset.save_as(path)
    (case,) = discover_export(tmp_path).cases
    assert len(case.image) == 6


@pytest.mark.parametrize("missing", [[0], [1, 3], [5]])
def test_a_frame_of_reference_that_some_slices_lack(
    make: Any, check_voxels: Any, tmp_path: Path, missing: list[int]
) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    make.write_segmentation(tmp_path / "s" / "IM1", datasets, make.blob())
    for k in missing:
        del datasets[k].FrameOfReferenceUID
    make.write_datasets(tmp_path / "a", datasets)
    (case,) = discover_export(tmp_path).cases
    check_voxels(read_series(case.image).volume, plan, plan.array)


def test_a_classic_object_of_many_frames_is_named_as_such(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for dataset in datasets:
        dataset.NumberOfFrames, dataset.PixelData = 2, dataset.PixelData * 2
    from nnunet_spine.dataset_conversion.problems import Unusable

    with pytest.raises(Unusable, match="an MR object of 2 frames that says nothing of their places"):
        read_series(make.write_datasets(tmp_path, datasets))


def test_what_could_not_be_looked_at_is_counted_and_named_privately(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "export"
    with_reference(make, root, make.datasets_of(make.Plan(make.asymmetric())))
    (root / "Quirke.dcm").symlink_to("nowhere.dcm")
    (root / "annexed").symlink_to(".git/annex/objects/x1/y2/MD5E-s1--0/MD5E-s1--0")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(root / "socket"))
    discovery = discover_export(root)
    assert len(discovery.cases) == 1
    assert [(p.severity, p.found.partition(" (")[0]) for p in discovery.problems] == [
        (Severity.WARNING, "1 links lead nowhere"),
        (Severity.WARNING, "1 links lead nowhere"),
        (Severity.WARNING, "2 pipes, sockets or devices were not read"),
    ]
    assert set(discovery.ignored) == {"Quirke.dcm", "annexed", "pipe", "socket"}
    assert discovery.files["total"] == 7 + 2 + 2
    assert not any("Quirke" in p.describe() for p in discovery.problems)


def test_folders_behind_links_are_looked_at_once(make: Any, tmp_path: Path) -> None:
    with_reference(make, tmp_path / "elsewhere", make.datasets_of(make.Plan(make.asymmetric())))
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "export" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    below = look_below(tmp_path / "export")
    assert (len(below.files), below.absent) == (7, {})
    assert len(discover_export(tmp_path / "export").cases) == 1


def test_hidden_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    for name in (".a", ".cache/b", ".cache/c", "d"):
        (tmp_path / name).write_text("")
    (tmp_path / ".cache" / "loop").symlink_to(tmp_path / ".cache")
    below = look_below(tmp_path)
    assert (below.hidden, [path.name for path in below.files]) == (3, ["d"])
    assert look_below(tmp_path / "nothing").files == []


def test_compressed_pixels_without_a_transfer_syntax_have_their_true_reason(make: Any, tmp_path: Path) -> None:
    from nnunet_spine.dataset_conversion.problems import Unusable

    datasets = make.datasets_of(make.Plan(make.asymmetric((6, 64, 40))))
    for number, dataset in enumerate(datasets):
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        dataset.save_as(tmp_path / f"{number}", enforce_file_format=True)
        meta = pydicom.filereader.read_file_meta_info(tmp_path / f"{number}")
        content = (tmp_path / f"{number}").read_bytes()
        length = 132 + 12 + int(meta.FileMetaInformationGroupLength)
        (tmp_path / f"{number}").write_bytes(content[length:])
    (series,) = group_files(tmp_path, tmp_path.iterdir()).series
    assert open_dataset(series.files[0]).file_meta.TransferSyntaxUID.name == "Explicit VR Little Endian"
    with pytest.raises(Unusable, match="compressed pixels, and nothing that names their transfer syntax"):
        read_series(series.files)
