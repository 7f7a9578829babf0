"""A discovered source with the digests of its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.sources import Discovery
from nnunet_spine.errors import BadInput
from nnunet_spine.files import sha256


@dataclass(frozen=True)
class FoundSource:
    """A discovery with the digests of its cases (image, reference), and what is tumor in its references."""

    discovery: Discovery
    digests: tuple[tuple[str, str], ...]
    selection: Selection = NO_SELECTION

    @classmethod
    def of(cls, discovery: Discovery, selection: Selection = NO_SELECTION) -> FoundSource:
        """Read all files of a discovery; `BadInput` where one cannot be read."""
        try:
            digests = tuple(
                (_digest(case.image, case.frames), _digest((case.reference,), claim=case.claim.key()))
                for case in discovery.cases
            )
        except OSError as failure:
            raise BadInput(
                f"A file of the source cannot be read ({failure.strerror}). Check its permissions."
            ) from failure
        return cls(discovery, digests, selection)

    def digest(self) -> str:
        """SHA-256 of all that the conversion depends on."""
        content = [
            [
                [*digest, case.where, case.patient_key, case.split, asdict(case.details)]
                for case, digest in zip(self.discovery.cases, self.digests, strict=True)
            ],
            [problem.as_dict() for problem in self.discovery.problems],
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(files: Sequence[Path], frames: Sequence[Sequence[int]] = (), *, claim: str = "") -> str:
    """SHA-256 of files, whatever their names and order, of the frames of each that are meant, and of the claim."""
    chosen = [f" {','.join(map(str, of_file))}" for of_file in frames] or [""] * len(files)
    parts = sorted(sha256(path) + of_file for path, of_file in zip(files, chosen, strict=True))
    return hashlib.sha256("".join([*parts, claim]).encode()).hexdigest()
