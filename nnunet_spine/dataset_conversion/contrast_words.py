"""What descriptions of series say, in the styles of the makers and in English, German, French, Spanish and Italian."""

from __future__ import annotations

import re
from typing import Any

from nnunet_spine.dataset_conversion.dicom_headers import text_of

_BOTH = re.compile(
    r"w ?[/&+] ?wo\b|w ?[/&+] ?w/o|with (?:and|&|or) without|without (?:and|&) with|mit und ohne|ohne und mit|"
    r"\+/- ?c\b|avec et sans|sans et avec|con y sin|sin y con|con e senza|senza e con|"
    r"pre ?(?:and|&|/|\+|und|et|y|e) ?post"
)
"""Names of whole examinations, which say nothing of a series."""

_BEFORE = re.compile(
    r"\bpre(?![ -]?(?:op|surg|sat))\b|precontrast|pre-?kontrast|\bnativ|\bohne\b|\bo\.? ?km\b|\bvor (?:km|kontrast)|"
    r"without|w/o|\bwo\b|\bnon?[ -]?(?:con|ce\b|gad|gd\b|inj|enh)|unenhanced|\bbefore\b|\bplain\b|- ?c\b(?![ -]*sp)|"
    r"- ?(?:km|gd)\b|\bsans\b|\bavant\b|\bsin\b|\bs/c\b|\bsenza\b|\bbasale?\b|\bnc\b"
)
_AFTER = re.compile(
    r"gad|\bgd\b|gd[ -]?(?:dtpa|dota|bopta)|\+ ?c\b|\bc ?\+|\+ ?gd|\+ ?km|\b[mn]?km\b|\bce\b|\bt1w?[ -]?ce\b|\bt1c\b|"
    r"\bpost(?!er|[ -]?(?:op|surg|trau|rt\b|rad|process))|\bmdc\b|\bpdc\b|\bciv\b|\bc/c\b|\binj|\biv\b|apr[eè]s|"
    r"despu[eé]s|contrast|kontrast|enhanced|dotarem|magnevist|prohance|multihance|clariscan|omniscan|elucirem"
)
_T1 = re.compile(r"t1(?!\d)")
_OTHER_WEIGHTING = re.compile(
    r"t2(?!\d)|\bpd\b|\bdp\b|stir|\btirm\b|dwi|\bdiff|\badc\b|\bdti\b|flair|myelo|ciss|fiesta|tru(?:e ?)?fi|b-?ffe|"
    r"balanced|\bmedic\b|\bmerge\b|\bswi\b|\bperf"
)
_LOCALIZER = re.compile(
    r"locali[sz]|\bloc\b|scout|survey|pilot|topogram|rep[eé]rage|localizador|3[ -]?(?:plane|pl)\b|\bsurv\b|\baahead|"
    r"\bcal(?:ibration)?\b|\bref(?:erence)? scan|\basset\b|coil ?sens"
)
_SUBTRACTION = re.compile(r"subtr|\bsub\b|soustr|sottraz|sustrac")
_PROJECTION = re.compile(r"\bmip\b|\bminip\b|project|\b3d ?view|screen ?(?:save|shot)|collage")
_FAR_FROM_SPINE = re.compile(
    r"brain|\bhead\b|skull|knee|hip\b|shoulder|ankle|wrist|elbow|\bfoot\b|\bhand\b|abdomen|liver|prostate|heart|cardiac|"
    r"breast|chest|orbit|\biac\b|pituitary|femur|hirn|sch[aä]del|\bknie\b"
)
_SPINE = re.compile(
    r"spine|\b[cthlb]ws\b|wirbel|cervic|zervik|thorac|lumb|sacr|rachis|columna|colonna|spinal|neck|myelon"
)


def plain(text: str) -> str:
    """Lower case with underscores as spaces, so that word boundaries are where a reader sees them."""
    return text.lower().replace("_", " ").strip()


def descriptions_of(header: Any) -> tuple[str, str]:
    """Series description and protocol name, plain."""
    return plain(text_of(header, "SeriesDescription")), plain(text_of(header, "ProtocolName"))


def contrast_by_words(header: Any) -> bool | None:
    """True after contrast, False before; None where neither the description nor, second, the protocol tells."""
    for text in descriptions_of(header):
        told = _BOTH.sub(" ", text)
        if _BEFORE.search(told):
            return False
        if _AFTER.search(told):
            return True
    return None


def weighting_by_words(header: Any) -> bool | None:
    """True where the words say T1, False where they say another weighting; None where neither is told."""
    for text in descriptions_of(header):
        t1, other = bool(_T1.search(text)), bool(_OTHER_WEIGHTING.search(text.replace("t1 flair", "t1")))
        if t1 or other:
            return t1 and not other
    return None


def is_localizer(header: Any) -> bool:
    """Whether the description names a localizer or a calibration."""
    return bool(_LOCALIZER.search(descriptions_of(header)[0]))


def is_subtraction(header: Any) -> bool:
    """Whether the description names a subtraction."""
    return bool(_SUBTRACTION.search(descriptions_of(header)[0]))


def is_projection(header: Any) -> bool:
    """Whether the description names a projection or a picture of a screen."""
    return bool(_PROJECTION.search(descriptions_of(header)[0]))


def is_elsewhere(header: Any) -> bool:
    """Whether the headers name another part of the body and nowhere the spine."""
    texts = [plain(text_of(header, k)) for k in ("BodyPartExamined", "StudyDescription")]
    texts += descriptions_of(header)
    return bool(_FAR_FROM_SPINE.search(" | ".join(texts))) and not any(_SPINE.search(t) for t in texts)
