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
