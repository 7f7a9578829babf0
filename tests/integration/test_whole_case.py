"""Predicting whole cases gives the bits of nnU-Net's predictor, and leaves to it what it is not made for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_spine.errors import WorkFailed
from nnunet_spine.nnunet.runtime import quiet
from nnunet_spine.nnunet.whole_case import WholeCaseModel, load_model
from nnunet_spine.training.run import find_trainer

CHECKPOINT = "checkpoint_final.pth"


def untrained(tiny, folder: Path, trainer_name: str, folds: tuple[int, ...]) -> Path:
    """A model's folder with the first weights of each fold."""
    plans, dataset = (
        json.loads((tiny.preprocessed / n).read_text()) for n in ("nnUNetSpinePlans.json", "dataset.json")
    )
    tiny.workspace.apply()
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True)
        with quiet():
            planned = {**plans, "continue_training": False}
            trainer = find_trainer(trainer_name)(planned, "3d_fullres", fold, dataset, torch.device("cpu"))
            trainer.initialize()
            trainer.save_checkpoint(str(folder / f"fold_{fold}" / CHECKPOINT))
    for name, content in (("plans.json", plans), ("dataset.json", dataset)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def loaded(folder: Path, folds: tuple[int, ...]) -> WholeCaseModel:
    model = load_model(folder, folds, CHECKPOINT)
    assert model is not None
    return model


@pytest.mark.parametrize("trainer", ["nnUNetTrainerSpine", "nnUNetTrainerSpineNoResidual"])
@pytest.mark.parametrize("folds", [(0,), (0, 1, 2)])
def test_scores_have_the_bits_of_nnunets_predictor(tiny, tmp_path: Path, trainer: str, folds, threads: int) -> None:
    folder = untrained(tiny, tmp_path, trainer, folds)
    with quiet():
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(folder), folds, CHECKPOINT)
    model = loaded(folder, folds)
    grid = model.model.configuration.patch_size
    generator = torch.Generator().manual_seed(threads)
    for shape in (grid, [n - 1 for n in grid], [grid[0] // 2, grid[1], grid[2] - 5]):
        image = torch.rand((1, *shape), generator=generator)
        theirs = predictor.predict_logits_from_preprocessed_data(image)
        ours = model.scores(image)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(ours, theirs)
        assert ours.float().std() > 0


def test_infinite_scores_are_no_segmentation(tiny, tmp_path: Path) -> None:
    model = loaded(untrained(tiny, tmp_path, "nnUNetTrainerSpine", (0,)), (0,))
    with torch.no_grad():
        list(model.networks[0].parameters())[-1].fill_(1e6)  # beyond half precision
    with pytest.raises(WorkFailed, match="infinite scores"):
        model.scores(torch.rand((1, *model.model.configuration.patch_size)))


def test_a_model_that_mirrors_is_left_to_nnunet(tiny, tmp_path: Path) -> None:
    folder = untrained(tiny, tmp_path, "nnUNetTrainerSpine", (0,))
    path = folder / "fold_0" / CHECKPOINT
    content = torch.load(path, weights_only=False)
    torch.save({**content, "inference_allowed_mirroring_axes": (0, 1, 2)}, path)
    assert load_model(folder, (0,), CHECKPOINT) is None


def test_another_trainer_is_left_to_nnunet(tiny, tmp_path: Path) -> None:
    folder = untrained(tiny, tmp_path, "nnUNetTrainerSpine", (0,))
    path = folder / "fold_0" / CHECKPOINT
    torch.save({**torch.load(path, weights_only=False), "trainer_name": "nnUNetTrainerOfAnybody"}, path)
    assert load_model(folder, (0,), CHECKPOINT) is None
