"""Small DICOM series, segmentations and volumes with known content, written for real."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PATIENT_NAME = "Zebulon^Quirke"
PATIENT_ID = "ZQ-7741"
MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
T1_CONTRAST = {"RepetitionTime": 600.0, "EchoTime": 10.0, "ContrastBolusAgent": "Gadovist"}


@dataclass
class SeriesPlan:
    """One series to write; array (slice, row, column), the first slice at `origin`, the next along the normal."""

    array: np.ndarray
    cosines: tuple[float, ...] = SAGITTAL
    origin: tuple[float, float, float] = (-8.0, -60.0, 90.0)
    spacing: tuple[float, float, float] = (4.0, 0.8, 0.6)  # slice gap, row, column, mm
    patient: str = PATIENT_ID
    study: str = "1.2.3.4.1"
    number: int = 5
    tags: dict[str, Any] = field(default_factory=lambda: dict(T1_CONTRAST))
    rescale: tuple[float, float] | None = None
    slice_tags: dict[int, dict[str, Any]] = field(default_factory=dict)

    def point(self, slice_: int, row: int, column: int) -> np.ndarray:
        """LPS place of a voxel, in mm: the DICOM equation (PS3.3 C.7.6.2.1.1)."""
        along_row, down_column = np.array(self.cosines[:3]), np.array(self.cosines[3:])
        gap, row_mm, column_mm = self.spacing
        normal = np.cross(along_row, down_column)
        return (
            np.array(self.origin) + slice_ * gap * normal + row * row_mm * down_column + column * column_mm * along_row
        )


def asymmetric(shape: tuple[int, int, int] = (6, 10, 8), seed: int = 3) -> np.ndarray:
    """Distinct values everywhere, so that any flip or swap shows."""
    return np.random.default_rng(seed).permutation(int(np.prod(shape))).reshape(shape).astype(np.uint16)


def blob(shape: tuple[int, int, int] = (6, 10, 8)) -> np.ndarray:
    """An L-shaped lesion near one corner: no symmetry of its own."""
    mask = np.zeros(shape, np.uint8)
    mask[1:3, 2:5, 1:3] = 1
    mask[2, 5, 1] = 1
    return mask


def datasets_of(plan: SeriesPlan) -> list[Dataset]:
    """Complete MR datasets of a plan, one a slice."""
    series_uid, frame_uid = generate_uid(), generate_uid()
    return [_slice_of(plan, index, series_uid, frame_uid) for index in range(len(plan.array))]


def _slice_of(plan: SeriesPlan, index: int, series_uid: str, frame_uid: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = MR_STORAGE, generate_uid(), "MR"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = MR_STORAGE, ds.SOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = PATIENT_NAME, plan.patient, "19410203", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = plan.study, series_uid, frame_uid
    ds.StudyDate = ds.SeriesDate = "20190304"
    ds.StudyTime = ds.SeriesTime = "101112"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "S1", "ACC991", "Doktor^Q"
    ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = plan.number, index + 1, "SIEMENS"
    ds.PositionReferenceIndicator = ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    ds.ImageOrientationPatient = [f"{v:.12g}"[:16] for v in plan.cosines]
    ds.ImagePositionPatient = [f"{v:.10g}" for v in plan.point(index, 0, 0)]
    ds.PixelSpacing, ds.SliceThickness = [plan.spacing[1], plan.spacing[2]], 3.0
    ds.Rows, ds.Columns = plan.array.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    if plan.rescale:
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = *plan.rescale, "US"
    for keyword, value in {**plan.tags, **plan.slice_tags.get(index, {})}.items():
        setattr(ds, keyword, value)
    ds.PixelData = plan.array[index].astype("<u2").tobytes()
    return ds


def write_datasets(folder: Path, datasets: list[Dataset], *, seed: int = 0) -> list[Path]:
    """Write datasets under shuffled names without a suffix."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(datasets))
    paths = [folder / f"IM{place:04d}" for place in order]
    for path, dataset in zip(paths, datasets, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths


def write_segmentation(
    path: Path,
    datasets: list[Dataset],
    mask: np.ndarray,
    *,
    labels: tuple[tuple[str, str], ...] = (("intradural tumor", "intramedullary ependymoma"),),
    kind: str = "BINARY",
    property_types: tuple[Any, ...] = (),
    **more: Any,
) -> Path:
    """Write a DICOM SEG of `mask`, shape (slice, row, column) or with a last axis of segments.

    `property_types` are the coded types of the segments, tissue where absent; `more` goes to highdicom.
    """
    descriptions = []
    for number, (label, text) in enumerate(labels, start=1):
        description = highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=property_types[number - 1] if property_types else codes.SCT.Tissue,
            algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        description.SegmentDescription = text
        descriptions.append(description)
    segmentation = highdicom.seg.Segmentation(
        source_images=datasets,
        pixel_array=mask,
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=generate_uid(),
        series_number=900,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="nobody",
        manufacturer_model_name="none",
        software_versions="1",
        device_serial_number="1",
        **more,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
    return path


def outline(plan: SeriesPlan, slice_: float, rows: tuple[float, float], columns: tuple[float, float]) -> np.ndarray:
    """Rectangle along the outer edges of voxels from the first to the last row and column, shape (4, 3), LPS in mm."""
    (r0, r1), (c0, c1) = (rows[0] - 0.5, rows[1] + 0.5), (columns[0] - 0.5, columns[1] + 0.5)
    return np.array([plan.point(slice_, *corner) for corner in ((r0, c0), (r0, c1), (r1, c1), (r1, c0))])


def write_structure_set(
    path: Path,
    datasets: list[Dataset],
    regions: dict[str, list[np.ndarray | tuple[str, np.ndarray]]],
    *,
    types: dict[str, str] | None = None,
    refer_by: str = "series",
) -> Path:
    """Write an RTSTRUCT: contours by region, each points (n, 3) or (geometric type, points).

    It refers to the series by its UID ("series"), by the UIDs of its instances ("instances"), or only by the frame of
    reference ("frame").
    """
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    ds.PatientName, ds.PatientID, ds.Modality = PATIENT_NAME, datasets[0].PatientID, "RTSTRUCT"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = datasets[0].StudyInstanceUID, generate_uid()
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "structures", "20190304", "101112"
    frame = Dataset()
    frame.FrameOfReferenceUID = datasets[0].FrameOfReferenceUID
    if refer_by == "series":
        series, study = Dataset(), Dataset()
        series.SeriesInstanceUID = datasets[0].SeriesInstanceUID
        study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", generate_uid()
        study.RTReferencedSeriesSequence = [series]
        frame.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
        drawn.ReferencedROINumber = observation.ReferencedROINumber = number
        observation.ObservationNumber, observation.ROIInterpreter = number, ""
        observation.RTROIInterpretedType = (types or {}).get(name, "")
        drawn.ContourSequence = [_contour(one, datasets, refer_by) for one in contours]
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
        ds.RTROIObservationsSequence.append(observation)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _contour(one: np.ndarray | tuple[str, np.ndarray], datasets: list[Dataset], refer_by: str) -> Dataset:
    kind, points = one if isinstance(one, tuple) else ("CLOSED_PLANAR", one)
    item = Dataset()
    item.ContourGeometricType, item.NumberOfContourPoints = kind, len(points)
    item.ContourData = [f"{v:.10g}" for v in np.ravel(points)]
    if refer_by != "frame":
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = MR_STORAGE, datasets[0].SOPInstanceUID
        item.ContourImageSequence = [image]
    return item


def write_study(folder: Path, plan: SeriesPlan, mask: np.ndarray | None = None, *, seed: int = 0) -> list[Path]:
    """Write a series, and a DICOM SEG of it where a mask is given."""
    datasets = datasets_of(plan)
    paths = write_datasets(folder / f"SER{plan.number}", datasets, seed=seed)
    if mask is not None:
        write_segmentation(folder / f"SEG{plan.number}" / "IM0001", datasets, mask)
    return paths


def itk_image(array: np.ndarray, orientation: str = "LPS", origin: tuple[float, ...] = (-5.0, -20.0, 30.0)) -> Any:
    """An image whose voxels lie where those of an LPS grid do, stored in another orientation."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((3.0, 0.7, 0.9))
    image.SetOrigin(origin)
    return sitk.DICOMOrient(image, orientation)


@dataclass(frozen=True)
class Toolbox:
    """What tests write with."""

    Plan = SeriesPlan
    asymmetric = staticmethod(asymmetric)
    blob = staticmethod(blob)
    datasets_of = staticmethod(datasets_of)
    write_datasets = staticmethod(write_datasets)
    write_segmentation = staticmethod(write_segmentation)
    outline = staticmethod(outline)
    write_structure_set = staticmethod(write_structure_set)
    write_study = staticmethod(write_study)
    itk_image = staticmethod(itk_image)


@pytest.fixture(scope="session")
def make() -> Toolbox:
    """Writers of small sources."""
    return Toolbox()


@pytest.fixture
def export(tmp_path: Path, make: Toolbox) -> Path:
    """Five patients with one sound study each, in folders that are named after them."""
    root = tmp_path / "Quirke_archive"
    for index in range(5):
        plan = SeriesPlan(
            asymmetric(seed=index),
            patient=f"{PATIENT_ID}{index}",
            study=f"1.2.3.{index + 1}",
            origin=(-8.0, index, 90.0),
        )
        write_study(root / f"Zebulon{index}", plan, blob())
    return root


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """A cases.csv of five NIfTI pairs of five patients; returns its path."""
    rows = ["patient,image,reference,compartment,tumor_type,split,maker,field_strength,region"]
    root = tmp_path / "volumes"
    root.mkdir()
    for index in range(5):
        sitk.WriteImage(itk_image(asymmetric(seed=index).astype(np.float32) + 0.5), str(root / f"i{index}.nii.gz"))
        sitk.WriteImage(itk_image(blob()), str(root / f"r{index}.nii.gz"))
        rows.append(f"{PATIENT_ID}{index},i{index}.nii.gz,r{index}.nii.gz,extramedullary,meningioma,,Canon,1.5,lumbar")
    (root / "cases.csv").write_text("\n".join(rows) + "\n")
    return root / "cases.csv"
