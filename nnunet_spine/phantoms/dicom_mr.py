"""A series as classic MR Image Storage, in the style of its maker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from nnunet_spine.cases import Region
from nnunet_spine.phantoms.identity import Identity
from nnunet_spine.phantoms.makers import MAKERS, MakerStyle, SeriesStyle
from nnunet_spine.phantoms.model import CaseSpec, Series
from nnunet_spine.phantoms.study import Acquired

_BODY_PART = {Region.CERVICAL: "CSPINE", Region.THORACIC: "TSPINE", Region.LUMBAR: "LSPINE", Region.UNKNOWN: "SPINE"}
_REGION_LETTER = {Region.CERVICAL: "C", Region.THORACIC: "T", Region.LUMBAR: "L", Region.UNKNOWN: ""}
_AGENTS = ("Gadovist", "DOTAREM", "ProHance", "Gd-DTPA")
_MINUTES_PER_SERIES = 4
_PROTON_MHZ_PER_TESLA = 42.577


def series_datasets(acquired: Acquired, case: CaseSpec, identity: Identity) -> list[FileDataset]:
    """Datasets of one series in the order of instance numbers, ready to be saved.

    Parameters
    ----------
    acquired
        Stored integers and grid.
    case, identity
        The case, and whose it is.
    """
    style = MAKERS[case.acquisition.maker].series[acquired.series]
    slices = acquired.grid.geometry.shape_zyx[0]
    return [_dataset(acquired, case, identity, style, k) for k in range(slices)]


def series_time(identity: Identity, style: SeriesStyle) -> datetime:
    """Start of a series: its number within the study counts."""
    place = style.number // 100 if style.number > 100 else style.number
    return identity.started + timedelta(minutes=_MINUTES_PER_SERIES * place)


def _dataset(acquired: Acquired, case: CaseSpec, identity: Identity, style: SeriesStyle, k: int) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = identity.uid("instance", style.number, k)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SpecificCharacterSet = "ISO_IR 100"
    _patient_and_study(dataset, identity)
    _equipment(dataset, case, identity)
    _series(dataset, acquired.series, case, identity, style)
    _sequence(dataset, acquired, case, style)
    _plane(dataset, acquired, identity, k)
    _pixels(dataset, acquired, case, k)
    return dataset


def _patient_and_study(dataset: Dataset, identity: Identity) -> None:
    dataset.PatientName = identity.patient_name
    dataset.PatientID = identity.patient_id
    dataset.PatientBirthDate = identity.birth_date
    dataset.PatientSex = identity.sex
    dataset.PatientAge = identity.age
    dataset.PatientWeight = _ds(identity.weight_kg)
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.StudyDate = f"{identity.started:%Y%m%d}"
    dataset.StudyTime = f"{identity.started:%H%M%S}"
    dataset.StudyID = identity.study_id
    dataset.AccessionNumber = identity.accession_number
    dataset.ReferringPhysicianName = identity.physician


def _equipment(dataset: Dataset, case: CaseSpec, identity: Identity) -> None:
    acquisition = case.acquisition
    style = MAKERS[acquisition.maker]
    dataset.Manufacturer = acquisition.maker.value
    dataset.ManufacturerModelName = acquisition.model
    dataset.SoftwareVersions = style.software.split("\\")
    dataset.InstitutionName = identity.institution
    dataset.StationName = f"TESTMR{case.patient_number % 4 + 1}"
    dataset.DeviceSerialNumber = f"{40000 + case.patient_number % 4}"
    dataset.MagneticFieldStrength = _ds(acquisition.field_strength)
    dataset.ImagingFrequency = _ds(round(acquisition.field_strength * _PROTON_MHZ_PER_TESLA, 4))


def _series(dataset: Dataset, series: Series, case: CaseSpec, identity: Identity, style: SeriesStyle) -> None:
    letter = _REGION_LETTER[case.anatomy.region]
    description = style.descriptions[case.patient_number % len(style.descriptions)]
    fat_suppressed = case.acquisition.fat_suppressed and series is Series.T1_POST
    dataset.Modality = "MR"
    dataset.SeriesInstanceUID = identity.uid("series", style.number)
    dataset.SeriesNumber = style.number
    dataset.AcquisitionNumber = 1
    dataset.SeriesDescription = f"{description} FS" if fat_suppressed else description
    dataset.StudyDescription = f"MR Spine {letter} with contrast"
    dataset.ProtocolName = style.protocol.format(region=letter)
    dataset.BodyPartExamined = _BODY_PART[case.anatomy.region]
    dataset.PatientPosition = "HFS"
    started = series_time(identity, style)
    for name in ("Series", "Acquisition", "Content"):
        setattr(dataset, f"{name}Date", f"{started:%Y%m%d}")
        setattr(dataset, f"{name}Time", f"{started:%H%M%S}")
    if series is Series.T1_POST and case.acquisition.agent_recorded:
        dataset.ContrastBolusAgent = _AGENTS[case.patient_number % len(_AGENTS)]
        dataset.ContrastBolusRoute = "IV"


def _sequence(dataset: Dataset, acquired: Acquired, case: CaseSpec, style: SeriesStyle) -> None:
    maker = MAKERS[case.acquisition.maker]
    fat_suppressed = case.acquisition.fat_suppressed and acquired.series is Series.T1_POST
    dataset.ImageType = list(maker.image_type)
    dataset.ScanningSequence = "SE"
    dataset.SequenceVariant = _one_or_many(maker.sequence_variant)
    dataset.ScanOptions = _one_or_many((*maker.scan_options, "FS") if fat_suppressed else maker.scan_options)
    dataset.MRAcquisitionType = "2D"
    if style.sequence_name is not None:
        dataset.SequenceName = style.sequence_name
    dataset.RepetitionTime = _ds(style.repetition_ms)
    dataset.EchoTime = _ds(style.echo_ms)
    dataset.EchoTrainLength = style.echo_train
    dataset.NumberOfAverages = _ds(2)
    dataset.ImagedNucleus = "1H"
    dataset.FlipAngle = _ds(150)
    dataset.PercentSampling = _ds(80)
    dataset.PixelBandwidth = _ds(200)
    dataset.SliceThickness = _ds(acquired.grid.thickness_mm)
    dataset.SpacingBetweenSlices = _ds(acquired.grid.geometry.spacing_xyz_mm[2])
    dataset.InPlanePhaseEncodingDirection = "COL"


def _plane(dataset: Dataset, acquired: Acquired, identity: Identity, k: int) -> None:
    geometry = acquired.grid.geometry
    direction = np.reshape(geometry.direction, (3, 3))
    position = (geometry.affine_lps() @ [0, 0, k, 1])[:3]
    dataset.InstanceNumber = k + 1
    dataset.FrameOfReferenceUID = identity.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [_ds(v) for v in (*direction[:, 0], *direction[:, 1])]
    dataset.ImagePositionPatient = [_ds(round(float(v), 6)) for v in position]
    # Along the normal of rows and columns, which instance numbers may run against.
    dataset.SliceLocation = _ds(round(float(np.cross(direction[:, 0], direction[:, 1]) @ position), 4))
    dataset.PixelSpacing = [_ds(geometry.spacing_xyz_mm[1]), _ds(geometry.spacing_xyz_mm[0])]


def _pixels(dataset: Dataset, acquired: Acquired, case: CaseSpec, k: int) -> None:
    style: MakerStyle = MAKERS[case.acquisition.maker]
    pixels = acquired.stored[k]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = style.bits_stored
    dataset.HighBit = style.bits_stored - 1
    dataset.PixelRepresentation = int(style.signed)
    dataset.SmallestImagePixelValue, dataset.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    window = float(np.percentile(acquired.stored, 99.5))
    slope, intercept = case.acquisition.rescale_slope, case.acquisition.rescale_intercept
    dataset.WindowCenter = _ds(round(window / 2 * slope + intercept, 2))
    dataset.WindowWidth = _ds(round(window * slope, 2))
    if (slope, intercept) != (1.0, 0.0):
        dataset.RescaleSlope, dataset.RescaleIntercept = _ds(slope), _ds(intercept)
        dataset.RescaleType = "normalized"
    dataset.PixelData = np.ascontiguousarray(pixels).astype("<i2" if style.signed else "<u2").tobytes()


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return str(format_number_as_ds(float(value) + 0.0))


def _one_or_many(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
