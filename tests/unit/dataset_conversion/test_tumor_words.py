"""What names say: of tumors, of other structures, of both, or nothing."""

from __future__ import annotations

import pytest

from nnunet_spine.dataset_conversion.tumor_words import Meaning, meaning_of, names

TUMORS = (
    *("Tumor", "tumour", "Tumeur", "tumore", "lesion 1", "Lésion", "Läsion", "Laesion", "lesione", "lesión", "Mass"),
    *("Neoplasm, primary", "Neoplasia", "masse", "Raumforderung", "Geschwulst", "Metastase", "GTV", "GTV_1", "GTVp"),
    *("schwannoma", "Schwannom", "schwannome", "Meningeom", "méningiome", "Ependymom", "épendymome", "Hämangioblastom"),
    *("hémangioblastome", "spinal cord tumor", "Spinal_Cord_Tumor", "cord ependymoma", "nerve sheath tumor", "iGTV"),
    *("filum terminale ependymoma", "cauda equina paraganglioma", "brain tumor", "Hirntumor", "Rückenmarkstumor"),
    *("Wirbelmetastase", "vertebral metastasis", "tumeur de la moelle épinière", "tumor in the spinal canal"),
    *("tumor de la médula espinal", "tumore del midollo", "Tumor_L2", "Lesion C5", "TumorCore", "Enhancing tumor"),
    *("LesionMask", "T1lesion", "tumor1", "lesion-manual", "Tumor No. 2", "intramedullary lesion", "intradural tumor"),
    *(
        "tumor_1",
        "lesion2",
        "Lesions",
        "Läsionen",
        "laesie",
        "lesioni",
        "lesiones",
        "tumor-core",
        "spinal tumor",
        "mass",
    ),
    *(
        "mass",
        "IDEM tumor",
        "meningioma",
        "schwannoma L3",
        "Neoplasie",
        "neoplasm",
        "Knochenläsion",
        "Rückenmarksläsion",
    ),
    *("residual tumor", "recurrent tumor", "Resttumor", "extra-axial mass", "presacral mass", "paraganglioma", "masas"),
    *(
        "brain-tumor",
        "spinal-cord-tumor",
        "choroid plexus papilloma",
        "epidermoid",
        "tumor freehand",
        "tumorous tissue",
    ),
    *("ring-enhancing lesion", "Non-enhancing tumor", "nonenhancing tumor", "Non-Hodgkin lymphoma", "Neoplasm, NOS"),
    *(
        "lesion 5mm",
        "lesion 1+2",
        "tumorous tissue",
        "random lesion",
        "Lesion index 3",
        "tumor (optional)",
        "post-contrast lesion",
    ),
)
GROSS_VOLUMES = (
    *("GTVp1", "GTVn", "GTVp2_MR1", "GTV_5040", "GTV_L3", "GTV boost", "GTVboost", "GTV_left", "GTV-1", "1-GTV"),
    *("MR-GTV", "L5-GTV", "left-GTV", "pGTV", "IGTV", "GTV1+GTV2", "GTV post op", "GTV^Dr"),
)
HELPERS = (
    *("Lungs-GTV", "SpinalCord-GTV", "Brain-GTV", "Brain-GTVp1", "Cord-IGTV", "Rectum-GTV", "E-GTV", "Body-GTV"),
    *("Lungs - GTV", "Lungs \u2013 GTV", "Brain-zGTV", "Rectum-(GTV)", "Lungs_GTV", "LungsGTV", "Brain minus GTV"),
    *("GTV-PTV", "GTV-SpinalCord", "GTVp-GTVn", "Ring_GTV", "GTV_ring", "GTVring", "Shell_GTV", "GTV_PRV", "GTVsb"),
    *(
        "zGTV",
        "z_GTV",
        "_GTV",
        "xGTV",
        "zGTV_opt",
        "GTVopt",
        "GTV_opt2",
        "GTV_Eval",
        "GTVeval",
        "GTV_exp",
        "GTV margin",
    ),
    *("GTV margin", "GTV+5", "GTV+5mm", "GTV + 0.5 cm", "GTV1+5", "GTV_5mm", "GTV exp 5mm", "xAvoid_GTV", "dummy GTV"),
)
"""Names of a planning system for structures that were made from the gross tumor volume (AAPM Report 263)."""

DENIED = (
    *("notumor", "nontumor", "NOTUMOR", "noTumor", "nolesion", "no mass", "no lesion", "kein Tumor", "keine Läsion"),
    *(
        "ohne Tumor",
        "sans tumeur",
        "sin tumor",
        "sin lesión",
        "senza tumore",
        "sem tumor",
        "geen tumor",
        "nonneoplastic",
    ),
    *(
        "nonneoplastic",
        "non-lesional",
        "non tumorale",
        "nonmetastatic",
        "lesionfree",
        "lesion-free",
        "tumor free",
        "tumorfrei",
    ),
    *("tumorfreies Gewebe", "läsionsfrei", "metastasenfrei", "tumorlos", "tumorless", "Pseudo-lesion", "pseudotumor"),
    *("perilesional", "peri-tumoral", "antitumor", "paraneoplastic", "cord without tumor"),
    *("Mass effect", "Masseneffekt", "Massa intermedia"),
    *("Facettenhyperplasie", "Wirbeldysplasie", "rectum", "pelvis"),
)
UNCLEAR_TUMORS = (
    *("Tumorbett", "tumor bed", "lit tumoral", "lecho tumoral", "post-tumor", "prelesional", "preneoplastic"),
    *("intratumoral", "extratumoral", "resected tumor", "Tumorresektion", "tumor cavity", "Tumorhöhle", "Tumorzyste"),
    *("Tumorrand", "tumor margin", "lesion bbox", "tumor probability", "tumorectomy", "tumor marker", "tumor+2cm"),
    *("free of tumor", "libre de tumor", "pas de tumeur", "Kein Hinweis auf Tumor", "tumor negative", "former tumor"),
    *("effet de masse", "efecto de masa", "effetto massa"),
)
NO_WORDS = ("massage", "Dysplasie", "Aplasie", "Hyperplasie", "massive", "metastable", "blastomycosis", "nonenhancing")
OTHERS = (
    *("cord", "Spinal cord", "SpinalCord", "spinalcord", "Rückenmark", "Rueckenmark", "moelle épinière", "Myelon"),
    *("médula espinal", "midollo spinale", "canal", "Spinalkanal", "CSF", "LCR", "disc", "disk L4/5", "Bandscheibe"),
    *("disque", "vertebra", "vertebrae_L1", "Wirbelkörper", "L5", "C3", "T12", "L4-5", "edema", "Ödem", "Oedem"),
    *("œdème", "syrinx", "Syringomyelia", "cyst", "Zyste", "kyste", "quiste", "brain", "brainmask", "Gehirn", "psoas"),
    *("cerebellum", "muscle", "heart", "kidney_left", "Niere", "CTV", "PTV", "BODY", "External", "SC", "GM", "WM"),
    *("brainstem", "aseg", "nerve root", "cauda equina", "conus", "lateral mass", "muscle mass", "normal cord"),
    *("hematoma", "Hämatom", "sacrum", "face", "peritumoral", "aorta", "background", "resection cavity", "no tumor"),
    *("non-tumor", "sub-01 disc labels", "PRV_SpinalCord05", "Lens_L", "autochthon_left", "Left-Cerebral-White-Matter"),
)
UNCLEAR = (
    *("tumor edema", "Tumorödem", "PTV tumor", "tumor and cord", "cord with lesion", "cyst of the tumor", "tumor cyst"),
    *("edema around tumor", "œdème tumoral", "Tumor, ohne Myelon"),
)
NOTHING = (
    *("Segment_1", "Segment 1", "ROI 1", "A", "mask", "label", "manual", "1", "Segmentation", "region", "rater1", ""),
    *("foreground", "enhancing", "necrosis", "intradural", "extradural", "abnormal", "Befund", "Untitled", "Tissue"),
    *("Morphologically Abnormal Structure", "roi", "Segment_1_1", "green", "preproc", "intramedullary", "Zebulon"),
)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        *((text, Meaning.TUMOR) for text in TUMORS + GROSS_VOLUMES),
        *((text, Meaning.OTHER) for text in OTHERS + DENIED),
        *((text, Meaning.BOTH) for text in UNCLEAR + UNCLEAR_TUMORS + HELPERS),
        *((text, Meaning.NOTHING) for text in NOTHING + NO_WORDS),
    ],
)
def test_a_name_says(text: str, meaning: Meaning) -> None:
    assert meaning_of([text]) is meaning


def test_several_names_say_it_together() -> None:
    assert meaning_of(["Segment_1", "lesion", ""]) is Meaning.TUMOR
    assert meaning_of(["Segment_1", "Spinal cord"]) is Meaning.OTHER
    assert meaning_of(["Tumor", "Spinal cord"]) is Meaning.BOTH
    assert meaning_of(["tumor cyst", "lesion"]) is Meaning.BOTH
    assert meaning_of([]) is Meaning.NOTHING


def test_a_text_of_megabytes_is_not_searched_for_hours() -> None:
    assert meaning_of(["vertebr" * 200_000]) is Meaning.OTHER
    assert meaning_of(["tumor in the " * 100_000]) is Meaning.TUMOR


def test_labels_are_whole_words() -> None:
    assert names(["Tumor_L2"], "tumor l2")
    assert names(["left Tumor, solid"], "tumor")
    assert not names(["peritumoral", "tumors"], "tumor")
    assert names(["GTV (1)"], "GTV (1)")
