"""`nnunet-spine plan`: fingerprint and plans."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.console import print_json, print_paragraph, progress_bar, stop_cleanly
from nnunet_spine.cli.options import add_dataset, add_json, add_root, workspace_of

if TYPE_CHECKING:
    from nnunet_spine.nnunet.planning import Planned


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("plan", help="derive the plans from the data set")
    add_dataset(parser)
    parser.add_argument("--memory-gib", type=float, metavar="GIB", help="memory that training may take (default: 8)")
    parser.add_argument("--gamma", type=float, help="exponent of the contrast step (default: the protocol's; 1 is off)")
    parser.add_argument(
        "--bias", choices=("van_leemput", "n4", "none"), help="bias-field correction (default: the protocol's)"
    )
    parser.add_argument("--plans-name", metavar="NAME", help="name of the plans (default: nnUNetSpinePlans)")
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plan, and print the plans with their reasons."""
    from nnunet_spine.nnunet.environment import PLANS_NAME
    from nnunet_spine.nnunet.grid import DEFAULT_MEMORY_GIB
    from nnunet_spine.nnunet.planning import plan_dataset
    from nnunet_spine.preprocessing.pipeline import IntensitySettings
    from nnunet_spine.protocol import PROTOCOL, BiasMethod

    settings = IntensitySettings(
        gamma=PROTOCOL.gamma if arguments.gamma is None else arguments.gamma,
        bias_method=PROTOCOL.bias_method if arguments.bias is None else BiasMethod(arguments.bias),
    )
    stop_cleanly()
    with progress_bar("measuring the cases", visible=not arguments.json) as progress:
        planned = plan_dataset(
            arguments.dataset,
            workspace_of(arguments),
            memory_gib=DEFAULT_MEMORY_GIB if arguments.memory_gib is None else arguments.memory_gib,
            settings=settings,
            plans_name=arguments.plans_name or PLANS_NAME,
            progress=progress,
        )
    if arguments.json:
        fields = [asdict(field) for field in planned.bias_fields]
        content = {"plans_file": str(planned.plans_file), "plans": planned.plans, "ceiling": _summary(planned)}
        print_json({**content, "bias_fields": fields})
    else:
        _show(planned, arguments.dataset)
    return 0


def _summary(planned: Planned) -> dict[str, Any]:
    dice = [ceiling.dice for ceiling in planned.ceiling]
    return {
        "dice_mean": round(sum(dice) / len(dice), 4),
        "dice_minimum": min(dice),
        "vanished": [ceiling.case for ceiling in planned.ceiling if ceiling.vanished],
    }


def _shown(key: str, value: Any) -> str | None:
    """A planned value for a reader; None where it is too long to be shown."""
    if key == "patch_size":
        return "x".join(map(str, value))
    if key == "spacing":
        return " x ".join(f"{v:.2f}" for v in value) + " mm"
    if key == "bias_field.orders":
        return ", ".join(map(str, value))
    return None if value is None or isinstance(value, dict | list) else str(value)


def _show(planned: Planned, dataset: str) -> None:
    from nnunet_spine.nnunet.environment import CONFIGURATION, plans_option
    from nnunet_spine.nnunet.orientation import ORIENTATION_KEY
    from nnunet_spine.nnunet.planner import DEPARTURES_KEY, REASONS_KEY
    from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY
    from nnunet_spine.protocol import BiasMethod

    configuration = planned.plans["configurations"][CONFIGURATION]
    fields = {f"bias_field.{k}": v for k, v in configuration[SETTINGS_KEY]["bias_field"].items()}
    values = {**configuration, **fields, ORIENTATION_KEY: planned.plans.get(ORIENTATION_KEY, {}).get("axes")}
    for key, reason in planned.plans[REASONS_KEY].items():
        shown = _shown(key, values.get(key))
        if shown is not None:
            print_paragraph(f"{key} {shown}: {reason}")
    for departure in planned.plans[DEPARTURES_KEY]:
        print_paragraph(f"departure from the protocol: {departure}")
    summary = _summary(planned)
    print_paragraph(
        f"ceiling of the resize: mean Dice {summary['dice_mean']:.3f}, lowest {summary['dice_minimum']:.3f}, "
        f"lesions that vanish: {', '.join(summary['vanished']) or 'none'}"
    )
    print_paragraph(planned.advice.describe(BiasMethod(configuration[SETTINGS_KEY]["bias_method"])))
    for case, reason in planned.advice.not_measured.items():
        print_paragraph(f"no bias field could be measured in {case}: {reason}")
    print(f"plans: {planned.plans_file}")
    print(f"next:  nnunet-spine preprocess {dataset}{plans_option(planned.plans_file.stem)}")
