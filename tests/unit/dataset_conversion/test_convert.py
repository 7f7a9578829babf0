from __future__ import annotations

import csv
import gzip
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Case, Compartment, Region, read_cases, read_splits
from nnunet_spine.dataset_conversion import case_conversion
from nnunet_spine.dataset_conversion.conversion import Conversion
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.sources import Details, Identity, SourceCase
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable
from nnunet_spine.images import read_volume

NAME = "Dataset058_Spine"
IDENTITY = ("Zebulon", "Quirke", "ZQ-7741", "19410203", "20190304", "ACC991", "Doktor", "1.2.3.1", "IM00", "SER5")


def run(source: Path, root: Path, **options: Any) -> Conversion:
    return convert(
        source,
        **{
            "dataset": 58,
            "name": "Spine",
            "raw": root / "nnUNet_raw",
            "preprocessed": root / "nnUNet_preprocessed",
            "results": root / "nnUNet_results",
            **options,
        },
    )


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_data_set_is_what_nnunet_expects(export: Path, tmp_path: Path) -> None:
    conversion = run(export, tmp_path / "out")
    names = [f"spine_{n:03d}" for n in range(1, 6)]
    folder = tmp_path / "out" / "nnUNet_raw" / NAME
    assert conversion.folder == folder
    assert sorted(p.name for p in folder.iterdir()) == [
        *("cases.csv", "conversion_report.json", "dataset.json", "imagesTr", "labelsTr", "manifest.json")
    ]
    assert sorted(p.name for p in (folder / "imagesTr").iterdir()) == [f"{name}_0000.nii.gz" for name in names]
    assert sorted(p.name for p in (folder / "labelsTr").iterdir()) == [f"{name}.nii.gz" for name in names]
    assert json.loads((folder / "dataset.json").read_text()) == {
        "channel_names": {"0": "T1 post-contrast"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
    }
    cases = read_cases(folder / "cases.csv")
    assert [case.case for case in cases] == names
    assert sorted(case.patient for case in cases) == [f"P{n:03d}" for n in range(1, 6)]
    assert cases[0] == Case(
        "spine_001", cases[0].patient, Compartment.INTRAMEDULLARY, "ependymoma", "SIEMENS", None, Region.UNKNOWN
    )
    folds = read_splits(tmp_path / "out" / "nnUNet_preprocessed" / NAME / "splits_final.json")
    assert [len(fold.test) for fold in folds] == [2, 1, 1, 1]
    assert sorted(case for fold in folds for case in fold.test) == names
    assert tuple(folds) == conversion.folding.folds


def mapped(root: Path) -> dict[str, dict[str, str]]:
    with (root / "private" / f"{NAME}_mapping.csv").open() as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def test_dicom_voxels_and_masks_are_where_they_were(make: Any, export: Path, tmp_path: Path) -> None:
    conversion = run(export, tmp_path / "out")
    for case, row in mapped(tmp_path / "out").items():
        index = int(row["image"].split("/")[0].removeprefix("Zebulon"))
        plan = make.Plan(make.asymmetric(seed=index), origin=(-8.0, index, 90.0))
        image = read_volume(conversion.folder / "imagesTr" / f"{case}_0000.nii.gz")
        label = read_volume(conversion.folder / "labelsTr" / f"{case}.nii.gz")
        assert image.geometry == label.geometry
        assert (image.array.dtype, label.array.dtype) == (np.int16, np.uint8)
        assert np.array_equal(image.array, plan.array[::-1])  # the source's slices go to the right, ours to the left
        assert np.array_equal(label.array, make.blob()[::-1])
        for place in [(0, 0, 0), (5, 9, 7), (2, 3, 4)]:
            stored = (5 - place[0], *place[1:])
            found = image.image().TransformIndexToPhysicalPoint([int(v) for v in stored[::-1]])
            assert np.allclose(found, plan.point(*place), atol=1e-3)


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "SLP"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_any_orientation_gives_the_same_case(make: Any, tmp_path: Path, orientation: str, suffix: str) -> None:
    image = make.itk_image(make.asymmetric().astype(np.float32) + 0.5, orientation)
    sitk.WriteImage(image, str(tmp_path / f"i{suffix}"))
    sitk.WriteImage(make.itk_image(make.blob(), "LPS"), str(tmp_path / f"r{suffix}"))
    outcome = case_conversion.convert_case(job_of(tmp_path, suffix))
    assert outcome.problems == ()
    assert outcome.volume_ml == pytest.approx(13 * 3.0 * 0.7 * 0.9 / 1000)
    found = nibabel.load(tmp_path / "image.nii.gz")  # an independent reader: RAS
    truth = make.asymmetric().astype(np.float32) + 0.5
    affine = found.affine
    for z, y, x in [(0, 0, 0), (5, 9, 7), (1, 2, 3), (4, 0, 6)]:
        lps = np.array([-5.0 + 3.0 * x, -20.0 + 0.7 * y, 30.0 + 0.9 * z])
        index = np.linalg.solve(affine, [-lps[0], -lps[1], lps[2], 1.0])[:3]
        assert np.allclose(index, np.rint(index), atol=1e-3)
        place = tuple(int(v) for v in np.rint(index))
        assert found.get_fdata()[place] == truth[z, y, x]
        assert nibabel.load(tmp_path / "label.nii.gz").get_fdata()[place] == make.blob()[z, y, x]
    assert nibabel.aff2axcodes(affine) == ("P", "I", "L")


def job_of(folder: Path, suffix: str) -> case_conversion.Job:
    source = SourceCase("row 2", (folder / f"i{suffix}",), folder / f"r{suffix}", Details(), Identity("p"))
    return case_conversion.Job(source, folder / "image.nii.gz", folder / "label.nii.gz")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.0, 32767.0], np.int16),
        ([-32768.0, 5.0], np.int16),
        ([0.0, 32768.0], np.float32),
        ([0.0, 0.5], np.float32),
    ],
)
def test_the_smallest_type_that_keeps_the_values(values: list[float], kind: type) -> None:
    stored = case_conversion.compact(np.array(values))
    assert stored.dtype == kind
    assert stored.tolist() == values


def test_nothing_of_the_patient_leaves_but_in_the_mapping(export: Path, tmp_path: Path) -> None:
    (export / "Zebulon_note.txt").write_text("Zebulon")
    conversion = run(export, tmp_path / "out")
    for name, content in files_of(tmp_path / "out").items():
        text = (gzip.decompress(content) if name.endswith(".gz") else content).decode("latin-1")
        found = [word for word in IDENTITY if word in text or word in name]
        assert bool(found) == name.startswith("private"), (name, found)
    for path in conversion.folder.rglob("*.nii.gz"):
        header = nibabel.load(path).header
        assert [bytes(header[key]).strip(b"\0") for key in ("descrip", "aux_file", "db_name", "intent_name")] == [
            b""
        ] * 4
    assert stat.S_IMODE(conversion.mapping.stat().st_mode) == 0o600
    assert not any(word in f"{conversion.problems} {conversion.cases}" for word in IDENTITY)


def assert_same_output(one_root: Path, other_root: Path) -> None:
    one, other = files_of(one_root), files_of(other_root)
    manifest = f"nnUNet_raw/{NAME}/manifest.json"
    first, second = (json.loads(files.pop(manifest)) for files in (one, other))
    assert first.pop("created")
    assert second.pop("created")
    assert first == second
    assert one == other


def test_two_runs_give_the_same_bytes(export: Path, tmp_path: Path) -> None:
    run(export, tmp_path / "a")
    run(export, tmp_path / "b")
    assert_same_output(tmp_path / "a", tmp_path / "b")


def test_processes_side_by_side_give_the_same_bytes(make: Any, volumes: Path, tmp_path: Path) -> None:
    for index in range(5, 8):
        sitk.WriteImage(make.itk_image(make.asymmetric(seed=index)), str(volumes.with_name(f"i{index}.nii.gz")))
        sitk.WriteImage(make.itk_image(make.blob()), str(volumes.with_name(f"r{index}.nii.gz")))
        with volumes.open("a") as stream:
            stream.write(f"p{index},i{index}.nii.gz,r{index}.nii.gz,,,,,,\n")
    run(volumes, tmp_path / "a", processes=1)
    run(volumes, tmp_path / "b", processes=2)
    assert_same_output(tmp_path / "a", tmp_path / "b")


def test_the_manifest_tells_seed_inputs_and_departures(export: Path, tmp_path: Path) -> None:
    manifest = json.loads((run(export, tmp_path, folds=2).folder / "manifest.json").read_text())
    assert manifest["parameters"]["folds"] == 2
    assert manifest["departures"] == [{"name": "folds", "protocol": 4, "run": 2, "origin": "documented"}]
    assert sorted(manifest["inputs"]) == [f"spine_00{n} {what}" for n in range(1, 6) for what in ("image", "reference")]


def test_the_same_again_is_left_alone(export: Path, tmp_path: Path) -> None:
    first = run(export, tmp_path / "out")
    before = files_of(tmp_path / "out")
    again = run(export, tmp_path / "out")
    assert again.already_converted
    assert not first.already_converted
    assert files_of(tmp_path / "out") == before
    assert (again.cases, again.folding, again.problems) == (first.cases, first.folding, first.problems)


def test_what_is_missing_beside_the_data_set_is_made_again(export: Path, tmp_path: Path) -> None:
    run(export, tmp_path / "out")
    before = files_of(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "nnUNet_preprocessed")
    shutil.rmtree(tmp_path / "out" / "private")
    assert run(export, tmp_path / "out").already_converted
    assert files_of(tmp_path / "out") == before


def test_renamed_source_files_are_the_same_source(export: Path, tmp_path: Path) -> None:
    run(export, tmp_path / "out")
    for path in sorted((export / "Zebulon0" / "SER5").iterdir()):
        path.rename(path.with_name(f"X{path.name[::-1]}"))
    assert run(export, tmp_path / "out").already_converted


@pytest.mark.parametrize("options", [{"seed": 1}, {"folds": 3}])
def test_other_options_do_not_overwrite(export: Path, tmp_path: Path, options: dict[str, int]) -> None:
    run(export, tmp_path / "out")
    before = files_of(tmp_path / "out")
    with pytest.raises(NotWritable, match="already exists, made by something else or with other options"):
        run(export, tmp_path / "out", **options)
    assert files_of(tmp_path / "out") == before


def test_a_number_under_another_name_is_refused(export: Path, tmp_path: Path) -> None:
    run(export, tmp_path / "out")
    before = files_of(tmp_path / "out")
    with pytest.raises(NotWritable, match="holds Dataset058_Spine, which has the same number"):
        run(export, tmp_path / "out", name="Other")
    assert files_of(tmp_path / "out") == before


@pytest.mark.parametrize("folder", ["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"])
def test_a_number_in_use_anywhere_is_refused(export: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "out" / folder / "Dataset058_Liver").mkdir(parents=True)
    with pytest.raises(NotWritable, match="Dataset058_Liver"):
        run(export, tmp_path / "out")


def test_preprocessed_cases_of_an_older_data_set_are_not_mixed_in(export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "nnUNet_preprocessed" / NAME
    folder.mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text("{}")
    with pytest.raises(NotWritable, match="holds preprocessed cases"):
        run(export, tmp_path / "out")


def test_an_unusable_study_is_left_out_and_named(make: Any, export: Path, tmp_path: Path) -> None:
    victim = sorted((export / "Zebulon2" / "SER5").iterdir())
    plan_file = next(path for path in victim if position_of(path) == -16.0)  # the third of six slices
    plan_file.unlink()
    make.write_study(export / "Zebulon9", make.Plan(make.asymmetric(), patient="no reference", study="1.2.3.99"))
    conversion = run(export, tmp_path / "out")
    assert len(conversion.cases) == 4
    assert conversion.left_out == 2
    errors = [p.describe() for p in conversion.problems if p.severity is Severity.ERROR]
    assert errors[0].startswith("study 3: the reference of series 5 was drawn on 1 slice that is not in the export")
    assert errors[1].startswith("study 6: no DICOM SEG or RTSTRUCT references series 5")
    report = json.loads((conversion.folder / "conversion_report.json").read_text())
    assert (report["cases"], report["left_out"]) == (4, 2)
    assert run(export, tmp_path / "out").left_out == 2
    assert sorted(mapped(tmp_path / "out")) == ["", *[f"spine_00{n}" for n in range(1, 5)]]


def position_of(path: Path) -> float:
    return float(pydicom.dcmread(path).ImagePositionPatient[0])


def test_held_out_cases_go_to_the_test_folders(volumes: Path, tmp_path: Path) -> None:
    rows = volumes.read_text().replace("meningioma,,", "meningioma,test,", 1)
    volumes.write_text(rows)
    conversion = run(volumes, tmp_path / "out")
    assert [len(list((conversion.folder / name).iterdir())) for name in ("imagesTr", "labelsTr")] == [4, 4]
    (held_out,) = (conversion.folder / "imagesTs").iterdir()
    assert (conversion.folder / "labelsTs" / held_out.name.replace("_0000", "")).is_file()
    assert held_out.name.removesuffix("_0000.nii.gz") not in conversion.folding.strata
    assert json.loads((conversion.folder / "dataset.json").read_text())["numTraining"] == 4


def test_two_cases_of_a_patient_stay_in_one_fold(volumes: Path, tmp_path: Path) -> None:
    volumes.write_text(volumes.read_text().replace("ZQ-77411", " zq-77410"))
    conversion = run(volumes, tmp_path / "out")
    assert conversion.patients == 4
    patient_of = {case.case: case.patient for case in conversion.cases}
    for fold in conversion.folding.folds:
        assert not {patient_of[c] for c in fold.train} & {patient_of[c] for c in fold.test}


def test_one_image_under_two_patients_is_told(volumes: Path, tmp_path: Path) -> None:
    shutil.copy(volumes.with_name("i1.nii.gz"), volumes.with_name("i4.nii.gz"))
    conversion = run(volumes, tmp_path / "out")
    (problem,) = conversion.problems
    rows = mapped(tmp_path / "out").values()
    copies = sorted(row["case"] for row in rows if row["image"] in ("i1.nii.gz", "i4.nii.gz"))
    assert (problem.where, problem.found) == (", ".join(copies), "the same image under different patients")
    assert conversion.left_out == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda image, _: np.copyto(image, np.where(image < 9, np.nan, image)), "not finite"),
        (lambda image, _: image.fill(3.0), "constant"),
        (lambda _, mask: mask.fill(0), "empty"),
    ],
)
def test_a_bad_pair_is_left_out(make: Any, volumes: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    image, mask = make.asymmetric().astype(np.float32), make.blob()
    spoil(image, mask)
    sitk.WriteImage(make.itk_image(image), str(volumes.parent / "i2.nii.gz"))
    sitk.WriteImage(make.itk_image(mask), str(volumes.parent / "r2.nii.gz"))
    conversion = run(volumes, tmp_path / "out")
    (problem,) = conversion.problems
    assert (problem.severity, problem.where) == (Severity.ERROR, "row 4")
    assert message in problem.found
    assert len(conversion.cases) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": 0}, "Expected 1 to 999"),
        ({"dataset": 1000}, "Expected 1 to 999"),
        ({"name": "a b"}, "letters, digits and underscores"),
        ({"name": "../x"}, "letters, digits and underscores"),
        ({"name": ""}, "letters, digits and underscores"),
        ({"folds": 1}, "at least 2"),
        ({"folds": 6}, "at most 5 folds"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_options_write_nothing(volumes: Path, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        run(volumes, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_bad_sources_write_nothing(tmp_path: Path, volumes: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("x")
    for source, kind in [("absent", NotFound), ("empty", BadInput), ("text.txt", BadInput)]:
        with pytest.raises(kind):
            run(tmp_path / source, tmp_path / "out")
    volumes.with_name("i0.nii.gz").write_text("text")
    with pytest.raises(BadInput):
        run(volumes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_usable_is_an_error_that_says_why(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path / "export", make.Plan(make.asymmetric()))
    with pytest.raises(
        BadInput, match=r"No case of the source can be used; nothing was written\. study 1: no DICOM SEG"
    ):
        run(tmp_path / "export", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError, MemoryError])
def test_an_interrupted_conversion_leaves_nothing(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[BaseException]
) -> None:
    def fail(done: int, total: int, what: str = "") -> None:
        if total == 5 and done == 3:
            raise failure

    with pytest.raises(failure):
        run(export, tmp_path / "out", progress=fail)
    assert not (tmp_path / "out").exists()


def test_an_interruption_at_the_very_end_leaves_nothing(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, target: Path) -> Path:
        if target.name == NAME:
            raise KeyboardInterrupt
        return rename(self, target)

    rename = Path.replace
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        run(export, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failure_keeps_what_was_there(export: Path, tmp_path: Path) -> None:
    other = tmp_path / "out" / "nnUNet_raw" / "Dataset001_Other"
    other.mkdir(parents=True)
    (other / "dataset.json").write_text("{}")
    with pytest.raises(NnunetSpineError):
        run(export, tmp_path / "out", folds=6)
    assert files_of(tmp_path / "out") == {"nnUNet_raw/Dataset001_Other/dataset.json": b"{}"}


def test_a_file_in_the_way_is_refused(export: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotWritable):
        run(export, tmp_path / "out")


def test_the_mapping_goes_where_it_is_told(export: Path, tmp_path: Path) -> None:
    conversion = run(export, tmp_path / "out", mapping=tmp_path / "safe" / "m.csv")
    assert conversion.mapping == tmp_path / "safe" / "m.csv"
    assert conversion.mapping.read_text().count("ZQ-7741") == 5
    assert not (tmp_path / "out" / "private").exists()
