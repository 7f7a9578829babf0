import csv
import io
import statistics

import pytest

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.evaluation.appearance import Look
from nnunet_spine.evaluation.insight import look_into
from nnunet_spine.evaluation.strata import STRATA_COLUMNS, stratify, thirds

DICE = (0.0, 0.2, 0.4, 0.6, 0.9)


def rows(facts, factor, **options):
    found = stratify(facts, with_images=True, **options)
    return {row.level: row for row in found.rows if row.factor == factor}


def test_figures_by_hand(fact):
    facts = [fact(f"a{k}", dice, compartment=Compartment.INTRAMEDULLARY) for k, dice in enumerate(DICE)]
    facts += [fact(f"b{k}", 1.0, compartment=Compartment.EXTRAMEDULLARY) for k in range(6)]
    found = rows(facts, "compartment")
    assert list(found) == ["intramedullary", "extramedullary"]
    row = found["intramedullary"]
    assert (row.cases, row.patients, row.detected) == (5, 5, 4)
    assert (row.sensitivity, row.dice_mean, row.dice_median) == (0.8, pytest.approx(0.42), 0.4)
    assert row.dice_sd == pytest.approx(statistics.pstdev(DICE))
    assert row.cells() == (" intramedullary", "5", "5", "4/5 (80 %)", "0.42 ± 0.31", "0.40")
    assert (found["extramedullary"].dice_sd, found["extramedullary"].sensitivity) == (0.0, 1.0)


def test_fewer_than_five_patients_have_their_number_alone(fact):
    facts = [fact(f"a{k}", 0.5, maker="GE") for k in range(4)]
    facts += [fact(f"b{k}", 0.5, maker="Philips", patient=f"P{k % 4}") for k in range(8)]
    facts += [fact(f"c{k}", 0.5, maker="SIEMENS") for k in range(5)]
    found = rows(facts, "maker")
    assert [found[m].judged for m in ("GE", "Philips", "SIEMENS")] == [False, False, True]
    assert (found["Philips"].cases, found["Philips"].patients) == (8, 4)
    for name in ("detected", "sensitivity", "dice_mean", "dice_sd", "dice_median"):
        assert getattr(found["GE"], name) is None
        assert getattr(found["Philips"], name) is None
    assert found["GE"].cells()[3:] == ("n < 5", "-", "-")


def test_a_patient_counts_in_each_stratum_of_its_cases_by_those_cases(fact):
    """Patient P has a detected case at GE and a missed one at Philips."""
    facts = [fact(f"a{k}", 0.5, maker="GE") for k in range(4)] + [fact("p1", 0.5, maker="GE", patient="P")]
    facts += [fact(f"b{k}", 0.5, maker="Philips") for k in range(4)] + [fact("p2", 0.0, maker="Philips", patient="P")]
    facts += [fact("p3", 0.5, maker="GE", patient="P")]
    found = rows(facts, "maker")
    assert (found["GE"].cases, found["GE"].patients, found["GE"].detected) == (6, 5, 5)
    assert (found["Philips"].patients, found["Philips"].detected) == (5, 4)


def test_sizes_are_thirds_with_their_cut_points_named(fact):
    facts = [fact(f"a{k}", 0.5, volume_ml=float(k + 1)) for k in range(15)]
    # Thirds of 1 to 15 ml by linear interpolation: 1 + 14 / 3 = 5.67 and 1 + 28 / 3 = 10.33.
    found = rows(facts, "size (reference)")
    assert {level: row.cases for level, row in found.items()} == {
        "under 5.7 ml": 5,
        "5.7 to under 10.3 ml": 5,
        "10.3 ml and more": 5,
    }


def test_equal_views_are_one_stratum(fact):
    facts = [fact(f"a{k}", 0.5, height_mm=300.0) for k in range(7)]
    assert {level: row.cases for level, row in rows(facts, "view, head to foot").items()} == {"300 mm and more": 7}


def test_thirds_of_few_values():
    assert thirds([]) == ()
    assert thirds([None, 2.0]) == (2.0,)
    assert thirds([1.0, 4.0, None]) == (2.0, 3.0)


def test_every_challenge_has_its_factor_and_order(fact):
    facts = [
        fact("a", 0.5, look=Look.RIM, region=Region.LUMBAR, tesla=3.0, border_voxels=3, trained_on_type=0),
        fact("b", 0.5, look=Look.NOT_DETERMINABLE, region=Region.UNKNOWN, tesla=None, trained_on_type=None),
        fact("c", 0.5, tumor_type="unknown", trained_on_maker=0),
        fact("d", 0.5, tumor_type="zebra", tesla=1.494),
    ]
    levels = {}
    for row in stratify(facts, with_images=True).rows:
        levels.setdefault(row.factor, []).append(row.level)
    sized = {levels.pop(name)[0] for name in ("size (reference)", "view, head to foot")}
    assert sized == {"1.0 ml and more", "250 mm and more"}
    assert levels == {
        "compartment": ["intramedullary"],
        "tumor type": ["ependymoma", "zebra", "unknown"],
        "tumor type in training": ["yes", "no", "unknown"],
        "lesion's look": ["rim-enhancing", "without rim", "not determinable"],
        "region": ["cervical", "lumbar", "unknown"],
        "lesion at image border": ["no", "yes"],
        "maker": ["GE"],
        "maker in training": ["yes", "no"],
        "field strength": ["1.5 T", "3.0 T", "unknown"],
    }


def test_what_was_not_given_is_named_as_not_computed(fact):
    found = stratify([fact("a", 0.5, told=False)], with_images=False)
    assert {row.factor for row in found.rows} == {"size (reference)", "view, head to foot", "lesion at image border"}
    assert dict(found.not_computed)["lesion's look"] == "--images"
    assert dict(found.not_computed)["maker"] == "--cases"
    assert "Not computed without --images: lesion's look." in found.remarks()
    assert found.to_json()["not_computed"][0] == {"factor": "compartment", "needs": "--cases"}


def test_no_case_has_no_strata():
    insight = look_into([], with_images=True)
    assert insight.strata.rows == ()
    assert insight.worst_cases.cases == ()
    assert insight.calibration.to_json() is None
    assert [text.count("\n") for text in insight.csv_files().values()] == [1, 1, 1, 1]


def test_the_table_fits_80_columns_and_has_a_line_for_each_factor(fact):
    from nnunet_spine.cli.console import format_table
    from nnunet_spine.evaluation.strata import TABLE_HEADER

    facts = [fact(f"a{k}", k / 300, tumor_type="a very long name of a tumor type") for k in range(200)]
    found = stratify(facts, with_images=True)
    text = format_table(TABLE_HEADER, found.table_rows())
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text.count("\ntumor type ") == 2
    assert "a very long name of a t…" in text
    assert {row.level for row in found.rows} >= {"a very long name of a tumor type"}


def test_the_csv_leaves_withheld_figures_empty(fact):
    text = look_into([fact("a", 0.5)], with_images=True).csv_files()["strata.csv"]
    found = list(csv.DictReader(io.StringIO(text)))
    assert tuple(found[0]) == STRATA_COLUMNS
    assert (found[0]["cases"], found[0]["dice_mean"], found[0]["judged"]) == ("1", "", "False")
