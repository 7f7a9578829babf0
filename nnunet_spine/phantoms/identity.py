"""Fake, recognisable patient data, and identifiers that depend on the seed alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from pydicom.uid import UID, generate_uid

from nnunet_spine.phantoms.model import CaseSpec

_FAMILY = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Juniper", "Larch", "Maple", "Oak", "Rowan", "Spruce", "Willow")
_GIVEN = (("Ada", "Bea", "Cleo", "Dora", "Edda", "Fay"), ("Abel", "Bram", "Carl", "Dirk", "Emil", "Finn"))
_INSTITUTIONS = ("Phantom General Hospital", "Phantasie-Klinikum Nord", "Hopital Fantome Sud")
_PHYSICIANS = ("Testdoctor^Vera", "Testdoctor^Hugo", "Testdoctor^Iris")


@dataclass(frozen=True)
class Identity:
    """Patient and study data of one study; every name contains "Phantom" or "Test".

    Parameters
    ----------
    seed
        Seed of the cohort, part of every UID.
    patient_name, patient_id, birth_date, sex, age, weight_kg
        As written to the header.
    institution, physician, accession_number, study_id
        As written to the header.
    started
        Start of the study.
    """

    seed: int
    patient_name: str
    patient_id: str
    birth_date: str
    sex: str
    age: str
    weight_kg: float
    institution: str
    physician: str
    accession_number: str
    study_id: str
    started: datetime

    def uid(self, *parts: object) -> UID:
        """Unique identifier of something within the study, the same for the same seed."""
        entropy = ["nnunet_spine phantom", str(self.seed), self.patient_id, self.study_id, *map(str, parts)]
        return generate_uid(entropy_srcs=entropy)


def identity_of(case: CaseSpec, seed: int) -> Identity:
    """Fake identity of a case's patient and study; studies of one patient share the patient's part."""
    rng = np.random.default_rng([seed, case.patient_number, 40])
    female = bool(rng.random() < 0.5)
    given = rng.choice(_GIVEN[0 if female else 1])
    family = rng.choice(_FAMILY)
    born = datetime(1938, 1, 1) + timedelta(days=int(rng.integers(0, 24000)))
    first = datetime(2019, 1, 2, 8) + timedelta(days=int(rng.integers(0, 1600)), minutes=int(rng.integers(0, 500)))
    patient_id = f"ZZ{rng.integers(10**5, 10**6)}{case.patient_number:03d}"
    weight_kg = float(rng.integers(50, 105))
    institution, physician = str(rng.choice(_INSTITUTIONS)), str(rng.choice(_PHYSICIANS))
    started = first + timedelta(days=190 * (case.study_number - 1))
    return Identity(
        seed=seed,
        patient_name=f"Phantom-{family}^{given}",
        patient_id=patient_id,
        birth_date=f"{born:%Y%m%d}",
        sex="F" if female else "M",
        age=f"{(started - born).days // 365:03d}Y",
        weight_kg=weight_kg,
        institution=institution,
        physician=physician,
        accession_number=f"A{started:%y%m}{case.patient_number:04d}{case.study_number}",
        study_id=f"{1000 + 10 * case.patient_number + case.study_number}",
        started=started,
    )
