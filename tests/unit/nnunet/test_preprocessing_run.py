"""Which cases are preprocessed again; nnU-Net's own work is replaced by a file for each part."""

from __future__ import annotations

import errno
import json
import resource
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from small_plans import small_configuration, small_plans, write_plans

from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound, NotWritable, WorkFailed
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, write_volume
from nnunet_spine.nnunet import preprocessing_run
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.preprocessing_run import PARTS, preprocess_dataset
from nnunet_spine.preprocessing.pipeline import IntensitySettings

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
DATASET = "Dataset058_Spine"


class Job:
    """What a pool hands out, already finished."""

    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure

    def result(self) -> None:
        if self.failure:
            raise self.failure


class Pool:
    """A pool whose workers write the plans' gamma into each part; fails at the cases it is told to."""

    failing: dict[str, BaseException]

    def __init__(self, *_arguments: object, **_options: object) -> None:
        pass

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def submit(self, _function, work, output, *_files) -> Job:
        if output.name in self.failing:
            return Job(self.failing[output.name])
        settings = work.plans["configurations"][work.configuration]["spine_preprocessing"]
        for part in PARTS:
            (output.parent / f"{output.name}{part}").write_text(str(settings["gamma"]))
        return Job(None)


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> type[Pool]:
    Pool.failing = {}
    monkeypatch.setattr(preprocessing_run, "worker_pool", Pool)
    monkeypatch.setattr(preprocessing_run, "prepare_processes", lambda *_, **__: None)
    monkeypatch.setattr(preprocessing_run, "as_completed", list)
    monkeypatch.setattr("os.environ", dict(__import__("os").environ))
    return Pool


def volume(value: int) -> Volume:
    return Volume(np.full((4, 5, 6), value, np.int16), Geometry((6, 5, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.from_environment(tmp_path)
    for number, case in enumerate("abc"):
        write_volume(workspace.raw / DATASET / "imagesTr" / f"{case}_0000.nii.gz", volume(number + 1))
        write_volume(workspace.raw / DATASET / "labelsTr" / f"{case}.nii.gz", volume(0))
    (workspace.preprocessed / DATASET).mkdir(parents=True)
    plan(workspace, 0.7)
    return workspace


def plan(workspace: Workspace, gamma: float) -> None:
    write_settings(workspace, {**IntensitySettings().as_json(), "gamma": gamma})


def write_settings(workspace: Workspace, settings: dict[str, Any]) -> None:
    """Plans with intensity settings of ours."""
    configuration = small_configuration(data_identifier="cases", spine_preprocessing=settings)
    write_plans(workspace.preprocessed / DATASET, small_plans(configurations={"3d_fullres": configuration}))


def contents(workspace: Workspace) -> dict[str, str]:
    return {p.stem: p.read_text() for p in sorted((workspace.preprocessed / DATASET / "cases").glob("*.pkl"))}


def test_only_what_is_missing_is_made(workspace: Workspace) -> None:
    assert preprocess_dataset("58", workspace).done == ("a", "b", "c")
    (workspace.preprocessed / DATASET / "cases" / "b_seg.b2nd").unlink()
    again = preprocess_dataset("58", workspace)
    assert (again.done, again.kept) == (("b",), ("a", "c"))


def test_another_image_or_reference_makes_its_case_again(workspace: Workspace) -> None:
    preprocess_dataset("58", workspace)
    write_volume(workspace.raw / DATASET / "imagesTr" / "a_0000.nii.gz", volume(9))
    write_volume(workspace.raw / DATASET / "labelsTr" / "c.nii.gz", volume(1))
    assert preprocess_dataset("58", workspace).done == ("a", "c")
    raw, copied = (workspace.raw / DATASET / "labelsTr", workspace.preprocessed / DATASET / "gt_segmentations")
    assert (copied / "c.nii.gz").read_bytes() == (raw / "c.nii.gz").read_bytes()


@pytest.mark.parametrize(("method", "expected"), [("n4", ["bias_method"]), ("van_leemput", [])])
def test_the_manifest_names_what_the_plans_depart_in(workspace: Workspace, method: str, expected: list[str]) -> None:
    write_settings(workspace, {**IntensitySettings().as_json(), "bias_method": method})
    preprocess_dataset("58", workspace)
    manifest = json.loads((workspace.preprocessed / DATASET / "cases_manifest.json").read_text())
    assert [departure["name"] for departure in manifest["departures"]] == expected


def test_plans_of_an_earlier_version_are_refused_before_any_case(workspace: Workspace) -> None:
    settings = IntensitySettings().as_json()
    del settings["bias_field"]
    write_settings(workspace, settings)
    with pytest.raises(BadInput, match="earlier version.*Run `nnunet-spine plan` again"):
        preprocess_dataset("58", workspace)
    assert contents(workspace) == {}


def test_a_case_that_is_gone_is_removed(workspace: Workspace) -> None:
    preprocess_dataset("58", workspace)
    (workspace.raw / DATASET / "imagesTr" / "a_0000.nii.gz").unlink()
    preprocess_dataset("58", workspace)
    assert sorted(contents(workspace)) == ["b", "c"]


def test_an_interruption_keeps_what_was_finished(workspace: Workspace, pool: type[Pool]) -> None:
    pool.failing = {"c": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        preprocess_dataset("58", workspace)
    pool.failing = {}
    again = preprocess_dataset("58", workspace)
    assert (again.done, again.kept) == (("c",), ("a", "b"))
    assert not list((workspace.preprocessed / DATASET).glob(".*"))


def test_settings_that_went_and_came_back_are_never_mixed(workspace: Workspace, pool: type[Pool]) -> None:
    preprocess_dataset("58", workspace)
    plan(workspace, 1.0)
    pool.failing = {"c": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        preprocess_dataset("58", workspace)
    pool.failing = {}
    plan(workspace, 0.7)
    assert preprocess_dataset("58", workspace).done == ("a", "b", "c")
    assert contents(workspace) == {"a": "0.7", "b": "0.7", "c": "0.7"}


def test_references_that_were_removed_are_copied_again(workspace: Workspace) -> None:
    preprocess_dataset("58", workspace)
    copy = workspace.preprocessed / DATASET / "gt_segmentations" / "b.nii.gz"
    copy.unlink()
    assert preprocess_dataset("58", workspace).done == ()
    assert copy.is_file()


def test_a_worker_that_is_killed_is_no_traceback(workspace: Workspace, pool: type[Pool]) -> None:
    pool.failing = {"b": BrokenProcessPool()}
    with pytest.raises(WorkFailed, match="want of memory"):
        preprocess_dataset("58", workspace)


def test_what_raw_data_must_have(workspace: Workspace) -> None:
    (workspace.raw / DATASET / "labelsTr" / "b.nii.gz").unlink()
    with pytest.raises(NotFound, match="b has an image but no reference"):
        preprocess_dataset("58", workspace)
    for path in (workspace.raw / DATASET / "imagesTr").iterdir():
        path.unlink()
    with pytest.raises(NotFound, match="no training image"):
        preprocess_dataset("58", workspace)


@pytest.mark.parametrize(("configurations", "has"), [({}, "none"), ({"2d": {}}, "2d")])
def test_plans_without_the_configuration(workspace: Workspace, configurations: dict[str, Any], has: str) -> None:
    write_plans(workspace.preprocessed / DATASET, small_plans(configurations=configurations))
    with pytest.raises(BadInput, match=f"no configuration 3d_fullres; it has {has}"):
        preprocess_dataset("58", workspace)


def cases_folder(workspace: Workspace) -> Path:
    return workspace.preprocessed / DATASET / "cases"


def test_a_folder_of_something_else_is_left_alone(workspace: Workspace) -> None:
    folder = cases_folder(workspace)
    (folder / "photos").mkdir(parents=True)
    for name in ("photos/1.jpg", "thesis.docx", "a.pkl"):
        (folder / name).write_text("precious")
    before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(NotWritable, match=r"what is no preprocessed case: photos, thesis\.docx\. Nothing was removed"):
        preprocess_dataset("58", workspace)
    assert {path: path.read_text() for path in folder.rglob("*") if path.is_file()} == before
    assert not (workspace.preprocessed / DATASET / "gt_segmentations").exists()


def test_many_strays_are_a_count_and_five_names(workspace: Workspace) -> None:
    cases_folder(workspace).mkdir()
    for number in range(9):
        (cases_folder(workspace) / f"s{number}.txt").write_text("")
    with pytest.raises(NotWritable, match=r"s0\.txt, s1\.txt, s2\.txt, s3\.txt, s4\.txt and 4 more"):
        preprocess_dataset("58", workspace)


def test_files_that_look_like_cases_are_removed_only_if_preprocessing_made_them(workspace: Workspace) -> None:
    folder = cases_folder(workspace)
    folder.mkdir()
    for name in ("theirs.pkl", "theirs.b2nd", "theirs.npz"):
        (folder / name).write_text("precious")
    with pytest.raises(NotWritable, match="not made by `nnunet-spine preprocess` of the plans nnUNetSpinePlans"):
        preprocess_dataset("58", workspace)
    manifest = {"step": "preprocess", "parameters": {"plans": "OtherPlans"}}
    for odd in (manifest, {"step": "train"}, {}, {"step": "preprocess", "parameters": []}):
        (folder.parent / "cases_manifest.json").write_text(json.dumps(odd))
        with pytest.raises(NotWritable, match="not made by"):
            preprocess_dataset("58", workspace)
    assert len(list(folder.iterdir())) == 3


def test_cases_that_nnunet_made_by_these_plans_are_made_again(workspace: Workspace) -> None:
    configuration = small_configuration()
    write_plans(workspace.preprocessed / DATASET, small_plans(configurations={"3d_fullres": configuration}))
    folder = workspace.preprocessed / DATASET / configuration["data_identifier"]
    folder.mkdir()
    for name in ("a.pkl", "gone.b2nd", ".DS_Store"):
        (folder / name).write_text("")
    assert preprocess_dataset("58", workspace).done == ("a", "b", "c")
    assert {path.name for path in folder.iterdir()} == {f"{c}{part}" for c in "abc" for part in PARTS} | {".DS_Store"}


def test_a_link_is_not_emptied_nor_written_into(workspace: Workspace, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "a.pkl").write_text("precious")
    cases_folder(workspace).symlink_to(precious)
    with pytest.raises(NotWritable, match="cases is a link"):
        preprocess_dataset("58", workspace)
    cases_folder(workspace).unlink()
    (workspace.preprocessed / DATASET / "gt_segmentations").symlink_to(precious)
    with pytest.raises(NotWritable, match="gt_segmentations is a link"):
        preprocess_dataset("58", workspace)
    assert [(path.name, path.read_text()) for path in precious.iterdir()] == [("a.pkl", "precious")]


@pytest.mark.parametrize("identifier", ["gt_segmentations", "..", "/", "../../nnUNet_raw", "", "dataset.json"])
def test_a_folder_that_plans_may_not_name(workspace: Workspace, identifier: str) -> None:
    """The folder that is emptied of old cases is named by the plans, which may be anybody's."""
    (workspace.raw / DATASET / "a.pkl").write_text("precious")
    configuration = small_configuration(data_identifier=identifier)
    write_plans(workspace.preprocessed / DATASET, small_plans(configurations={"3d_fullres": configuration}))
    before = sorted(workspace.raw.rglob("*"))
    with pytest.raises((BadInput, NotWritable)):
        preprocess_dataset("58", workspace)
    assert sorted(workspace.raw.rglob("*")) == before


@pytest.mark.parametrize("state", ["[]", "{", "null", '{"step": NaN}'])
def test_an_odd_manifest_is_a_sentence(workspace: Workspace, state: str) -> None:
    (workspace.preprocessed / DATASET / "cases_manifest.json").write_text(state)
    with pytest.raises(BadInput, match="cases_manifest"):
        preprocess_dataset("58", workspace)


def test_an_odd_list_of_inputs_keeps_nothing(workspace: Workspace) -> None:
    preprocess_dataset("58", workspace)
    path = workspace.preprocessed / DATASET / "cases_manifest.json"
    state = json.loads(path.read_text())
    for inputs in (["a"], None, {"a": 3}):
        path.write_text(json.dumps({**state, "inputs": inputs}))
        assert preprocess_dataset("58", workspace).done == ("a", "b", "c")


def test_cases_of_another_orientation_are_made_again(workspace: Workspace) -> None:
    """The test images have the axes of LPS. Version 0.1 named no orientation and turned nothing."""
    preprocess_dataset("58", workspace)
    path = workspace.preprocessed / DATASET / "cases_manifest.json"
    state = json.loads(path.read_text())
    assert state["parameters"]["orientation"] == "PIL"
    del state["parameters"]["orientation"]
    path.write_text(json.dumps(state))
    assert preprocess_dataset("58", workspace).done == ("a", "b", "c")
    assert preprocess_dataset("58", workspace).done == ()
    plans = small_plans(configurations={"3d_fullres": small_configuration(data_identifier="cases")})
    plans["spine_orientation"] = {"axes": "LPS", "largest_angle_degrees": 0.0}
    write_plans(workspace.preprocessed / DATASET, plans)
    assert preprocess_dataset("58", workspace).done == ("a", "b", "c")
    state = json.loads(path.read_text())
    del state["parameters"]["orientation"]
    path.write_text(json.dumps(state))
    assert preprocess_dataset("58", workspace).done == ()


@pytest.mark.parametrize(
    "failure",
    [
        *(BadInput("not finite"), GeometryMismatch("not one grid"), RuntimeError("damaged")),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_a_worker_names_the_case_that_fails(workspace: Workspace, monkeypatch, failure: Exception) -> None:
    class Preprocessor:
        def __init__(self, verbose: bool) -> None:
            pass

        def run_case_save(self, *_arguments: object) -> None:
            raise failure

    class Plans:
        def __init__(self, _content: dict[str, Any]) -> None:
            pass

        plans: ClassVar[dict[str, Any]] = {}

        def get_configuration(self, _name: str) -> Plans:
            return self

        preprocessor_name = "another"
        preprocessor_class = Preprocessor

    monkeypatch.setattr("nnunetv2.utilities.plans_handling.plans_handler.PlansManager", Plans)
    raw, folder = workspace.raw / DATASET, workspace.preprocessed / DATASET
    files = (raw / "imagesTr" / "b_0000.nii.gz", raw / "labelsTr" / "b.nii.gz")
    work = (preprocessing_run._Work({}, "3d_fullres", {}), folder / "b", *files)
    expected = NotWritable if isinstance(failure, OSError) else BadInput
    with pytest.raises(expected, match=f"b cannot be preprocessed: .*{failure.args[-1]}"):
        preprocessing_run._preprocess_case(*work)
    files[0].write_bytes(files[0].read_bytes()[:-20])
    with pytest.raises(BadInput, match="b cannot be preprocessed: .* damaged"):
        preprocessing_run._preprocess_case(*work)


def test_what_blosc2_does_not_say_of_a_full_disk_is_asked_of_the_system(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # as a full disk, but without one
    (tmp_path / "case.b2nd").write_bytes(bytes(100))
    with pytest.raises(RuntimeError, match="creating the NDArray"), preprocessing_run._whole_parts(tmp_path / "case"):
        raise RuntimeError("Error while creating the NDArray")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20 + 200, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"), preprocessing_run._whole_parts(tmp_path / "case"):
            raise RuntimeError("Error while creating the NDArray")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_before_the_first_case_is_a_sentence(workspace: Workspace, monkeypatch) -> None:
    def full(**_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(preprocessing_run.tempfile, "mkdtemp", full)
    with pytest.raises(NotWritable, match="Cannot write .*: No space left on device"):
        preprocess_dataset("58", workspace)
