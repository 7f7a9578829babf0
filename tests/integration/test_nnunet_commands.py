"""After `eval "$(nnunet-spine env)"`, nnU-Net's own unmodified commands work with our trainer and plans."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nnunet_spine.files import read_json

BIN = Path(sys.executable).parent
MODEL = ("-tr", "nnUNetTrainerSpine", "-p", "nnUNetSpinePlans")


def shell(command: str, root: Path, **variables: str) -> str:
    """Run a line in bash after evaluating our exports, as a user would; its output."""
    environment = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    environment |= {"PATH": f"{BIN}{os.pathsep}{environment['PATH']}", **variables}
    done = subprocess.run(
        ["bash", "-ec", f'eval "$(nnunet-spine env --root "{root}")"; {command}'],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_train_predict_select_export_install_predict(tiny, tmp_path: Path) -> None:
    root = tmp_path / "my data"
    root.mkdir()
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        (root / name).symlink_to(tiny.root / name)
    images = tiny.raw / "imagesTs"
    model = " ".join(MODEL)
    for fold in range(4):
        shell(f"nnUNetv2_train 58 3d_fullres {fold} {model} -device cpu", root, NNUNET_SPINE_EPOCHS="1")
    predict = f'nnUNetv2_predict -i "{images}" -d 58 -c 3d_fullres {model} -f 0 1 2 3 -device cpu -npp 1 -nps 1'
    shell(f'{predict} -o "{tmp_path}/before"', root)
    shell(
        "nnUNetv2_find_best_configuration 58 -c 3d_fullres -f 0 1 2 3 --disable_ensembling "
        "-tr nnUNetTrainerSpine -p nnUNetSpinePlans -np 2",
        root,
    )
    shell(f'nnUNetv2_export_model_to_zip -d 58 -o "{tmp_path}/model.zip" -c 3d_fullres -f 0 1 2 3 {model}', root)
    fresh = tmp_path / "fresh"
    shell(f'nnUNetv2_install_pretrained_model_from_zip "{tmp_path}/model.zip"', fresh)
    shell(f'{predict} -o "{tmp_path}/after"', fresh)
    own = f'nnunet-spine predict 58 --input "{images}" --output "{tmp_path}/own" --device cpu --root "{fresh}"'
    shell(own, fresh)

    names = sorted(p.name for p in (tmp_path / "before").glob("*.nii.gz"))
    assert names == ["new_100.nii.gz", "new_101.nii.gz"]
    for name in names:
        before = (tmp_path / "before" / name).read_bytes()
        assert before == (tmp_path / "after" / name).read_bytes()
        assert before == (tmp_path / "own" / name).read_bytes()


def test_exec_registers_planner_and_preprocessor(tiny, tmp_path: Path) -> None:
    for name in ("nnUNet_raw",):
        (tmp_path / name).symlink_to(tiny.root / name)
    preprocessed = tmp_path / "nnUNet_preprocessed" / tiny.dataset
    preprocessed.mkdir(parents=True)
    for name in ("splits_final.json", "dataset_fingerprint.json"):
        (preprocessed / name).write_bytes((tiny.preprocessed / name).read_bytes())
    shell(f'nnunet-spine exec --root "{tmp_path}" nnUNetv2_plan_experiment -d 58 -pl SpinePlanner', tmp_path)
    expected = read_json(tiny.preprocessed / "nnUNetSpinePlans.json")
    del expected["spine_bias_fields"]  # measured by `nnunet-spine plan` alone
    assert read_json(preprocessed / "nnUNetSpinePlans.json") == expected
    shell(
        f'nnunet-spine exec --root "{tmp_path}" nnUNetv2_preprocess -d 58 '
        "-plans_name nnUNetSpinePlans -c 3d_fullres -np 2",
        tmp_path,
    )
    made = sorted(p.name for p in (preprocessed / "nnUNetSpinePlans_3d_fullres").glob("*.pkl"))
    assert made == [f"spine_{n:03d}.pkl" for n in range(1, 9)]


def test_nnunet_finds_the_very_class_of_the_package(tiny, tmp_path: Path) -> None:
    code = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        "from nnunet_spine.protocol import VARIANTS\n"
        "from nnunet_spine.training import variants\n"
        "for name in [*VARIANTS, 'nnUNetTrainerDurable', 'nnUNetTrainerSpineDemoBaseline']:\n"
        "    assert find(name) is getattr(variants, name), name\n"
        "print('all found')\n"
    )
    script = tmp_path / "find.py"
    script.write_text(code, encoding="utf-8")
    assert "all found" in shell(f'"{sys.executable}" "{script}"', tmp_path)
