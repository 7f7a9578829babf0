"""What a name says: a tumor, another structure, both, or nothing; in English and the languages of `contrast_words`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

MOST_LETTERS = 500
"""More of a text is not looked at; names and descriptions are shorter, and the search must end."""


class Meaning(StrEnum):
    """What names say of a segment, a region or a mask."""

    TUMOR = "a tumor"
    OTHER = "another structure"
    BOTH = "a tumor and another structure"
    NOTHING = "nothing known"


_START, _END = "(?<![a-z])", "(?![a-z])"
"""Word boundaries for which digits are no letters, as in cord1."""


def _any_of(*lists: str) -> str:
    """A regular expression of words: `cord` is a word, `vertebr*` begins one, `*odem*` is in one, `_` is a space."""
    words = [word.replace("_", " ") for words in lists for word in words.split()]
    bounded = [
        ("" if word[0] == "*" else _START) + word.strip("*") + ("" if word[-1] == "*" else _END) for word in words
    ]
    return f"(?:{'|'.join(bounded)})"


_KINDS = (
    "ependym|mening[ei]|schwann|neurin|neurofibr|astro[cz]yt|gli|glioblast|angi|angioblast|paragangli|gangliogli|"
    "lymph|linf|lip|terat|[ck]avern|chord|sarc|[ck]ar[cz]in|medulloblast|oligodendrogli|neuro[cz]yt|chondr|oste|"
    "plasmo?a?[cz]yt|myel|melan|my|aden"
)
"""Stems of tumors that end with -oma, -om or -ome."""

_TUMOR = _any_of(
    "*(?<!peri)(?<!peri_)(?<!pseudo)(?:tumou?r|tumeur|l(?:a|ae|e)si[eo])* *geschwulst* *raumforderung* lesao lesoes",
    f"*(?:{_KINDS})om(?:a|as|ata|e|es|en|i)? *[a-z]{{4}}oma(?:s|ta)? *neoplas* mass(?:a|e|es|en)? masas? *metasta*",
    "*dermoid* i?gtv* *blastom* cancer* *krebs*",
)

_BESIDE = re.compile(
    _any_of(
        "*edem* *odem* *peri_?tumou?r* *peri_?l(?:a|ae|e)si[eo]* *syrin[xg]* cyst* *zyst* *kyst* *quist* cisti*",
        "*cavit* *kavit* *h(?:a|ae|e)matom* *h(?:a|ae|e)morr* *blutung* normal* *healthy* *gesund* [cpi]tv*",
        "*(?:non|no)_(?:tumou?r|lesion|mass) *tumou?r_?free* *granulom* *atherom* *serom* *hygrom* *zygom* *strom*",
        "*glaucom* *lateral_mass* *massa_lateralis* (?:muscle|lean|fat|bone|body)_mass *background* *hintergrund*",
        "*pseudo_?tumou?r* *artefa[ck]t* *artifact* *prothes* *implant*",
    )
)
"""What lies beside a tumor, or is named after one."""

_PLACE = _any_of(
    "cord *spinal_?cord* *myelon* *ru?e?ckenmark* medul+a *moelle* *midollo*",
    "canal* *spinalkanal* *wirbelkanal* *thecal* *dural_?sa[ck]* *sac_dural* csf* lcr *liquor* *cerebrospinal*",
    "*subarachnoid* dis[ck]s? *band_?scheibe* *disque* disc[oh]i? *interverteb* *vertebr* *wirbel* spine* *columna*",
    "*colonna* *rachis* *sacrum* *sakrum* *kreuzbein* bones? *knochen* *hueso* osso* *pedicle* *endplate* *spinous*",
    "*facet* brain* *cerebr* *cerebell* *hirn* *cerveau* *cervell* *encephal* *(?:white|gr[ae]y)_matter* *ventric*",
    "*thalam* *hippocamp* aseg* aparc* wmparc* faces? head *skull* *schadel* *schaedel* *muscle* *muskel* *musc[ou]l*",
    "*multifid* *psoas* *heart* herz* *coeur* *corazon* *cuore* *aort* veins? *arter* *vessel* *gefass* *gefaess*",
    "*kidney* *niere* reins? renal* *rinon* *liver* leber* foie* *higado* *fegato* *hepat* *spleen* milz* lungs?",
    "*lunge* *pulmon* *poumon* *polmon* *stomach* magen* *bowel* colon *bladder* *esophag* *trachea* *thyroid*",
    "*pancrea* *prostat* *uterus* *parotid* eyes? lens *optic* *cochlea* *mandib* *larynx* *pharynx* fat fett*",
    "*graisse* *grasa* skin haut nerv* roots? *rootlet* *ganglion* *autochthon* *glute* *quadratus* *erector* hips?",
    "ribs? *clavic* *scapula* *femur* *humerus* *sternum* *adrenal* *duoden* glands? *lymph_?node* *vena_cava*",
    "*center_?line* pmj* *compress* *cartilage* *tongue* *trunk* *breast* *cauda *filum* *conus* *ligament* body",
    "external couch *notochord*",
)
_OTHER = re.compile(_PLACE)
_LEVEL = re.compile(r"(?:[ctls] ?\d{1,2}(?: ?[/ ] ?[ctls]? ?\d{1,2})?)(?: left| right)?")
"""A level of the spine alone; beside the name of a tumor it is its place."""

_ABBREVIATIONS = {"sc", "gm", "wm", "bs", "cbm", "cgm", "sgm", "st", "nb", "ivd", "vb", "lcr"}
"""Those of BIDS and of the Spinal Cord Toolbox for tissues and structures."""

_NEGATION = re.compile(
    rf"{_START}(?:no|non|not|without|w/o|kein[a-z]*|ohne|sans|sin|senza|minus|except|exclu[a-z]*|outside|adjacent|near|"
    rf"next|around|beside|neben){_END}"
)
_LINK = (
    r"(?:de|du|des|del|della|dello|dell|di|da|do|d|of|in|im|am|an|at|der|das|dem|den|dans|en|nel|nella|within|inside|la|"
    r"le|l|el|the|il|lo|cervical|thoracic|lumbar|dorsal|spinal|upper|lower)"
)
_OF_A_PLACE = re.compile(
    rf"{_PLACE}[a-z]*(?: (?:sheath|roots?|equina|terminale|medullaris|body|bodies|column|canal))?[ /]?{_TUMOR}"
)
"""Such as "spinal cord tumor", "nerve sheath tumor" and "Wirbelmetastase"."""

_AT_A_PLACE = re.compile(
    rf"{_TUMOR}[a-z]*(?: {_LINK})+ {_PLACE}[a-z]*"
    r"(?: (?:canal|cord|column|bod(?:y|ies)|epiniere|espinal|spinale|equina))?"
)
"""Such as "tumor in the spinal canal" and "tumeur de la moelle épinière"."""


def spelled(text: str) -> str:
    """Lower case without accents, words that are joined by capitals, underscores or hyphens apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    for letter, plain in (("ß", "ss"), ("œ", "oe"), ("Œ", "Oe"), ("æ", "ae")):
        apart = apart.replace(letter, plain)
    bare = "".join(c for c in unicodedata.normalize("NFKD", apart) if not unicodedata.combining(c))
    return re.sub(r"[\s_\-'\u2019]+", " ", bare.lower()).strip()


def meaning_of(texts: Sequence[str]) -> Meaning:
    """What names say together.

    Parameters
    ----------
    texts
        Such as a segment's label, its description and the meaning of its type; empty ones say nothing.
    """
    found = {_meaning(spelled(text[:MOST_LETTERS])) for text in texts} - {Meaning.NOTHING}
    if not found:
        return Meaning.NOTHING
    return found.pop() if len(found) == 1 else Meaning.BOTH


@lru_cache(maxsize=4096)
def _meaning(text: str) -> Meaning:
    numbered = re.sub(r"(?<![a-z])no\.? ?(?=\d)", "", text)
    kept = _BESIDE.sub(" ", numbered)
    rest = _AT_A_PLACE.sub(" tumor ", _OF_A_PLACE.sub(" tumor ", kept))
    other = kept != numbered or _OTHER.search(rest) is not None
    if re.search(_TUMOR, rest) is None:
        return Meaning.OTHER if other or text in _ABBREVIATIONS or _LEVEL.fullmatch(text) else Meaning.NOTHING
    return Meaning.BOTH if other or _NEGATION.search(rest) else Meaning.TUMOR


def names(texts: Sequence[str], words: str) -> bool:
    """Whether one of the texts holds `words`, as whole words and without regard to case."""
    wanted = re.compile(rf"(?<!\w){re.escape(_plain(words))}(?!\w)")
    return any(wanted.search(_plain(text)) for text in texts)


def _plain(text: str) -> str:
    return text.lower().replace("_", " ").strip()
