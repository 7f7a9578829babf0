"""Words of headers and labels, and what they mean in our vocabulary.

Only terms of these tables leave the source, so that free text cannot carry a name into a data set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from nnunet_spine.cases import UNKNOWN, Compartment, Region

OTHER_MAKER = "other"

_MAKERS = (
    ("siemens", "SIEMENS"),
    ("philips", "Philips"),
    ("canon", "Canon"),
    ("toshiba", "Canon"),
    ("general electric", "GE"),
    (r"\bge\b", "GE"),
)

_COMPARTMENTS = (
    ("intramedull", Compartment.INTRAMEDULLARY),
    ("extramedull", Compartment.EXTRAMEDULLARY),
)

_TUMOR_TYPES = (
    ("myxopapillary ependymoma", "myxopapillary ependymoma"),
    ("ependymoma", "ependymoma"),
    ("astrocytoma", "astrocytoma"),
    ("h(?:a)?emangioblastoma", "hemangioblastoma"),
    ("cavernoma|cavernous malformation", "cavernoma"),
    ("meningioma", "meningioma"),
    ("schwannoma|neurinoma", "schwannoma"),
    ("neurofibroma", "neurofibroma"),
    ("paraganglioma", "paraganglioma"),
    ("ganglioglioma", "ganglioglioma"),
    ("glioblastoma", "glioblastoma"),
    ("glioma", "glioma"),
    ("lymphoma", "lymphoma"),
    ("lipoma", "lipoma"),
    ("dermoid", "dermoid"),
    ("teratoma", "teratoma"),
    ("metasta", "metastasis"),
)

_REGIONS = (
    (r"c[\s_-]?spine|cervic|zervik|\bhws\b", Region.CERVICAL),
    (r"t[\s_-]?spine|thorac|dorsal|\bbws\b", Region.THORACIC),
    (r"l[\s_-]?spine|l[\s_-]?s[\s_-]?spine|lumb|\blws\b", Region.LUMBAR),
)

_TUMOR = re.compile(r"tumou?r|lesion|neoplas|\bmass\b|oma\b|metasta|dermoid|\bgtv")
_BESIDE_TUMOR = re.compile(r"o?edema|peritumou?r|syrinx|\bcyst|\bcord\b|h(?:a)?ematoma|normal|\b[cpi]tv")

_TUMOR_CODES = {
    ("SCT", "108369006"),  # Neoplasm
    ("SCT", "372087000"),  # Neoplasm, Primary
    ("SCT", "14799000"),  # Neoplasm, Secondary
    ("SCT", "128462008"),  # Metastasis
    ("SCT", "254938000"),  # Astrocytoma
    ("SCT", "404029005"),  # Neurofibroma
    ("SCT", "4147007"),  # Mass
    ("SCT", "52988006"),  # Lesion
    ("SCT", "228791009"),  # Gross tumor volume
    ("SRT", "M-8FFFF"),  # Neoplasm, in the codes before SNOMED CT
    ("SRT", "M-80003"),  # Neoplasm, Primary, malignant
    ("SRT", "M-01100"),  # Lesion
    ("SRT", "M-03000"),  # Mass
    ("DCM", "130052"),  # GTV Primary
    ("NCIt", "C113842"),  # Enhancing Lesion
}
"""Coded types that mean tumor whatever the language of the words; from pydicom's dictionary of codes."""


def _plain(text: str) -> str:
    """Lower case with underscores as spaces, so that word boundaries are where a reader sees them."""
    return text.lower().replace("_", " ").strip()


def maker_of(text: str) -> str:
    """Maker as SIEMENS, GE, Philips, Canon, "other", or "unknown" where the text is empty."""
    plain = _plain(text)
    if not plain or plain == UNKNOWN:
        return UNKNOWN
    return next((maker for pattern, maker in _MAKERS if re.search(pattern, plain)), OTHER_MAKER)


def compartment_of(texts: Sequence[str]) -> Compartment:
    """Compartment that the texts speak of; unknown where they name none, or both."""
    found = {c for pattern, c in _COMPARTMENTS for text in texts if re.search(pattern, _plain(text))}
    return found.pop() if len(found) == 1 else Compartment.UNKNOWN


def tumor_type_of(texts: Sequence[str]) -> str:
    """First tumor type of our table that the texts speak of, or "unknown"."""
    plain = " ".join(_plain(text) for text in texts)
    return next((name for pattern, name in _TUMOR_TYPES if re.search(pattern, plain)), UNKNOWN)


def region_of(texts: Sequence[str]) -> Region:
    """Region by the first text that names exactly one; unknown where none does."""
    for text in texts:
        found = {region for pattern, region in _REGIONS if re.search(pattern, _plain(text))}
        if len(found) == 1:
            return found.pop()
    return Region.UNKNOWN


def speaks_of_tumor(texts: Sequence[str]) -> bool:
    """Whether a segment's label, description or type says tumor or a kind of it, not what lies beside it."""
    return any(_TUMOR.search(_plain(text)) for text in texts) and not _speaks_of_surroundings(texts)


def _speaks_of_surroundings(texts: Sequence[str]) -> bool:
    return any(_BESIDE_TUMOR.search(_plain(text)) for text in texts)


def is_tumor(texts: Sequence[str], codes: Sequence[tuple[str, str]]) -> bool:
    """Whether words or coded types (scheme, value) say tumor, and no word says that it lies beside one."""
    return speaks_of_tumor(texts) or (not _TUMOR_CODES.isdisjoint(codes) and not _speaks_of_surroundings(texts))


def names(texts: Sequence[str], words: str) -> bool:
    """Whether one of the texts holds `words`, as whole words and without regard to case."""
    wanted = re.compile(rf"(?<!\w){re.escape(_plain(words))}(?!\w)")
    return any(wanted.search(_plain(text)) for text in texts)
