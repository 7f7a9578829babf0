"""An invocation made from its seed: a sub-command, hostile arguments, damaged inputs, things in the way."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from commands import SOUND, Given, Role, Sound
from damage import damage_inputs
from places import FOREIGN, NAMES, odd_input, odd_output, put_foreign, put_odd

ODD_WORK = ("{braces} #1", "it's: a b", "Größe", os.fsdecode(b"not\xffutf8"), "new\nline", "a,b;c", "%s $(x)")
"""Names of the folder that everything is in."""

NUMBERS = (
    *("", "abc", "-1", "0", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 4000, "0x10", "½", "٣", "1.5", "1_0", " 1 "),
    *("99999999999999999999", "-99999999999999999999", "2147483648", "1e308", "--", "True"),
)
NAME_VALUES = (
    *("", " ", "..", ".", "../../foreign", "/foreign", "a/b", "a" * 300, "a\0b", "{x}", "#", "a b", "é", "\ud800"),
    *("-1", "0", "058", "1000", "999", "٥٨", "58 ", "Dataset058_x", "Dataset058_IntraduralSpineTumor", "os.system"),
    *("nnUNetTrainer", "nnUNetPlans", "2d", "None", "a\nb", "\x1b[31m", "<b>&amp;</b>", "|", "*", "first", "x__y__z"),
)
NO_NUMBERS = ("abc", "-1", "nan", "1e400", "", "1.5x", "-99999999999999999999")
BAD_NUMBERS = (*NO_NUMBERS, "9" * 4000)
BAD_NAMES = ("", "..", "/foreign", "a/b", "a" * 300, "a\0b", "1000", "no such thing", "\ud800", "os.system", "-1")
"""Values that can never be meant, for commands that would work for minutes otherwise."""

VARIABLES = {
    "NNUNET_SPINE_CPUS": ("0", "abc", "-3", "", "1", "99999999999999999999"),
    "nnUNet_raw": ("", "nowhere", "~nobody_here", "foreign/foreign_file.txt", "home/nnUNet_raw"),
    "NNUNET_SPINE_HOME": ("", "nowhere", "~nobody_here", "home"),
    "NNUNET_SPINE_EPOCHS": ("0", "abc"),
    "nnUNet_def_n_proc": ("abc", "0", "-1", ""),
    "nnUNet_extTrainer": ("nowhere", "/foreign", ""),
    "SLURM_CPUS_PER_TASK": ("abc", "1"),
    "COLUMNS": ("1", "abc"),
    "LC_ALL": ("C", "xx_YY"),
    "TMPDIR": ("nowhere",),
}
SLOW = frozenset(
    ("train", "demo", "phantoms", "plan", "preprocess", "predict", "job", "import-corrections", "convert", "exec")
)
"""Sub-commands that start processes or compute for seconds."""

WITHOUT_ROOT = ("evaluate", "compare", "report", "correct-bias", "phantoms", "demo", "init", "status")


@dataclass
class Invocation:
    """What is run.

    Parameters
    ----------
    sound
        What it was made from.
    work
        Folder that it is run in, with its inputs.
    foreign
        Folder of things that no command may touch, beside `work`.
    given
        Its arguments.
    variables
        Environment variables that are set for it.
    output
        What standard output is: a file, or something that cannot be written to.
    as_process
        Whether it is a process of its own.
    addresses
        Bytes of memory that it may reserve; None leaves much.
    """

    sound: Sound
    work: Path
    foreign: Path
    given: list[Given]
    variables: dict[str, str] = field(default_factory=dict)
    output: str = "file"
    as_process: bool = False
    addresses: int | None = None

    @property
    def words(self) -> list[str]:
        """The command line after the program's name."""
        return [self.sound.command, *(word for one in self.given for word in one.words())]

    def writable(self) -> list[Path]:
        """Places below which it may write."""
        told = [one.value for one in self.given if one.role in (Role.OUTPUT, Role.ROOT)]
        by_default = ["nnunet_spine_data", "demo", "study.yaml" if self.sound.command == "init" else "demo"]
        by_variable = [self.variables[name] for name in ("nnUNet_raw", "NNUNET_SPINE_HOME") if self.variables.get(name)]
        if self.sound.command in WITHOUT_ROOT:
            by_default, by_variable = by_default[1:], []
        named = [text for text in (*told, *by_default, *by_variable, *self.sound.writes) if "\0" not in text]
        return [_resolved(self.work, text) for text in named if text.strip()]


def _resolved(work: Path, text: str) -> Path:
    try:
        return Path(os.path.realpath(work / text))
    except (OSError, ValueError):
        return work / "impossible"


def make(samples: Path, place: Path, seed: int) -> Invocation:
    """Make the invocation of a seed, with its files below `place`."""
    rng = random.Random(seed)
    name = _command(rng)
    sound = SOUND[name][1](rng)
    work = place / (rng.choice(ODD_WORK) if rng.random() < 0.2 else "work")
    work.mkdir()
    for part in sound.parts:
        path = samples / part
        shutil.copytree(path, work / part) if path.is_dir() else shutil.copy2(path, work / part)
    foreign = place / FOREIGN
    put_foreign(foreign)
    made = Invocation(sound, work, foreign, list(sound.given))
    for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3)) if not sound.fatal else rng.choice((0, 0, 1))):
        with suppress(OSError, LookupError, ValueError):  # an earlier change left nothing that this one can be made to
            rng.choice(CHANGES)(made, rng)
    for one in sound.also:
        if rng.random() < 0.12 and one.option not in {known.option for known in made.given}:
            made.given.append(one)
    if sound.fatal:  # last, so that nothing takes its place
        _set(made, _fatal(rng.choice(sound.fatal), rng))
    made.as_process = rng.random() < 0.06
    return made


def command_of(seed: int) -> str:
    """The sub-command of a seed."""
    return _command(random.Random(seed))


def _command(rng: random.Random) -> str:
    return rng.choices(list(SOUND), [weight for weight, _ in SOUND.values()])[0]


def _set(made: Invocation, one: Given) -> None:
    """Put an argument in the place of that of its option, or behind the others."""
    for number, known in enumerate(made.given):
        if (known.option, known.role) == (one.option, one.role):
            made.given[number] = one
            return
    made.given.append(one)


def _fatal(one: Given, rng: random.Random) -> Given:
    """An argument that cannot be met."""
    if one.role is Role.INPUT:
        return replace(one, value="nowhere")
    return replace(one, value=rng.choice(NO_NUMBERS if one.role is Role.NUMBER else BAD_NAMES))


def _hostile(one: Given, made: Invocation, rng: random.Random) -> Given:
    """An argument with a value that nobody means."""
    if one.role is Role.INPUT:
        return replace(one, value=odd_input(made.work, made.foreign, rng))
    if one.role in (Role.OUTPUT, Role.ROOT):
        return replace(one, value=odd_output(made.work, made.foreign, rng))
    careful = made.sound.command in ("train", "demo", "phantoms")
    if one.role is Role.NUMBER:
        return replace(one, value=rng.choice(BAD_NUMBERS if careful else NUMBERS))
    return replace(one, value=rng.choice(BAD_NAMES if careful else NAME_VALUES))


def _argument(made: Invocation, rng: random.Random) -> None:
    """A hostile value of an argument, or of one that may be added."""
    candidates = [one for one in (*made.given, *made.sound.also) if one.role is not Role.FLAG]
    if candidates:
        _set(made, _hostile(rng.choice(candidates), made, rng))


def _usage(made: Invocation, rng: random.Random) -> None:
    """Arguments that are missing, doubled, unknown or in another order."""
    choice = rng.random()
    if choice < 0.4 and made.given:
        made.given.remove(rng.choice(made.given))
    elif choice < 0.6 and made.given:
        made.given.append(rng.choice(made.given))
    elif choice < 0.8:
        made.given.append(Given("", rng.choice(("--nothing", "-x", "extra", "--", "-", "", "\0", "--js")), Role.WORD))
    else:
        rng.shuffle(made.given)


def _inputs(made: Invocation, rng: random.Random) -> None:
    damage_inputs([made.work / path for path in made.sound.reads], made.foreign, rng)


def _in_the_way(made: Invocation, rng: random.Random) -> None:
    """Something odd in the place of an output, or of a file in it."""
    outputs = [one for one in made.given if one.role is Role.OUTPUT]
    places = [made.work / one.value for one in outputs] + [made.work / place for place in made.sound.writes]
    if not places:
        return
    place = rng.choice(places)
    if not _may_stand_in(made.work, place):
        return
    if not place.exists() or not place.is_dir():
        known = EXPECTED.get(made.sound.command, ("manifest.json",))
        place = place / rng.choice(known) if rng.random() < 0.4 and not os.path.lexists(place) else place
    elif rng.random() < 0.7:
        inside = sorted(path for path in place.rglob("*") if not path.is_dir())
        place = rng.choice(inside) if inside and rng.random() < 0.8 else place / f"{FOREIGN}_{rng.choice(NAMES)}"
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif os.path.lexists(place):
        place.unlink()
    put_odd(place, made.foreign, rng)


def _may_stand_in(work: Path, place: Path) -> bool:
    """Whether a path can have something below it, and lies in the work folder and above none of it."""
    try:
        return place.resolve().is_relative_to(work) and place.resolve() != work and not place.parent.is_file()
    except (OSError, ValueError, RuntimeError):
        return False


EXPECTED: dict[str, Sequence[str]] = {
    "evaluate": ("evaluation.json", "per_case.csv", "manifest.json", "strata.csv", ".nnunet_spine.lock"),
    "compare": ("comparison.json", "tests.csv", "manifest.json", ".nnunet_spine.lock"),
    "report": ("index.html", "cases", "contents.json"),
    "correct-bias": ("a.nii.gz", "b.nii", "a_field.nii.gz", "c.nrrd", ".nnunet_spine.lock"),
    "predict": ("new_50.nii.gz", "manifest.json", "new_50.npz"),
    "phantoms": ("cases.csv", "manifest.json"),
    "demo": ("export", "study.yaml"),
}


def _surroundings(made: Invocation, rng: random.Random) -> None:
    """Odd variables, an output that cannot be written to, or little memory."""
    choice = rng.random()
    if choice < 0.5:
        name = rng.choice(sorted(VARIABLES))
        made.variables[name] = rng.choice(VARIABLES[name])
    elif choice < 0.8:
        made.output = rng.choice(("full", "closed", "pipe", "both closed"))
    elif made.sound.command not in SLOW:
        made.addresses = rng.choice((2, 30, 100)) * 2**20


CHANGES = (*[_argument] * 5, _usage, *[_inputs] * 7, *[_in_the_way] * 4, _surroundings)
