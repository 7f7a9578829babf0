"""What a study file may say to SLURM. Snakemake's executor writes it into a shell command."""

from __future__ import annotations

import re

from nnunet_spine.workflow.study_yaml import Entry

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,+@-]{0,199}")
_CONSTRAINT = re.compile(r"[A-Za-z0-9_(\[!][A-Za-z0-9_.,:=+&|!*()\[\]-]{0,199}")
_OPTION = re.compile(r"--(?P<name>[a-z][a-z-]*)(=[A-Za-z0-9_.,:/@%+=\[\]-]+)?")

EXTRA_OPTIONS = frozenset(
    (
        "acctg-freq",
        "begin",
        "cluster-constraint",
        "contiguous",
        "core-spec",
        "cores-per-socket",
        "deadline",
        "delay-boot",
        "distribution",
        "exclude",
        "exclusive",
        "extra-node-info",
        "gpu-bind",
        "gpu-freq",
        "gres-flags",
        "hint",
        "licenses",
        "mail-type",
        "mail-user",
        "mem-bind",
        "mincpus",
        "network",
        "nice",
        "nodelist",
        "ntasks-per-core",
        "ntasks-per-node",
        "ntasks-per-socket",
        "overcommit",
        "oversubscribe",
        "power",
        "prefer",
        "priority",
        "profile",
        "reservation",
        "signal",
        "sockets-per-node",
        "spread-job",
        "switches",
        "thread-spec",
        "threads-per-core",
        "time-min",
        "tmp",
        "tres-bind",
        "use-min-nodes",
        "wckey",
    )
)
"""Options of sbatch that choose nodes, order and mail; none runs a command, names a file, or is the executor's own.

Source: sbatch(1), and `validation.py` of snakemake-executor-plugin-slurm 2.8.
"""


def read_name(entry: Entry) -> str:
    """A partition, an account or a quality of service; several with commas."""
    text = entry.text()
    if not _NAME.fullmatch(text):
        raise entry.expected("letters, digits and _ . , + @ -, at most 200")
    return text


def read_constraint(entry: Entry) -> str:
    """Features of nodes, as sbatch --constraint takes them."""
    text = entry.text()
    if not _CONSTRAINT.fullmatch(text):
        raise entry.expected("features of nodes in sbatch's form, such as avx512&ib or [rack1|rack2], without blanks")
    return text


def read_extra(entry: Entry) -> str:
    """Further options of sbatch, each --NAME or --NAME=VALUE."""
    words = entry.text().split()
    for word in words:
        option = _OPTION.fullmatch(word)
        if option is None:
            raise entry.refuse(
                f"found {word[:60]!r}; expected options of sbatch such as --nodelist=node[1-4] --exclusive, each with "
                "its value behind =, without quotes and other characters of the shell."
            )
        if option["name"] not in EXTRA_OPTIONS:
            raise entry.refuse(
                f"--{option['name'][:60]} cannot be given here. Keys of the study file say what a step needs "
                "(partition, account, qos, constraint; cpus, gpus, memory_gib, hours under resources). Other options "
                f"are {', '.join(sorted(EXTRA_OPTIONS))}."
            )
    return " ".join(words)
