from __future__ import annotations

import json
from pathlib import Path

import pytest

from nnunet_spine import errors
from nnunet_spine.manifest import (
    make_manifest,
    recorded_departures,
    recorded_inputs,
    recorded_step,
    versions,
    write_manifest,
)
from nnunet_spine.protocol import departures


def test_a_manifest_names_versions_protocol_inputs_and_departures(tmp_path: Path) -> None:
    manifest = make_manifest(
        "train", parameters={"fold": 0}, inputs={"plans": "ab"}, departures=departures({"epochs": 3})
    )
    write_manifest(tmp_path, manifest)
    again = json.loads((tmp_path / "manifest.json").read_text())
    assert again["step"] == "train"
    assert again["inputs"] == {"plans": "ab"}
    assert again["protocol"]["channels"] == [16, 32, 64, 128, 256]
    assert set(again["versions"]) >= {"python", "nnunet_spine", "nnunetv2", "torch", "monai", "SimpleITK"}
    assert [d.describe() for d in recorded_departures(tmp_path)] == ["epochs: 3 instead of 400 (documented)"]
    assert recorded_departures(tmp_path / "none") == []


def test_departures_of_all_folds_are_each_given_once(tmp_path: Path) -> None:
    for fold, values in enumerate([{"epochs": 3}, {"epochs": 3, "gamma": 1.0}, {"bias_method": "n4"}]):
        manifest = make_manifest("train", parameters={}, departures=departures(values))
        write_manifest(tmp_path / f"fold_{fold}", manifest)
    (tmp_path / "manifest.json").write_text('{"another program": 1}')
    lines = [d.describe() for d in recorded_departures(tmp_path)]
    assert lines == [
        "epochs: 3 instead of 400 (documented)",
        "gamma: 1.0 instead of 0.7 (ours)",
        "bias_method: n4 instead of van_leemput (ours)",
    ]
    some = recorded_departures(tmp_path / "fold_2", tmp_path / "fold_0")
    assert [d.describe() for d in some] == [lines[2], lines[0]]


def test_no_path_of_the_command_line_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/home/doe/bin/nnunet-spine", "convert", "/data/Doe^Jane"])
    assert make_manifest("convert", parameters={})["command"] == ["nnunet-spine", "convert"]


def test_versions_are_those_installed() -> None:
    import numpy as np

    assert versions()["numpy"] == np.__version__


def test_a_package_that_is_absent_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnunet_spine.manifest._REPORTED_PACKAGES", ("no-such-package",))
    assert versions()["no-such-package"] == "not installed"


@pytest.mark.parametrize(
    ("kind", "builtin", "code"),
    [
        (errors.BadInput, ValueError, 2),
        (errors.NotFound, FileNotFoundError, 2),
        (errors.NotWritable, OSError, 2),
        (errors.GeometryMismatch, ValueError, 2),
        (errors.WorkFailed, RuntimeError, 1),
        (errors.MissingDependency, ImportError, 1),
    ],
)
def test_each_error_is_ours_and_the_built_in_kind(kind: type, builtin: type, code: int) -> None:
    error = kind("what was found")
    assert isinstance(error, errors.NnunetSpineError)
    assert isinstance(error, builtin)
    assert error.exit_code == code
    assert str(error) == "what was found"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"departures": {}}, "departures is an object; expected a list"),
        ({"departures": None}, "departures is null; expected a list"),
        ({"departures": [1]}, r"departures\[0\] is 1; expected an object"),
        ({"departures": [{}]}, r"departures\[0\] has no protocol"),
        (
            {"departures": [{"name": "x", "protocol": 1, "run": 2, "origin": "me"}]},
            "expected one of documented, implied",
        ),
        (
            {"departures": [{"name": "x", "protocol": "y" * 1001, "run": 2}]},
            "has 1001 characters; expected at most 1000",
        ),
    ],
)
def test_departures_that_are_none_are_refused_with_file_and_key(tmp_path: Path, change: dict, told: str) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"step": "train", **change}))
    with pytest.raises(errors.BadInput, match=told) as refused:
        recorded_departures(tmp_path)
    assert str(tmp_path / "manifest.json") in str(refused.value)


@pytest.mark.parametrize("text", ["[1]", "null", '{"name": "web app"}'])
def test_a_manifest_of_another_program_records_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert recorded_departures(tmp_path) == []
    assert recorded_step(tmp_path) is None


def test_the_step_and_inputs_of_a_manifest(tmp_path: Path) -> None:
    write_manifest(tmp_path, make_manifest("evaluate", parameters={}, inputs={"splits": "ab"}))
    assert recorded_step(tmp_path) == "evaluate"
    assert recorded_inputs(tmp_path) == {"splits": "ab"}
    (tmp_path / "manifest.json").write_text('{"inputs": {"splits": 1}}')
    with pytest.raises(errors.BadInput, match="inputs.splits is 1; expected a text"):
        recorded_inputs(tmp_path)
