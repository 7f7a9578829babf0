"""Specifications: nothing is rendered here."""

from dataclasses import replace
from math import isinf, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.phantoms.identity import identity_of
from nnunet_spine.phantoms.lesion_sampling import refit_lesion
from nnunet_spine.phantoms.makers import MAKERS
from nnunet_spine.phantoms.model import Look, Maker, Series
from nnunet_spine.phantoms.sampling import sample_cohort


@pytest.fixture(scope="module")
def cohort():
    return sample_cohort(58, 0)


def test_every_kind_occurs_in_the_documented_number_of_cases(cohort) -> None:
    assert {case.lesion.look for case in cohort} == set(Look)
    assert {case.acquisition.maker for case in cohort} == set(Maker)
    assert {case.anatomy.region for case in cohort} == {Region.CERVICAL, Region.THORACIC, Region.LUMBAR}
    assert {case.lesion.compartment for case in cohort} == {Compartment.INTRAMEDULLARY, Compartment.EXTRAMEDULLARY}
    assert {case.acquisition.field_strength for case in cohort} == {1.5, 3.0}
    assert {case.grid.left_to_right for case in cohort} == {True, False}
    assert {case.acquisition.fat_suppressed for case in cohort} == {True, False}
    assert {case.acquisition.agent_recorded for case in cohort} == {True, False}
    assert {case.lesion.edema for case in cohort} == {True, False}


@pytest.mark.parametrize("seed", range(5))
def test_each_look_and_maker_occurs_in_a_small_cohort_of_any_seed(seed: int) -> None:
    cohort = sample_cohort(24, seed)
    assert {case.lesion.look for case in cohort} == set(Look)
    assert {case.acquisition.maker for case in cohort} == set(Maker)


@given(seed=st.integers(0, 2**31), cases=st.integers(1, 14))
@settings(max_examples=25, deadline=None)
def test_specifications_stay_in_their_ranges(seed: int, cases: int) -> None:
    for case in sample_cohort(cases, seed):
        grid, lesion = case.grid, case.lesion
        assert 1.0 <= grid.pixel_mm <= 1.6
        assert 3.0 <= grid.slice_spacing_mm <= 4.4
        assert grid.slice_thickness_mm < grid.slice_spacing_mm
        assert 96 <= grid.rows <= 192
        assert 80 <= grid.columns <= 144
        assert 11 <= grid.slices <= 16
        assert 0.1 <= lesion.volume_ml <= 15
        # The smooth body lies within the field of view.
        assert abs(lesion.along_mm) + lesion.half_axes_mm[2] <= grid.rows * grid.pixel_mm / 2
        ellipsoid_ml = 4 / 3 * pi * np.prod(lesion.half_axes_mm) / 1000
        if case.study_number == 1:
            assert lesion.volume_ml == pytest.approx(ellipsoid_ml, abs=1e-3)


def test_an_intramedullary_tumor_of_the_lumbar_spine_lies_above_the_conus(cohort) -> None:
    cases = [
        case
        for case in cohort
        if case.anatomy.region is Region.LUMBAR and case.lesion.compartment is Compartment.INTRAMEDULLARY
    ]
    assert cases
    assert all(case.lesion.along_mm > case.anatomy.conus_z_mm for case in cases)


def test_only_a_lumbar_image_shows_the_conus(cohort) -> None:
    assert all(isinf(case.anatomy.conus_z_mm) != (case.anatomy.region is Region.LUMBAR) for case in cohort)


def test_a_case_does_not_depend_on_the_size_of_its_cohort(cohort) -> None:
    assert sample_cohort(13, 0) == cohort[:13]


def test_another_seed_is_another_cohort(cohort) -> None:
    assert all(a != b for a, b in zip(sample_cohort(58, 1), cohort, strict=True))


def test_every_twelfth_case_is_a_second_study_of_the_patient_before(cohort) -> None:
    patients = [case.patient for case in cohort]
    assert len(set(patients)) == 58 - 4
    for first, second in ((10, 11), (22, 23), (34, 35), (46, 47)):
        assert patients[first] == patients[second]
        assert (cohort[first].study_number, cohort[second].study_number) == (1, 2)
        assert cohort[first].anatomy == cohort[second].anatomy
        assert cohort[first].lesion.volume_ml >= cohort[second].lesion.volume_ml
    assert patients == sorted(patients)
    assert patients[-1] == "PAT0054"


def test_scanner_and_field_strength_belong_together(cohort) -> None:
    for case in cohort:
        assert (case.acquisition.model, case.acquisition.field_strength) in MAKERS[case.acquisition.maker].models


def test_only_philips_rescales(cohort) -> None:
    for case in cohort:
        rescaled = (case.acquisition.rescale_slope, case.acquisition.rescale_intercept) != (1.0, 0.0)
        assert rescaled == (case.acquisition.maker is Maker.PHILIPS)


def test_every_maker_marks_contrast_in_the_description_of_the_one_series_that_has_it() -> None:
    marks = ("+C", "POST", "KM", "GD", "CE")
    for style in MAKERS.values():
        for series, written in style.series.items():
            for description in written.descriptions:
                marked = any(mark in description.upper() for mark in marks)
                assert marked == (series is Series.T1_POST), description


def test_identities_are_fake_and_shared_by_the_studies_of_a_patient(cohort) -> None:
    first, second = (identity_of(cohort[number], 0) for number in (10, 11))
    assert "Phantom" in first.patient_name
    assert first.patient_id.startswith("ZZ")
    assert (first.patient_id, first.birth_date, first.sex) == (second.patient_id, second.birth_date, second.sex)
    assert first.started < second.started
    assert first.uid("study") != second.uid("study")
    assert len({identity_of(case, 0).patient_id for case in cohort}) == 54


def test_identifiers_are_valid_and_depend_on_the_seed(cohort) -> None:
    uids = {identity_of(case, seed).uid("study") for case in cohort for seed in (0, 1)}
    assert len(uids) == 2 * 58
    assert all(uid.is_valid for uid in uids)


def test_a_tumor_too_large_for_another_field_of_view_is_cut_to_size(cohort) -> None:
    case = max(cohort, key=lambda case: case.lesion.volume_ml)
    small = replace(case.grid, rows=30, pixel_mm=1.0)
    anatomy = replace(case.anatomy, conus_z_mm=-float("inf"))
    fitted = refit_lesion(case.lesion, np.random.default_rng(0), anatomy=anatomy, before=case.grid, grid=small)
    assert fitted.half_axes_mm[2] <= 7.5
    assert fitted.volume_ml < case.lesion.volume_ml
    assert fitted.along_mm == 0.0
