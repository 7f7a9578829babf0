from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path

import pytest
from small_plans import small_configuration, small_plans, write_plans

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.errors import BadInput, MissingDependency, NotFound
from nnunet_spine.nnunet.environment import Workspace, trainers_folder
from nnunet_spine.protocol import PROTOCOL, VARIANTS, Augmentation
from nnunet_spine.training import variants
from nnunet_spine.training.run import TrainingJob, find_trainer, fold_folder, is_complete, train_fold

CHANGES = {
    "nnUNetTrainerSpine": {},
    "nnUNetTrainerSpine250Iterations": {"iterations_per_epoch": 250},
    "nnUNetTrainerSpineAugmented": {"augmentation": Augmentation.NNUNET},
    "nnUNetTrainerSpineRandBiasField": {"augmentation": Augmentation.RAND_BIAS_FIELD},
    "nnUNetTrainerSpineNoResidual": {"residual_units": 0},
    "nnUNetTrainerSpineNoBackground": {"loss_include_background": False},
}


def test_each_variant_changes_one_value() -> None:
    assert set(VARIANTS) == set(CHANGES)
    for name, protocol in VARIANTS.items():
        changed = {
            f.name: getattr(protocol, f.name)
            for f in fields(protocol)
            if getattr(protocol, f.name) != getattr(PROTOCOL, f.name)
        }
        assert changed == CHANGES[name]
        assert getattr(variants, name).variant is protocol


def test_each_module_gives_the_class_of_the_package() -> None:
    names = {p.stem for p in trainers_folder().glob("*.py")} - {"__init__"}
    assert names == {*CHANGES, "nnUNetTrainerDurable", "nnUNetTrainerSpineDemoBaseline"}
    for name in names:
        module = importlib.import_module(f"nnunet_spine.trainers.{name}")
        assert getattr(module, name) is getattr(variants, name)
        assert module.__all__ == [name]


def test_the_demo_baseline_overrides_nothing_but_its_constructor() -> None:
    own = {k for k in vars(variants.nnUNetTrainerSpineDemoBaseline) if not k.startswith("__") or k == "__init__"}
    assert own == {"__init__"}


def test_our_trainers_are_found_without_nnunets_search(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_trainer("nnUNetTrainerSpine") is variants.nnUNetTrainerSpine


def test_a_trainer_that_nobody_has() -> None:
    with pytest.raises(NotFound, match="nnUNetTrainerSpine250Iterations"):
        find_trainer("nnUNetTrainerSpineMagic")


def test_a_broken_torchvision_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("nnunetv2.utilities.find_objects.recursive_find_trainer_class_by_name", broken)
    with pytest.raises(MissingDependency, match=r"pip install -c constraints\.txt"):
        find_trainer("nnUNetTrainer")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.from_environment(tmp_path)
    folder = workspace.preprocessed / "Dataset058_Spine"
    write_splits(folder / "splits_final.json", [Fold(0, ("b",), ("a",)), Fold(1, ("a",), ("b",))])
    return workspace


def test_training_wants_plans_then_cases_then_a_fold(workspace: Workspace) -> None:
    folder = workspace.preprocessed / "Dataset058_Spine"
    with pytest.raises(NotFound, match="nnunet-spine plan 58"):
        train_fold(TrainingJob("58", 0), workspace)
    write_plans(folder, small_plans(configurations={}))
    with pytest.raises(BadInput, match="no configuration 3d_fullres; it has none"):
        train_fold(TrainingJob("58", 0), workspace)
    configurations = {
        "3d_fullres": small_configuration(data_identifier="cases_3d"),
        "heir": {"inherits_from": "3d_fullres"},
        "ring": {"inherits_from": "ring"},
    }
    write_plans(folder, small_plans(configurations=configurations))
    with pytest.raises(BadInput, match="no configuration 2d; it has 3d_fullres, heir, ring"):
        train_fold(TrainingJob("58", 0, configuration="2d"), workspace)
    with pytest.raises(BadInput, match='configuration ring: `inherits_from` is "ring".*without a circle'):
        train_fold(TrainingJob("58", 0, configuration="ring"), workspace)
    (folder / "cases_3d").mkdir()
    (folder / "cases_3d" / "a.pkl").write_bytes(b"")
    for name in ("3d_fullres", "heir"):
        with pytest.raises(NotFound, match="1 cases of fold 0 .*cases_3d: b\\..*nnunet-spine preprocess 58"):
            train_fold(TrainingJob("58", 0, configuration=name), workspace)
    with pytest.raises(NotFound, match="no fold 2.*folds 0 to 1"):
        train_fold(TrainingJob("58", 2), workspace)
    assert not workspace.results.exists()


@pytest.mark.parametrize("option", [{"epochs": 0}, {"seed": -1}, {"threads": 0}, {"threads": 10**12}])
def test_numbers_that_make_no_sense(workspace: Workspace, option: dict[str, int]) -> None:
    with pytest.raises(BadInput, match=f"--{next(iter(option))}"):
        train_fold(TrainingJob("58", 0, **option), workspace)


def test_a_fold_is_complete_with_checkpoint_summary_and_every_prediction(workspace: Workspace) -> None:
    folder = fold_folder(TrainingJob("58", 0), workspace)
    assert folder.parent.name == "nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres"
    for name in ("checkpoint_final.pth", "validation/summary.json", "validation/a.nii.gz"):
        assert not is_complete(folder, ["a"])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    assert is_complete(folder, ["a"])


@pytest.mark.parametrize("value", ["many", "-3", "0", "2.5"])
def test_a_variable_that_is_no_number_of_epochs(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    from nnunet_spine.nnunet.environment import positive_variable

    monkeypatch.setenv("NNUNET_SPINE_EPOCHS", value)
    with pytest.raises(BadInput, match="NNUNET_SPINE_EPOCHS"):
        positive_variable("NNUNET_SPINE_EPOCHS", 400)


class Scribe(variants.nnUNetTrainerSpine):
    """A trainer that has nothing but a folder, and writes a line for a checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.output_folder = str(folder)
        self._best_ema = None
        self.written = 0

    def save_checkpoint(self, filename: str) -> None:
        self.written += 1
        Path(filename).unlink(missing_ok=True)
        Path(filename).write_text(f"checkpoint {self.written}")


def no_links(*_paths: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("links", [True, False])
def test_the_best_checkpoint_is_kept_beside_the_latest(tmp_path: Path, monkeypatch, links: bool) -> None:
    if not links:  # as on a file system that has none
        monkeypatch.setattr("os.link", no_links)
    trainer = Scribe(tmp_path)
    for ema in (0.2, 0.5, 0.4):
        trainer._write_checkpoints(ema)
    latest, best = tmp_path / "checkpoint_latest.pth", tmp_path / "checkpoint_best.pth"
    assert (latest.read_text(), best.read_text()) == ("checkpoint 3", "checkpoint 2")
    trainer._write_checkpoints(0.6)
    assert (latest.read_text(), best.read_text()) == ("checkpoint 4", "checkpoint 4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint_best.pth", "checkpoint_latest.pth"]


@pytest.mark.parametrize(("text", "value"), [("", 400), ("7", 7)])
def test_a_variable_sets_a_number_or_leaves_the_protocols(monkeypatch, text: str, value: int) -> None:
    from nnunet_spine.nnunet.environment import positive_variable

    monkeypatch.setenv("NNUNET_SPINE_EPOCHS", text)
    assert positive_variable("NNUNET_SPINE_EPOCHS", 400) == value


def test_a_folds_seed_depends_on_seed_and_fold_alone() -> None:
    from dataclasses import replace

    def seed(run_seed: int, fold: int | str) -> int:
        trainer = Scribe(Path())
        trainer.protocol, trainer.fold = replace(PROTOCOL, seed=run_seed), fold
        return trainer.training_seed

    seeds = [seed(s, f) for s in (0, 1) for f in (0, 1, 2, 3, "all")]
    assert len(set(seeds)) == len(seeds)
    assert seed(0, 2) == seeds[2]
