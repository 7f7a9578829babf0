"""The reference as a DICOM segmentation on the series it was drawn on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from nnunet_spine.phantoms.identity import Identity
from nnunet_spine.phantoms.model import LesionSpec

SEGMENT_LABEL = "intradural tumor"
SEGMENTATION_SERIES = 900
_DRAWN_AT = "200000"


def segmentation_dataset(
    source: Sequence[Dataset], mask: npt.NDArray[np.bool_], lesion: LesionSpec, identity: Identity
) -> Any:
    """Binary SEG with one segment, "intradural tumor".

    Parameters
    ----------
    source
        Datasets of the series, in the order of the mask's slices.
    mask
        The tumor, (z, y, x).
    lesion
        Its description.
    identity
        Whose it is.
    """
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=SEGMENT_LABEL,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=identity.uid("tracking"),
        tracking_id="tumor 1",
        anatomic_regions=[codes.SCT.SpinalCord],
    )
    description.SegmentDescription = f"{lesion.compartment} {lesion.tumor_type}"
    segmentation = hd.seg.Segmentation(
        source_images=list(source),
        pixel_array=mask.astype(np.uint8)[..., np.newaxis],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=identity.uid("segmentation series"),
        series_number=SEGMENTATION_SERIES,
        sop_instance_uid=identity.uid("segmentation"),
        instance_number=1,
        manufacturer="Phantom Works",
        manufacturer_model_name="Test Contour",
        software_versions="1.0",
        device_serial_number="1",
        content_label="TUMOR",
        content_creator_name="Testreader^Nils",
        series_description="Tumor segmentation",
    )
    _fix_identifiers_and_times(segmentation, identity)
    return segmentation


def _fix_identifiers_and_times(segmentation: Any, identity: Identity) -> None:
    """Replace what the library takes from the clock or draws at random, so that equal seeds give equal files."""
    organization = identity.uid("dimension organization")
    for item in segmentation.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = organization
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = organization
    drawn = identity.started
    for equipment in segmentation.ContributingEquipmentSequence:
        equipment.ContributionDateTime = f"{drawn:%Y%m%d}{_DRAWN_AT}"
    for prefix in ("Series", "Content", "InstanceCreation"):
        setattr(segmentation, f"{prefix}Date", f"{drawn:%Y%m%d}")
        setattr(segmentation, f"{prefix}Time", _DRAWN_AT)
