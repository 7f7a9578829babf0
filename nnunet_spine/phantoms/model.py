"""What a synthetic case is, before anything of it is rendered: frozen specifications.

Coordinates of the body frame are LPS in mm around the centre of the field of
view: x to the left, y to posterior, z to superior.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nnunet_spine.cases import Compartment, Region


class Maker(StrEnum):
    """Maker of a scanner, as it writes itself into a DICOM header."""

    SIEMENS = "SIEMENS"
    GE = "GE MEDICAL SYSTEMS"
    PHILIPS = "Philips Medical Systems"


class Look(StrEnum):
    """How a tumor shows after contrast."""

    HOMOGENEOUS = "homogeneous"
    RIM = "rim-enhancing"
    FAINT = "faint"
    MULTINODULAR = "multi-nodular"


class Series(StrEnum):
    """The series of a study; the first is the one that counts, the others are distractors."""

    T1_POST = "sagittal T1 post-contrast"
    T1_PRE = "sagittal T1"
    T2 = "sagittal T2"
    AXIAL_T1 = "axial T1"


@dataclass(frozen=True)
class AnatomySpec:
    """The shape of one patient's spine, in the body frame.

    Parameters
    ----------
    region
        Part of the spine.
    curve_radius_mm, curve_apex_mm
        Radius of the sagittal curve, positive for lordosis, negative for kyphosis, and the z of its apex.
    canal_y_mm
        y of the canal's centre at the apex.
    scoliosis_mm, scoliosis_phase
        Amplitude and phase of the lateral wave of the centre line.
    pitch_mm, pitch_phase, disc_share
        Distance of two discs along the canal, its phase (0 to 1), and the disc's share of it.
    body_depth_mm, body_half_width_mm
        Vertebral body, front to back, and half its width.
    sac_half_ap_mm, sac_half_lateral_mm
        Half axes of the dural sac.
    cord_half_ap_mm, cord_half_lateral_mm
        Half axes of the cord.
    conus_z_mm
        z of the cord's end; minus infinity where it lies below the image.
    spinous_length_mm, spinous_tilt
        Length of the spinous processes, and their descent in mm per mm.
    back_depth_mm, subcutaneous_mm, front_depth_mm
        Skin behind the canal, thickness of fat under it, and skin before the canal.
    muscle_fat
        Share of fat in muscle, 0 to 1.
    vein_share
        How much of the epidural space enhances, 0 to 1.
    texture_seed
        Seed of everything fine-grained.
    """

    region: Region
    curve_radius_mm: float
    curve_apex_mm: float
    canal_y_mm: float
    scoliosis_mm: float
    scoliosis_phase: float
    pitch_mm: float
    pitch_phase: float
    disc_share: float
    body_depth_mm: float
    body_half_width_mm: float
    sac_half_ap_mm: float
    sac_half_lateral_mm: float
    cord_half_ap_mm: float
    cord_half_lateral_mm: float
    conus_z_mm: float
    spinous_length_mm: float
    spinous_tilt: float
    back_depth_mm: float
    subcutaneous_mm: float
    front_depth_mm: float
    muscle_fat: float
    vein_share: float
    texture_seed: int


@dataclass(frozen=True)
class Nodule:
    """One ellipsoid of a tumor, in units of the tumor's half axes: its centre (lateral, AP, along) and its size."""

    centre: tuple[float, float, float]
    size: float


@dataclass(frozen=True)
class LesionSpec:
    """A tumor.

    Parameters
    ----------
    compartment, tumor_type, look
        What it is and how it shows.
    volume_ml
        Volume that its surface is set to enclose.
    half_axes_mm
        Half axes of the smooth body: lateral, AP, along the canal.
    along_mm
        Place of its centre along the canal.
    angle
        Side of the canal that an extramedullary tumor sits on, in radians from left to posterior.
    nodules
        Ellipsoids whose union is the smooth body.
    roughness
        Amplitude of the surface noise, in half axes.
    enhancement, core_signal, core_share
        Signal after contrast of the solid part and of a necrotic core (fat is about 1), and the core's share of the
        radius, 0 for none.
    edema, syrinx, dural_tail
        Accompanying findings; none belongs to the reference.
    seed
        Seed of the surface and the texture.
    """

    compartment: Compartment
    tumor_type: str
    look: Look
    volume_ml: float
    half_axes_mm: tuple[float, float, float]
    along_mm: float
    angle: float
    nodules: tuple[Nodule, ...]
    roughness: float
    enhancement: float
    core_signal: float
    core_share: float
    edema: bool
    syrinx: bool
    dural_tail: bool
    seed: int


@dataclass(frozen=True)
class GridSpec:
    """The sagittal grid.

    Parameters
    ----------
    rows, columns, slices
        Voxels from superior to inferior, from anterior to posterior, and across.
    pixel_mm, slice_spacing_mm, slice_thickness_mm
        In-plane spacing, distance of slice centres, and thickness excited.
    turn_degrees, tilt_degrees
        Obliqueness about the long axis and about the AP axis.
    left_to_right
        Whether instance numbers run from left to right.
    isocentre_mm
        Place of the body frame's origin in the scanner's frame.
    """

    rows: int
    columns: int
    slices: int
    pixel_mm: float
    slice_spacing_mm: float
    slice_thickness_mm: float
    turn_degrees: float
    tilt_degrees: float
    left_to_right: bool
    isocentre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class AcquisitionSpec:
    """How an image is taken.

    Parameters
    ----------
    maker, model, field_strength
        The scanner; field strength in tesla.
    coil_strength, coil_depth_mm
        Log ratio of the surface coil's field from skin to depth, and the depth at which it has fallen to 1/e.
    coil_centre_mm, coil_length_mm
        Centre and standard length of the coil along z.
    snr
        Signal of fat over the noise's standard deviation in a channel.
    fat_suppressed
        Whether the post-contrast series suppresses fat.
    agent_recorded
        Whether ContrastBolusAgent is filled in.
    rescale_slope, rescale_intercept
        From stored to real values.
    seed
        Seed of the noise.
    """

    maker: Maker
    model: str
    field_strength: float
    coil_strength: float
    coil_depth_mm: float
    coil_centre_mm: float
    coil_length_mm: float
    snr: float
    fat_suppressed: bool
    agent_recorded: bool
    rescale_slope: float
    rescale_intercept: float
    seed: int


@dataclass(frozen=True)
class CaseSpec:
    """One study of one synthetic patient.

    Parameters
    ----------
    number
        Place in the cohort, from 0.
    patient_number, study_number
        Number of the patient and of this study of the patient, from 1.
    anatomy, lesion, grid, acquisition
        What is seen, and how.
    """

    number: int
    patient_number: int
    study_number: int
    anatomy: AnatomySpec
    lesion: LesionSpec
    grid: GridSpec
    acquisition: AcquisitionSpec

    @property
    def patient(self) -> str:
        """Name of the patient's folder."""
        return f"PAT{self.patient_number:04d}"
