"""The code keeps to the layers of docs/architecture.md."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "nnunet_spine"
ALLOWED_IN_BASE = {"numpy", "SimpleITK", "isal"}
EXCEPTIONS = {("workflow", "reporting")}


def layers_of(document: str) -> dict[str, int]:
    """Layer number by module name, from the document's table."""
    layers: dict[str, int] = {}
    for number, modules in re.findall(r"^\| (\d) \| ((?:`\w+`(?:, )?)+) \|", document, flags=re.MULTILINE):
        layers.update(dict.fromkeys(re.findall(r"`(\w+)`", modules), int(number)))
    return layers


def imports_of(source: str, package: str) -> set[str]:
    """Dotted names that a module imports, relative imports resolved."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package.split(".")[: -node.level + 1 or None], base]).rstrip(".")
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def violations(module: str, imports: set[str], layers: dict[str, int]) -> list[str]:
    """Imports of a module (its first name below the package) that the layers do not allow."""
    bad = []
    for name in sorted(imports):
        parts = name.split(".")
        if parts[0] == "nnunet_spine":
            target = parts[1] if len(parts) > 1 and parts[1] in layers else None
            if target is None or target == module:
                continue
            beside = layers[target] == layers[module]
            if layers[target] > layers[module] or (
                beside and layers[module] > 0 and (module, target) not in EXCEPTIONS
            ):
                bad.append(name)
        elif (layers[module] == 0 and parts[0] not in sys.stdlib_module_names | ALLOWED_IN_BASE) or (
            parts[0] == "nnunetv2" and module not in {"nnunet", "training"}
        ):
            bad.append(name)
    return bad


LAYERS = layers_of((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name not in {"__init__.py", "__main__.py"})


def test_the_table_names_every_module_and_nothing_else() -> None:
    here = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert set(LAYERS) == here - {"__init__", "__main__", "__pycache__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    package = ".".join(("nnunet_spine", *relative.parts[:-1]))
    module = relative.parts[0].removesuffix(".py")
    assert violations(module, imports_of(path.read_text(encoding="utf-8"), package), LAYERS) == []


def test_the_rules_catch_what_they_forbid() -> None:
    layers = {"cli": 2, "training": 1, "nnunet": 1, "errors": 0, "files": 0}
    assert violations("training", {"nnunet_spine.cli.main"}, layers) == ["nnunet_spine.cli.main"]
    assert violations("training", {"nnunet_spine.nnunet.planner"}, layers) == ["nnunet_spine.nnunet.planner"]
    assert violations("errors", {"torch"}, layers) == ["torch"]
    assert violations("cli", {"nnunetv2.paths"}, layers) == ["nnunetv2.paths"]
    assert violations("files", {"nnunet_spine.errors.BadInput", "numpy"}, layers) == []


def test_only_training_subclasses_the_trainer() -> None:
    pattern = re.compile(r"class \w+\([^)]*nnUNetTrainer\)")
    found = {p.relative_to(PACKAGE).parts[0] for p in MODULES if pattern.search(p.read_text(encoding="utf-8"))}
    assert found == {"training"}


@pytest.mark.parametrize("link", ["dataset_conversion", "trainers", "evaluation"])
def test_the_root_shows_the_three_parts_as_relative_links(link: str) -> None:
    path = ROOT / link
    assert path.is_symlink()
    assert path.readlink() == Path("nnunet_spine") / link
    assert (path / "__init__.py").is_file()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from nnunet_spine.cli.main import build_parser\n"
        "build_parser().format_help()\n"
        "heavy = {'torch', 'nnunetv2', 'monai', 'scipy', 'pandas', 'matplotlib', 'highdicom', 'pydicom', 'SimpleITK'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
