from __future__ import annotations

import json
from dataclasses import asdict, fields

import pytest

from nnunet_spine.protocol import PROTOCOL, Augmentation, BiasMethod, Departure, Origin, departures, origin_of


def test_the_documented_values() -> None:
    documented = {f.name for f in fields(PROTOCOL) if origin_of(f.name)[0] is Origin.DOCUMENTED}
    assert documented == {
        "steps",
        "scale_minimum",
        "scale_maximum",
        "channels",
        "strides",
        "kernel_size",
        "up_kernel_size",
        "loss",
        "epochs",
        "folds",
        "fold_sizes",
    }


def test_no_departure_from_itself_even_through_json() -> None:
    assert departures(asdict(PROTOCOL)) == []
    assert departures(json.loads(json.dumps(asdict(PROTOCOL)))) == []


def test_departures_come_in_the_protocols_order() -> None:
    found = departures({"epochs": 3, "gamma": 1.0, "bias_method": "none", "channels": [16, 32]})
    assert [d.name for d in found] == ["gamma", "bias_method", "channels", "epochs"]
    assert found[-1] == Departure("epochs", 400, 3, Origin.DOCUMENTED)
    assert found[-1].describe() == "epochs: 3 instead of 400 (documented)"


def test_a_name_that_is_no_value_is_an_error() -> None:
    with pytest.raises(KeyError, match="dropout"):
        departures({"dropout": 0.1})


def test_the_bias_method_is_the_one_that_the_deck_cites() -> None:
    assert PROTOCOL.bias_method is BiasMethod.VAN_LEEMPUT
    assert departures({"bias_method": "n4"})[0].describe() == "bias_method: n4 instead of van_leemput (ours)"


def test_closed_sets_have_their_values() -> None:
    assert [m.value for m in BiasMethod] == ["van_leemput", "n4", "none"]
    assert [m.value for m in Augmentation] == ["none", "nnU-Net", "RandBiasField"]
