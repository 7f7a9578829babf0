"""Enhanced MR objects and an independent reader of DICOM, for tests of the sources."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dcm2niix
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, generate_uid

from nnunet_spine.images import Volume, read_volume, reorient


def item(**values: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def enhanced_dataset(plan: Any, *, frames: list[dict[str, Any]], order: list[int] | None = None) -> Dataset:
    """One Enhanced MR object of a plan's slices.

    `frames` holds for each frame: `slice` (of the plan), and any of `echo`, `stack`, `time`, `slope`, `intercept`,
    `add` (to the stored values), `shift` (of the place, mm). `order` shuffles them.
    """
    frames = [frames[i] for i in order] if order else frames
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = EnhancedMRImageStorage, generate_uid(), "MR"
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Zebulon^Quirke", plan.patient, "19410203", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = plan.study, generate_uid(), generate_uid()
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20190304"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101112"
    ds.AcquisitionDateTime = "20190304101112"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "S1", "ACC991", "Doktor^Q"
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = plan.number, 1, 1
    ds.Manufacturer, ds.ManufacturerModelName = "Philips Medical Systems", "Ingenia"
    ds.DeviceSerialNumber, ds.SoftwareVersions, ds.PositionReferenceIndicator = "1", "5.6.1", ""
    ds.ImageType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
    ds.SeriesDescription, ds.PatientPosition, ds.EchoPulseSequence = "T1W_TSE_SAG CE", "HFS", "SPIN"
    ds.AcquisitionContrast, ds.MagneticFieldStrength = "T1", 1.5
    ds.Rows, ds.Columns = plan.array.shape[1:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.NumberOfFrames = 16, 16, 15, len(frames)
    ds.LossyImageCompression, ds.BurnedInAnnotation, ds.PresentationLUTShape = "00", "NO", "IDENTITY"
    uid = generate_uid()
    ds.DimensionOrganizationSequence = Sequence([item(DimensionOrganizationUID=uid)])
    ds.DimensionIndexSequence = Sequence(
        [
            item(DimensionOrganizationUID=uid, DimensionIndexPointer=pointer, FunctionalGroupPointer=0x00209111)
            for pointer in (0x00209056, 0x00209057)
        ]
    )
    orientation = [f"{v:.12g}"[:16] for v in plan.cosines]
    ds.SharedFunctionalGroupsSequence = Sequence(
        [
            item(
                PixelMeasuresSequence=Sequence(
                    [
                        item(
                            PixelSpacing=[plan.spacing[1], plan.spacing[2]],
                            SliceThickness=3.0,
                            SpacingBetweenSlices=abs(plan.spacing[0]),
                        )
                    ]
                ),
                PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=orientation)]),
                MRTimingAndRelatedParametersSequence=Sequence([item(RepetitionTime=600.0, FlipAngle=90.0)]),
            )
        ]
    )
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(plan, frame, n) for n, frame in enumerate(frames, start=1)])
    ds.PixelData = b"".join((plan.array[f["slice"]] + f.get("add", 0)).astype("<u2").tobytes() for f in frames)
    return ds


def _frame(plan: Any, frame: dict[str, Any], number: int) -> Dataset:
    position = plan.point(frame["slice"], 0, 0) + np.array(frame.get("shift", (0.0, 0.0, 0.0)))
    content = item(
        StackID=str(frame.get("stack", 1)),
        InStackPositionNumber=frame["slice"] + 1,
        TemporalPositionIndex=frame.get("time", 1),
        DimensionIndexValues=[frame.get("stack", 1), frame["slice"] + 1],
        FrameAcquisitionNumber=1,
        FrameReferenceDateTime="20190304101112",
        FrameAcquisitionDateTime="20190304101112",
        FrameAcquisitionDuration=100.0,
    )
    rescale = item(RescaleSlope=frame.get("slope", 1.0), RescaleIntercept=frame.get("intercept", 0.0), RescaleType="US")
    return item(
        FrameContentSequence=Sequence([content]),
        PlanePositionSequence=Sequence([item(ImagePositionPatient=[f"{v:.10g}" for v in position])]),
        MREchoSequence=Sequence([item(EffectiveEchoTime=float(frame.get("echo", 10.0)))]),
        PixelValueTransformationSequence=Sequence([rescale]),
        MRImageFrameTypeSequence=Sequence([item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"])]),
    )


@pytest.fixture(scope="session")
def enhanced() -> Callable[..., Dataset]:
    """Writer of Enhanced MR objects; see `enhanced_dataset`."""
    return enhanced_dataset


def independent_volume(folder: Path, output: Path, *options: str) -> Volume:
    """The one volume that dcm2niix makes of a folder, in our orientation."""
    output.mkdir(parents=True)
    command = [
        dcm2niix.bin,
        "-z",
        "n",
        "-b",
        "n",
        "-p",
        "n",
        *options,
        "-f",
        "%s_%e_%p",
        "-o",
        str(output),
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (made,) = list(output.glob("*.nii")) or [pytest.fail(done.stdout + done.stderr)]
    return reorient(read_volume(made))


@pytest.fixture(scope="session")
def oracle() -> Callable[..., Volume]:
    """What dcm2niix makes of a folder; see `independent_volume`."""
    return independent_volume


@pytest.fixture(scope="session")
def check_voxels() -> Callable[..., None]:
    """Check a volume against a plan: each voxel is at its place by the DICOM equation and has its value."""

    def check(volume: Volume, plan: Any, expected: np.ndarray, *, within: float = 1e-6) -> None:
        affine = volume.geometry.affine_lps()
        places = np.array([plan.point(*place) for place in np.ndindex(expected.shape)])
        index = (np.linalg.inv(affine) @ np.column_stack([places, np.ones(len(places))]).T)[:3]
        x, y, z = nearest = np.rint(index).astype(int)
        assert np.abs(affine[:3, :3] @ (index - nearest)).max() < 1e-3  # mm
        assert np.abs(volume.array[z, y, x] - np.ravel(expected)).max() <= within
        assert volume.array.size == expected.size

    return check
