"""The figures of a bias-field correction as text, on the page and on the terminal."""

from __future__ import annotations

from nnunet_spine.preprocessing.advice import Advice, Findings

HEADER = ("image", "strength", "confidence", "order", "iterations", "ended")
UNKNOWN = "-"


def cells(name: str, found: Findings) -> tuple[str, ...]:
    """Cells of a table below `HEADER`."""
    return (
        name,
        strength_text(found),
        confidence_text(found.confidence),
        _or_unknown(found.order),
        _or_unknown(found.iterations),
        _or_unknown(found.stop),
    )


def figures_line(found: Findings) -> str:
    """All figures in one line."""
    known = "not known" if found.confidence is None else confidence_text(found.confidence)
    parts = [f"Strength {strength_text(found)}", f"confidence {known}"]
    if found.order is not None:
        parts.append(f"order {found.order}, {found.iterations} iterations ({found.stop})")
    if found.tissue_share is not None:
        parts.append(f"tissue in {100 * found.tissue_share:.0f} % of the samples")
    return ", ".join(parts) + (". Corrected." if found.changed else ". Left unchanged.")


def strength_text(found: Findings) -> str:
    """Strength as a factor; "none" where nothing was divided out."""
    return f"x{found.strength:.2f}" if found.changed else "none"


def confidence_text(confidence: float | None) -> str:
    """A probability in two digits, which are not rounded to certainty."""
    if confidence is None:
        return UNKNOWN
    return ">0.99" if confidence > 0.99 else f"{confidence:.2f}"


def gamma_note(gamma: float) -> str:
    """What a gamma before the correction means for its figures; "" where there is none."""
    if gamma == 1:
        return ""
    return (
        f"Gamma {gamma:g} came first, as in preprocessing. Strength and field are those after it; the image's own "
        f"field is about their power of 1/{gamma:g} (in logarithms, what is seen is {gamma:g} times the true field)."
    )


def sentence(advice: Advice) -> str:
    """An advice as a sentence."""
    return f"{advice.text[0].upper()}{advice.text[1:]}."


def _or_unknown(value: object) -> str:
    return UNKNOWN if value is None else str(value)
