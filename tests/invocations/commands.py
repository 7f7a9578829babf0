"""Sound invocations of every sub-command on the samples, with what each argument is, reads and may write."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from samples import DATASET, PREPROCESSED, RAW, TRAINED


class Role(Enum):
    """What an argument is."""

    INPUT = auto()
    OUTPUT = auto()
    ROOT = auto()
    NUMBER = auto()
    NAME = auto()
    WORD = auto()
    FLAG = auto()


@dataclass(frozen=True)
class Given:
    """An argument: its option ("" for a positional one), its value, and what it is."""

    option: str
    value: str
    role: Role

    def words(self) -> list[str]:
        """The argument as it is typed."""
        if self.role is Role.FLAG:
            return [self.option]
        return [self.option, self.value] if self.option else [self.value]


@dataclass(frozen=True)
class Sound:
    """A sound invocation.

    Parameters
    ----------
    command
        The sub-command.
    parts
        What of the samples it needs.
    given
        Its arguments.
    reads
        Files and folders that are damaged.
    writes
        Places below which it may write, besides its arguments that are outputs.
    also
        Arguments that may be added.
    fatal
        Arguments one of which is always hostile, since the command would take minutes.
    keeps
        Whether complete files stay where it fails: those of cases that are done.
    """

    command: str
    parts: Sequence[str]
    given: Sequence[Given]
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    also: Sequence[Given] = ()
    fatal: Sequence[Given] = ()
    keeps: bool = False


def _in(option: str, value: str) -> Given:
    return Given(option, value, Role.INPUT)


def _out(option: str, value: str) -> Given:
    return Given(option, value, Role.OUTPUT)


def _number(option: str, value: object) -> Given:
    return Given(option, str(value), Role.NUMBER)


def _name(option: str, value: str) -> Given:
    return Given(option, value, Role.NAME)


def _word(option: str, value: str) -> Given:
    return Given(option, value, Role.WORD)


def _flag(option: str) -> Given:
    return Given(option, "", Role.FLAG)


ROOT = Given("--root", "home", Role.ROOT)
JSON = _flag("--json")
DATASET_GIVEN = _name("", "58")
LABELS, IMAGES = f"{RAW}/labelsTr", f"{RAW}/imagesTr"
TABLES = tuple(f"{PREPROCESSED}/nnUNetSpinePlans_{name}.csv" for name in ("resize_ceiling", "bias_fields"))


def _convert(rng: random.Random) -> Sound:
    source = rng.choice(("export/cases.csv", "export/cases.csv", "dicom", "bids"))
    root = ROOT if rng.random() < 0.3 else Given("--root", "fresh", Role.ROOT)
    also = (
        *(JSON, _number("--dataset", 7), _number("--folds", 2), _number("--seed", 3), _number("--segment", 1)),
        *(
            _name("--name", "Other"),
            _name("--tumor-label", "tumor"),
            _number("--fraction", 0.4),
            _flag("--allow-partial"),
        ),
        *(_flag("--dry-run"), _out("--mapping", "private/map.csv"), _out("--write-cases", "found.csv")),
    )
    read = source.partition("/")[0]
    given = [_in("", source), root, _number("--folds", 2)]
    return Sound("convert", (read, *(["home"] if root is ROOT else [])), given, (read,), (), also)


def _import_corrections(rng: random.Random) -> Sound:
    given = [_in("", "corrections"), ROOT]
    also = (JSON, _name("--dataset", DATASET), _in("--images", "new"), _in("--cases", f"{RAW}/cases.csv"))
    also += (_out("--mapping", "home/private/x.csv"), _flag("--allow-partial"))
    reads = ("corrections", f"{RAW}/dataset.json", f"{RAW}/manifest.json", f"{RAW}/conversion_report.json")
    reads += (f"{RAW}/cases.csv", "home/private", f"{PREPROCESSED}/splits_final.json", LABELS, IMAGES)
    return Sound("import-corrections", ("corrections", "home", "new"), given, reads, (), also)


def _plan(rng: random.Random) -> Sound:
    bad = (_number("--memory-gib", 0), _number("--gamma", -1), _name("--plans-name", "../x"), DATASET_GIVEN)
    also = (
        JSON,
        _word("--bias", "none"),
        _number("--gamma", 0.8),
        _number("--memory-gib", 4),
        _name("--plans-name", "P"),
    )
    reads = (f"{RAW}/dataset.json", LABELS, IMAGES, f"{PREPROCESSED}/splits_final.json", PREPROCESSED)
    return Sound("plan", ("home",), [DATASET_GIVEN, ROOT], reads, (PREPROCESSED,), also, bad, keeps=True)


def _preprocess(rng: random.Random) -> Sound:
    also = (JSON, _name("--plans", "nnUNetSpinePlans"), _name("--configuration", "3d_fullres"))
    plans = f"{PREPROCESSED}/nnUNetSpinePlans.json"
    reads = (plans, plans, f"{RAW}/dataset.json", LABELS, IMAGES, PREPROCESSED)
    return Sound("preprocess", ("home",), [DATASET_GIVEN, ROOT], reads, (PREPROCESSED,), also, keeps=True)


def _train(rng: random.Random) -> Sound:
    given = [
        DATASET_GIVEN,
        _number("", 0),
        ROOT,
        _number("--epochs", 1),
        _word("--device", "cpu"),
        _number("--threads", 1),
    ]
    also = (
        JSON,
        _name("--trainer", "nnUNetTrainerSpine"),
        _name("--plans", "P"),
        _name("--configuration", "3d_fullres"),
    )
    also += (_number("--seed", 0), _word("--precision", "float32"), _flag("--save-probabilities"))
    reads = (f"{PREPROCESSED}/nnUNetSpinePlans.json", PREPROCESSED, f"{RAW}/dataset.json", TRAINED)
    bad = (
        DATASET_GIVEN,
        _number("", 0),
        _name("--plans", "P"),
        _name("--trainer", "T"),
        _name("--configuration", "2d"),
    )
    return Sound("train", ("home",), given, reads, (f"home/nnUNet_results/{DATASET}",), also, bad, keeps=True)


def _predict(rng: random.Random) -> Sound:
    output = rng.choice(("predicted", "segmented"))
    given = [DATASET_GIVEN, _in("--input", "new"), _out("--output", output), ROOT, _word("--device", "cpu")]
    also = (JSON, _number("--folds", 0), _flag("--save-probabilities"), _name("--plans", "P"), _name("--trainer", "T"))
    reads = ("new", "new", TRAINED, f"{TRAINED}/plans.json", f"{TRAINED}/dataset.json", f"{TRAINED}/fold_0")
    return Sound("predict", ("home", "new", "predicted"), given, reads, (), also, keeps=True)


def _evaluate(rng: random.Random) -> Sound:
    model = rng.choice(("predictions/a", "predictions/a", "predictions/b", TRAINED))
    output = rng.choice(("judged/a", "judged_new"))
    given = [_in("--reference", LABELS), _in("--predictions", model), _out("--output", output)]
    given += [_in("--splits", f"{PREPROCESSED}/splits_final.json")]
    given += [_in("--cases", f"{RAW}/cases.csv")] if rng.random() < 0.6 else []
    given += [_in("--images", IMAGES)] if rng.random() < 0.5 else []
    given += [_in("--resize-ceiling", TABLES[0]), _in("--bias-fields", TABLES[1])] if rng.random() < 0.5 else []
    also = (JSON, _word("--criterion", "any-overlap"), _flag("--accept-empty"), _flag("--compare-with-source-deck"))
    reads = (LABELS, model, *[one.value for one in given if one.option not in ("--output", "--reference")])
    return Sound("evaluate", ("home", "predictions", "judged"), given, reads, (), also)


def _compare(rng: random.Random) -> Sound:
    given = [
        _in("", "judged/a"),
        _in("", "judged/b/evaluation.json"),
        _out("--output", rng.choice(("compared", "new"))),
    ]
    given += [_word("--labels", "one"), _word("", "two")] if rng.random() < 0.4 else []
    also = (JSON, _word("--mode", "full-schedule"), _name("--note", "far from trained"), _word("--methods", "x"))
    names = ("a/evaluation.json", "b/evaluation.json", "a/manifest.json", "b/manifest.json")
    return Sound("compare", ("judged", "compared"), given, [f"judged/{name}" for name in names], (), also)


def _report(rng: random.Random) -> Sound:
    given = [_in("--evaluation", "judged/a"), _in("--predictions", "predictions/a")]
    given += [_in("--references", LABELS), _in("--images", IMAGES), _out("--output", rng.choice(("reported", "shown")))]
    several = rng.random() < 0.35
    if several:
        given += [
            _in("--evaluation", "judged/b"),
            _in("--predictions", "predictions/b"),
            _in("--comparison", "compared"),
        ]
        given += [_word("--labels", "first"), _word("", "second")]
    also = (JSON, _name("--title", "A title"), _name("--note", "a note"), _in("--comparison", "compared"))
    reads = ("judged/a/evaluation.json", "judged/a/evaluation.json", "judged/a", IMAGES, "predictions/a", LABELS)
    reads += ("reported/contents.json", *(("judged/b", "compared", "compared/comparison.json") if several else ()))
    return Sound("report", ("home", "judged", "predictions", "compared", "reported"), given, reads, (), also)


def _correct_bias(rng: random.Random) -> Sound:
    images = rng.sample(
        [f"volumes/{name}" for name in ("a.nii.gz", "b.nii", "c.nrrd", "d.mha")], rng.choice((1, 1, 2, 4))
    )
    given = [_in("", image) for image in images]
    given += [_out("--output", rng.choice(("corrected", "fresh")))] if rng.random() < 0.8 else []
    given += [_out("--report", "pages/bias.html")] if rng.random() < 0.5 else []
    also = (JSON, _word("--method", rng.choice(("n4", "none"))), _flag("--field"), _number("--gamma", 0.8))
    shown = any(one.option == "--report" for one in given)  # a page names those that could not be corrected
    return Sound("correct-bias", ("volumes", "corrected", "pages"), given, images, (), also, keeps=shown)


def _init(rng: random.Random) -> Sound:
    given = [_out("", rng.choice(("new.yaml", "study.yaml", "a/b/c.yaml")))]
    return Sound("init", ("study.yaml",), given, (), (), (_word("--example", rng.choice(("ablation", "seeds"))),))


STUDY_PARTS = ("study.yaml", "study", "export")


def _run(rng: random.Random) -> Sound:
    given = [_in("", "study.yaml"), _flag("--dry-run")]
    also = (JSON, _word("--executor", "local"), _number("--jobs", 2))
    return Sound("run", STUDY_PARTS, given, ("study.yaml", "study.yaml", "study", "export"), (), also)


def _status(rng: random.Random) -> Sound:
    return Sound("status", STUDY_PARTS, [_in("", "study.yaml")], ("study.yaml", "study", "study"), (), (JSON,))


def _job(rng: random.Random) -> Sound:
    step = rng.choice(("convert", "train/first/0", "evaluate/first", "compare", "report", "preprocess/x", "plan/x"))
    given = [_in("", "study.yaml"), _name("", step)]
    return Sound("job", STUDY_PARTS, given, ("study.yaml", "study"), ("study",), keeps=True)


def _demo(rng: random.Random) -> Sound:
    bad = (_number("--cases", 0), _number("--epochs", 0), _number("--seed", -1), _in("--background", "nowhere"))
    return Sound("demo", (), [_out("--output", "demo"), _number("--cases", 4)], (), (), (JSON,), bad)


def _phantoms(rng: random.Random) -> Sound:
    output = rng.choice(("cohort", "cohort", "other"))
    given = [_out("--output", output), _number("--cases", 1)]
    also = (JSON, _number("--seed", 0), _in("--background", "volumes"))
    fatal = (_number("--cases", 0), _in("--background", "volumes")) if output == "other" and rng.random() < 0.8 else ()
    return Sound(
        "phantoms", ("cohort", "volumes"), given, ("cohort/manifest.json", "cohort", "volumes"), (), also, fatal
    )


def _env(rng: random.Random) -> Sound:
    return Sound("env", (), [ROOT], also=(JSON,))


def _exec(rng: random.Random) -> Sound:
    command = rng.choice(
        ("nnUNetv2_plan_experiment", "nnUNetv2_train", "nnUNetv2_nothing", "nnUNetv2_extract_fingerprint")
    )
    given = [ROOT, _word("", command), _name("", rng.choice(("--help", "-h", "-d", "-x")))]
    return Sound("exec", (), given, keeps=True)


def _info(rng: random.Random) -> Sound:
    return Sound("info", (), [ROOT], also=(JSON, _flag("--snakefile")))


SOUND: dict[str, tuple[int, Callable[[random.Random], Sound]]] = {
    "convert": (5, _convert),
    "import-corrections": (4, _import_corrections),
    "plan": (3, _plan),
    "preprocess": (3, _preprocess),
    "train": (3, _train),
    "predict": (3, _predict),
    "evaluate": (12, _evaluate),
    "compare": (9, _compare),
    "report": (9, _report),
    "correct-bias": (8, _correct_bias),
    "init": (3, _init),
    "run": (4, _run),
    "status": (4, _status),
    "job": (3, _job),
    "demo": (2, _demo),
    "phantoms": (4, _phantoms),
    "env": (2, _env),
    "exec": (2, _exec),
    "info": (2, _info),
}
"""How often a sub-command is taken, and its sound invocation."""
