"""The export as files, read back with independent readers."""

import csv
import json
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import MRImageStorage

from nnunet_spine.cases import Compartment
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.phantoms.cohort import write_case, write_cohort
from nnunet_spine.phantoms.grids import sagittal_grid
from nnunet_spine.phantoms.makers import MAKERS
from nnunet_spine.phantoms.model import Maker, Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import acquire, reference_mask

CASES = 6
SEED = 0
SPECS = sample_cohort(CASES, SEED)
NUMBERS = range(CASES)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "export"
    write_cohort(folder, cases=CASES, seed=SEED)
    return folder


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open() as stream:
        return list(csv.DictReader(stream))


def _series(folder: Path, number: int, series: Series = Series.T1_POST) -> list[pydicom.Dataset]:
    """Datasets of a series by instance number, read by pydicom alone."""
    image = folder / _rows(folder)[number]["image"]
    wanted = MAKERS[SPECS[number].acquisition.maker].series[series].number
    datasets = [pydicom.dcmread(path) for path in (image.parent / f"SER{wanted:04d}").iterdir()]
    return sorted(datasets, key=lambda dataset: dataset.InstanceNumber)


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_the_list_names_what_is_there(cohort: Path) -> None:
    rows = _rows(cohort)
    assert list(rows[0]) == ["patient", "image", "reference", "compartment", "tumor_type", "split"]
    assert len(rows) == CASES
    for row, spec in zip(rows, SPECS, strict=True):
        assert (cohort / row["image"]).is_dir()
        assert (cohort / row["reference"]).is_file()
        assert row["image"].startswith(f"{row['patient']}/STUDY/SER")
        assert row["compartment"] == spec.lesion.compartment
        assert row["tumor_type"] == spec.lesion.tumor_type
        assert row["split"] == "train"
        assert row["patient"] == spec.patient


def test_every_study_holds_four_series_and_a_segmentation(cohort: Path) -> None:
    for row in _rows(cohort):
        study = (cohort / row["image"]).parent
        names = sorted(path.name for path in study.iterdir())
        assert len(names) == 5
        assert names[-1] == "SER0900"
        assert len(list((study / "SER0900").iterdir())) == 1


@pytest.mark.parametrize("number", NUMBERS)
def test_geometry_read_back_is_what_was_asked_for(cohort: Path, number: int) -> None:
    spec = SPECS[number].grid
    datasets = _series(cohort, number)
    assert len(datasets) == spec.slices
    positions = np.array([[float(v) for v in dataset.ImagePositionPatient] for dataset in datasets])
    steps = np.diff(positions, axis=0)
    np.testing.assert_allclose(np.linalg.norm(steps, axis=1), spec.slice_spacing_mm, atol=1e-3)
    assert (np.sign(steps[:, 0]) == (-1 if spec.left_to_right else 1)).all()
    for dataset in datasets:
        assert (dataset.Rows, dataset.Columns) == (spec.rows, spec.columns)
        assert [float(v) for v in dataset.PixelSpacing] == [spec.pixel_mm, spec.pixel_mm]
        assert float(dataset.SliceThickness) == spec.slice_thickness_mm
        row, column = np.reshape([float(v) for v in dataset.ImageOrientationPatient], (2, 3))
        assert row @ column == pytest.approx(0, abs=1e-5)
        normal = np.cross(row, column)
        np.testing.assert_allclose(np.cross(normal, steps[0] / np.linalg.norm(steps[0])), 0, atol=1e-4)
        assert float(dataset.SliceLocation) == pytest.approx(
            normal @ [float(v) for v in dataset.ImagePositionPatient], abs=1e-3
        )


@pytest.mark.parametrize("number", NUMBERS)
def test_simpleitk_reads_the_same_grid_and_rescaled_values(cohort: Path, number: int) -> None:
    spec = SPECS[number]
    folder = cohort / _rows(cohort)[number]["image"]
    reader = sitk.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), uid))
    image = reader.Execute()
    asked = sagittal_grid(spec.grid).geometry
    assert image.GetSize() == asked.size_xyz
    np.testing.assert_allclose(image.GetSpacing(), asked.spacing_xyz_mm, atol=1e-3)
    stored = acquire(AnalyticScene(spec), Series.T1_POST).stored
    if image.GetOrigin()[0] != pytest.approx(asked.origin_xyz_mm[0], abs=1e-2):
        stored = stored[::-1]  # GDCM sorts along the normal of rows and columns
    expected = stored * spec.acquisition.rescale_slope + spec.acquisition.rescale_intercept
    np.testing.assert_allclose(sitk.GetArrayFromImage(image), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("number", NUMBERS)
def test_tags_are_those_of_the_maker(cohort: Path, number: int) -> None:
    spec = SPECS[number]
    style = MAKERS[spec.acquisition.maker]
    dataset = _series(cohort, number)[0]
    assert dataset.SOPClassUID == MRImageStorage
    assert dataset.Modality == "MR"
    assert dataset.Manufacturer == spec.acquisition.maker.value
    assert dataset.ManufacturerModelName == spec.acquisition.model
    assert float(dataset.MagneticFieldStrength) == spec.acquisition.field_strength
    assert (
        dataset.BodyPartExamined
        == {"cervical": "CSPINE", "thoracic": "TSPINE", "lumbar": "LSPINE"}[spec.anatomy.region]
    )
    assert list(dataset.ImageType) == list(style.image_type)
    assert dataset.ScanningSequence == "SE"
    assert float(dataset.RepetitionTime) < 800
    assert float(dataset.EchoTime) < 20
    assert ("ContrastBolusAgent" in dataset) == spec.acquisition.agent_recorded
    assert ("SequenceName" in dataset) == (spec.acquisition.maker is Maker.SIEMENS)
    assert ("RescaleSlope" in dataset) == (spec.acquisition.maker is Maker.PHILIPS)
    assert dataset.BitsStored == style.bits_stored
    assert dataset.pixel_array.max() > 100


def test_distractors_are_separated_by_their_tags(cohort: Path) -> None:
    for number in NUMBERS:
        studies, frames, series_uids = set(), set(), set()
        for series in Series:
            dataset = _series(cohort, number, series)[0]
            studies.add(dataset.StudyInstanceUID)
            frames.add(dataset.FrameOfReferenceUID)
            series_uids.add(dataset.SeriesInstanceUID)
            assert (float(dataset.EchoTime) > 80) == (series is Series.T2)
            normal = np.cross(*np.reshape([float(v) for v in dataset.ImageOrientationPatient], (2, 3)))
            assert (abs(normal[2]) > 0.9) == (series is Series.AXIAL_T1)
            if series is not Series.T1_POST:
                assert "ContrastBolusAgent" not in dataset
        assert (len(studies), len(frames), len(series_uids)) == (1, 1, 4)


def test_all_makers_and_both_slice_orders_are_read_back_above() -> None:
    assert {spec.acquisition.maker for spec in SPECS} == set(Maker)
    assert {spec.grid.left_to_right for spec in SPECS} == {True, False}
    assert {spec.grid.turn_degrees != 0 for spec in SPECS} == {True, False}
    assert {spec.lesion.compartment for spec in SPECS} == {Compartment.INTRAMEDULLARY, Compartment.EXTRAMEDULLARY}


def test_identifiers_of_instances_are_unique(cohort: Path) -> None:
    uids = [pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in cohort.rglob("IM*")]
    assert len(set(uids)) == len(uids)
    assert all(uid.is_valid for uid in uids)


@pytest.mark.parametrize("number", NUMBERS)
def test_the_segmentation_is_the_mask_on_the_images_grid(cohort: Path, number: int) -> None:
    spec = SPECS[number]
    source = _series(cohort, number)
    segmentation = hd.seg.segread(cohort / _rows(cohort)[number]["reference"])
    assert segmentation.number_of_segments == 1
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentLabel == "intradural tumor"
    assert segment.SegmentDescription == f"{spec.lesion.compartment} {spec.lesion.tumor_type}"
    assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "108369006"
    assert segmentation.FrameOfReferenceUID == source[0].FrameOfReferenceUID
    pixels = segmentation.get_pixels_by_source_instance(
        [dataset.SOPInstanceUID for dataset in source],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    expected = reference_mask(AnalyticScene(spec).lesion_share())
    np.testing.assert_array_equal(pixels.astype(bool), expected)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        position = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        slices = [dataset for dataset in source if np.allclose(list(dataset.ImagePositionPatient), position, atol=1e-3)]
        assert len(slices) == 1


def test_patients_are_recognisably_fake(cohort: Path) -> None:
    for path in cohort.rglob("IM000001"):
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        assert "Phantom" in str(dataset.PatientName)
        assert dataset.PatientID.startswith("ZZ")
        assert dataset.PatientID not in path.as_posix()


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0})
    write_cohort(tmp_path / "again", cases=CASES, seed=SEED)
    assert _bytes(tmp_path / "again") == _bytes(cohort)


def test_another_seed_gives_other_patients(cohort: Path, tmp_path: Path) -> None:
    write_cohort(tmp_path / "other", cases=1, seed=1)
    first, other = (next(folder.rglob("IM000001")) for folder in (cohort, tmp_path / "other"))
    assert pydicom.dcmread(first).PatientID != pydicom.dcmread(other).PatientID


def test_an_identical_cohort_is_left_alone(cohort: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in cohort.rglob("*")}
    summary = write_cohort(cohort, cases=CASES, seed=SEED)
    assert summary.already_there
    assert (summary.cases, summary.patients) == (CASES, CASES)
    assert {path: path.stat().st_mtime_ns for path in cohort.rglob("*")} == before


@pytest.mark.parametrize("options", [{"cases": 7, "seed": 0}, {"cases": CASES, "seed": 1}])
def test_a_different_cohort_is_in_the_way(cohort: Path, options: dict[str, int]) -> None:
    with pytest.raises(NotWritable, match="another cohort"):
        write_cohort(cohort, **options)


def test_a_cohort_that_lost_files_is_not_taken_for_complete(tmp_path: Path) -> None:
    write_cohort(tmp_path / "export", cases=1)
    next((tmp_path / "export").rglob("IM000003")).unlink()
    with pytest.raises(NotWritable, match="removed or added"):
        write_cohort(tmp_path / "export", cases=1)


@pytest.mark.parametrize("content", ["[]", "{}", '{"step": "convert"}', '{"step": "phantoms", "parameters": {}}'])
def test_a_folder_with_a_foreign_manifest_is_in_the_way(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(NotWritable):
        write_cohort(tmp_path, cases=1)


def test_a_manifest_without_its_summary_is_no_cohort(tmp_path: Path) -> None:
    write_cohort(tmp_path / "export", cases=1)
    path = tmp_path / "export" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["summary"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(NotWritable):
        write_cohort(tmp_path / "export", cases=1)


def test_an_existing_empty_folder_is_filled(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    summary = write_cohort(tmp_path, cases=1, progress=lambda done, total, what="": calls.append((done, total)))
    assert not summary.already_there
    assert summary.files == sum(1 for _ in tmp_path.rglob("IM*"))
    assert 0.1 <= summary.smallest_ml == summary.largest_ml <= 15
    assert calls == [(1, 1)]


def test_a_second_study_lies_in_its_patients_folder(tmp_path: Path) -> None:
    rows = [write_case(tmp_path, AnalyticScene(spec), seed=0).row for spec in sample_cohort(12, 0)[10:]]
    assert rows[0]["patient"] == rows[1]["patient"]
    assert "/STUDY2/" in rows[1]["image"]
    first, second = (pydicom.dcmread(next((tmp_path / row["image"]).iterdir())) for row in rows)
    assert first.PatientID == second.PatientID
    assert first.PatientName == second.PatientName
    assert first.StudyInstanceUID != second.StudyInstanceUID


@pytest.mark.parametrize("cases", [0, -3, 10**9])
def test_an_impossible_number_of_cases(tmp_path: Path, cases: int) -> None:
    with pytest.raises(BadInput, match=str(cases)):
        write_cohort(tmp_path / "export", cases=cases)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_cohort_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cohort(tmp_path / "export", cases=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []
