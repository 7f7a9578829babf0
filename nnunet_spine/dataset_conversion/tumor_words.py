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


def _one_of(*lists: str) -> str:
    """A regular expression of words without boundaries; `_` is a space."""
    return f"(?:{'|'.join(word for words in lists for word in words.split())})".replace("_", " ")


_KINDS = (
    "ependym|mening[ei]|schwann|neurin|neurofibr|astro[cz]yt|gli|glioblast|angi|angioblast|paragangli|gangliogli|"
    "lymph|linf|lip|terat|[ck]avern|chord|sarc|[ck]ar[cz]in|medulloblast|oligodendrogli|neuro[cz]yt|chondr|oste|"
    "plasmo?a?[cz]yt|myel|melan|my|aden"
)
"""Stems of tumors that end with -oma, -om or -ome."""

_TUMOR_WORDS = (
    "*tumou?r* *tumeur* *(?<!p)(?:lasio|laesi[eo]|lesi[eo])* *geschwulst* *raumforderung* lesao lesoes",
    f"*(?:{_KINDS})om(?:a|as|ata|e|es|en|i)? *neoplas* mass(?:a|e|es|en)? masas? *metasta[st]*",
    "*dermoid* *blastom(?!y)* cancer* *krebs*",
)
"""A lesion's stem is not that of hyperplasia, Aplasie, Dysplasie."""

_OTHER_KINDS, _GROSS_VOLUME = "*[a-z]{4,}oma(?:s|ta)?", "i?gtv*"
_TUMOR = _any_of(*_TUMOR_WORDS, _OTHER_KINDS, _GROSS_VOLUME)
_TUMOR_NOT_VOLUME = _any_of(*_TUMOR_WORDS, _OTHER_KINDS)

_JOINED = _one_of(*(word.strip("*") for words in (*_TUMOR_WORDS, _GROSS_VOLUME) for word in words.split()))
"""A word for a tumor to which others are joined, as in nontumor, lesionfree and Tumorbett."""

_ENDING = "[a-z]{0,4}?"

_NO_TUMOR = (
    rf"{_START}(?:no|non|not|nicht|kein(?:e[mnrs]?)?|ohne|without|w/o|sans|sin|sem|senza|geen|zonder) ?{_JOINED}[a-z]*|"
    rf"{_JOINED}{_ENDING}(?: ?free(?! ?(?:hand|surfer))| ?frei(?:e[mnrs]?)?| ?vrij|less|los(?:e[mnrs]?)?){_END}|"
    rf"(?:peri|pseudo|{_START}(?:para|juxta|anti)) ?{_JOINED}[a-z]*"
)
"""What a name denies to be a tumor, or places about one, in one word or two: nolesion, tumor-free, pseudo-lesion."""

_BESIDE = re.compile(
    _any_of(
        "*edem* *odem* *syrin[xg]* cyst* *cysts? zyst* *zyste* *kyst* *quist* cisti* *hohle* *hoehle*",
        "*cavit* *kavit* *h(?:a|ae|e)matom* *h(?:a|ae|e)morr* *blutung* normal* *healthy* *gesund* [cpi]tv* prv*",
        "*granulom* *atherom* *serom* *hygrom* *zygom* *strom* *s[ck]otom* *trachom* *tuber[ck]ul*",
        "*resec[tc]* *rese[kz]* *glaucom* *lateral_mass* *massa_lateralis* (?:muscle|lean|fat|bone|body)_mass",
        "massa_intermedia mass_index *mass(?:a|e|en)?_?effe[ck]t* *background* *hintergrund*",
        "*artefa[ck]t* *artifact* *prothes* *implant* rings?(?!_enhanc) shells?",
    )
    + f"|{_NO_TUMOR}"
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
    "external couch *notochord* rectum* anus sigmoid* ileum jejun* bronch* chest thorax abdomen pelvis marrow plexus",
    "*chiasm* hypophys* pituitar* lips?",
)
_OTHER = re.compile(_PLACE)
_LEVEL = re.compile(r"(?:[ctls] ?\d{1,2}(?: ?[/ ] ?[ctls]? ?\d{1,2})?)(?: left| right)?")
"""A level of the spine alone; beside the name of a tumor it is its place."""

_ABBREVIATIONS = {"sc", "gm", "wm", "bs", "cbm", "cgm", "sgm", "st", "nb", "ivd", "vb", "lcr"}
"""Those of BIDS and of the Spinal Cord Toolbox for tissues and structures."""

_NEGATION = re.compile(
    _START
    + _one_of(
        "no non not nicht without w/o kein[a-z]* ohne sans sin sem senza geen zonder pas aucun[a-z]* nessun[a-z]*",
        "ningun[a-z]* nenhum[a-z]* absen[a-z]* ausen[a-z]* assen[a-z]* negativ[a-z]* free(?!_?(?:hand|surfer))",
        "frei(?:e[mnrs]?)? libre liber[oa] livre exempt[a-z]* false falsch[a-z]* former ehemalig[a-z]* removed",
        "excis[a-z]* entfernt[a-z]* minus except exclu[a-z]* outside adjacent near next around beside neben",
    )
    + _END
)

_DENIED_ADJECTIVE = re.compile(
    rf"{_START}non ?(?:hodgkin|small|enhanc[a-z]*|contrast[a-z]*|cystic|necrotic|malignant|specific|calcif[a-z]*)"
    r"|not otherwise specified"
)
"""Negations that leave the tumor a tumor."""

_HELPER = _one_of(
    "opti? optim[a-z]* eval exp expan[a-z]* dilat[a-z]* margin[a-z]* marge rand(?!om)[a-z]* border boundary",
    "edges? rim(?!_enhanc) halo crop[a-z]* rings?(?!_enhanc) shells? prv sb avoid[a-z]* spar(?:e|ed|ing) help",
    "hilf[a-z]* dummy bed bett lit lecho letto leito effe[ck]?t[a-z]* efecto efeito umgeb[a-z]* surround[a-z]*",
    "e[ck]tom[a-z]* marker centroid seeds? b?box bounding prob(?:s|ability|map)?",
)
_MARGIN = _one_of(
    rf"\+_?\d+(?:[.,]\d+)?_?[cm]m{_END}",
    rf"{_JOINED}{_ENDING}_?\+_?\d",
    r"gtv[a-z]*\d*_?\+_?\d",
    rf"gtv.*\d_?[cm]m{_END}",
    r"\d_?[cm]m_gtv",
)
"""Such as GTV+5, GTV_5mm and tumor + 2 cm; a lesion of 5 mm is its size."""

_MODIFIED = re.compile(
    rf"(?:{_START}|{_JOINED}{_ENDING}){_HELPER}{_END}|{_MARGIN}|"
    rf"{_START}(?:[xz]+|pre|prae|post|extra|intra|inter|trans) ?{_JOINED}"
)
"""Structures made from a tumor's, for planning or by a margin; what is about a tumor, before or after it.

Source
------
AAPM Report 263: a z or an underscore begins the names of structures that only serve planning; sb is the surgical bed.
"""

_LINK = (
    r"(?:de|du|des|del|della|dello|dell|di|da|do|d|of|in|im|am|an|at|der|das|dem|den|dans|en|nel|nella|within|inside|la|"
    r"le|l|el|the|il|lo|cervical|thoracic|lumbar|dorsal|spinal|upper|lower)"
)
_OF_A_PLACE = re.compile(
    rf"{_PLACE}[a-z]*(?: (?:sheath|roots?|equina|terminale|medullaris|body|bodies|column|canal))?[ /]?"
    rf"{_TUMOR_NOT_VOLUME}"
)
"""Such as "spinal cord tumor" and "Wirbelmetastase"; an organ's GTV may be the organ without it."""

_AT_A_PLACE = re.compile(
    rf"{_TUMOR_NOT_VOLUME}[a-z]*(?: {_LINK})+ {_PLACE}[a-z]*"
    r"(?: (?:canal|cord|column|bod(?:y|ies)|epiniere|espinal|spinale|equina))?"
)
"""Such as "tumor in the spinal canal" and "tumeur de la moelle épinière"."""


_QUALIFIER = re.compile(r"left|right|lt|rt|li|re|l|r|[a-z]?\d+|mri?|ct|pet|sub|primary|boost|total|new|final")
"""What a hyphen joins to GTV as its side, number, level or image; from another word it takes the GTV away."""


def spelled(text: str) -> str:
    """Lower case without accents, words that are joined by capitals, underscores or hyphens apart.

    The hyphen of names such as Lungs-GTV (AAPM Report 263: the lungs without the GTV) becomes the word "minus", and the
    underscore of _GTV the z that means the same.
    """
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    for letter, plain in (("ß", "ss"), ("œ", "oe"), ("Œ", "Oe"), ("æ", "ae")):
        apart = apart.replace(letter, plain)
    bare = "".join(c for c in unicodedata.normalize("NFKD", apart) if not unicodedata.combining(c))
    lower = re.sub(r"[\u2010-\u2015\u2212]", "-", bare.lower()).strip()
    lower = re.sub(r"^_+(?=i?gtv)", "z ", lower)
    lower = re.sub(r"([^\W_]+)[\s_]*-[\s_]*(?=\(?[xz]*i?gtv)", _hyphen, lower)
    return re.sub(r"[\s_\-'\u2019]+", " ", lower).strip()


def _hyphen(word: re.Match[str]) -> str:
    return f"{word[1]} " if _QUALIFIER.fullmatch(word[1]) else f"{word[1]} minus "


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
    numbered = _DENIED_ADJECTIVE.sub(" ", numbered)
    kept = _BESIDE.sub(" ", numbered)
    rest = _AT_A_PLACE.sub(" tumor ", _OF_A_PLACE.sub(" tumor ", kept))
    other = kept != numbered or _OTHER.search(rest) is not None
    if re.search(_TUMOR, rest) is None:
        return Meaning.OTHER if other or text in _ABBREVIATIONS or _LEVEL.fullmatch(text) else Meaning.NOTHING
    return Meaning.BOTH if other or _NEGATION.search(rest) or _MODIFIED.search(kept) else Meaning.TUMOR


def names(texts: Sequence[str], words: str) -> bool:
    """Whether one of the texts holds `words`, as whole words and without regard to case."""
    wanted = re.compile(rf"(?<!\w){re.escape(_plain(words))}(?!\w)")
    return any(wanted.search(_plain(text)) for text in texts)


def _plain(text: str) -> str:
    return text.lower().replace("_", " ").strip()
