"""Who may import whom (docs/architecture.md), read from the sources; and what a camera worker must never load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OWN = ("pipeline", "detectors", "reid", "run_pipeline")

# Each layer may import the layers before it. Parts of one layer do not import each other.
LAYERS = (
    ("pipeline.types", "pipeline.errors"),
    (
        "pipeline.config",
        "pipeline.ports",
        "pipeline.boxes",
        "pipeline.ground",
        "pipeline.resolution",
        "pipeline.retrieval",
        "pipeline.seqinfo",
    ),
    (
        "pipeline.capture",
        "pipeline.tracking",
        "pipeline.bus",
        "pipeline.identity",
        "pipeline.background",
        "pipeline.inference",
        "pipeline.view",
        "pipeline.scenes",
        "pipeline.scoring",
    ),
    ("pipeline.runtime",),
    ("pipeline.replay", "pipeline.reporting", "pipeline.fitting", "pipeline.search"),
    ("pipeline.build",),
    ("pipeline.commands", "pipeline.entry"),
    ("run_pipeline",),
)
SEEN_BY_MODELS = ("types", "ports", "errors", "boxes", "config", "retrieval")
MAY_IMPORT_REID = {
    "pipeline/build.py",
    "pipeline/commands/adapting.py",
    "pipeline/commands/doctor.py",
    "pipeline/commands/evaluate.py",
    "pipeline/commands/export.py",
    "pipeline/commands/search.py",
    "pipeline/commands/train.py",
    "pipeline/commands/weights.py",
}
MAY_IMPORT_DETECTORS = {"pipeline/build.py", "pipeline/commands/doctor.py"}
HEAVY = ("torch", "torchvision", "ultralytics", "onnxruntime", "onnx", "openvino")
ONE_MODULE_EACH = ("matplotlib", "starlette", "uvicorn", "trackeval")
BY_NAME = {"import_module", "import_quietly", "__import__"}


def sources():
    folders = ("pipeline", "detectors", "reid")
    return [*sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py")), ROOT / "run_pipeline.py"]


def imports_of(path):
    """(module, line) of every import in a file, also inside functions, also by name."""
    found = []
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from pipeline import build` names a module as well
            found += [(module, node.lineno), *((f"{module}.{a.name}", node.lineno) for a in node.names)]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            texts = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            found += [(text, node.lineno) for text in texts if name in BY_NAME]
    return found


IMPORTS = {path.relative_to(ROOT).as_posix(): imports_of(path) for path in sources()}


def part_of(module):
    """The entry of LAYERS that a module belongs to; None for one of other people's, or for names inside a module."""
    parts = [part for layer in LAYERS for part in layer]
    return next((part for part in parts if module == part or module.startswith(part + ".")), None)


def module_of(file):
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def rank(part):
    return next(i for i, layer in enumerate(LAYERS) if part in layer)


def breaches(wrong):
    """`file:line imports module` of every import for which `wrong(file, module)`."""
    return sorted(
        {
            f"{file}:{line} imports {module}"
            for file, found in IMPORTS.items()
            for module, line in found
            if wrong(file, module)
        }
    )


def top(module):
    return module.split(".")[0]


def test_every_module_belongs_to_a_layer():
    own = [file for file in IMPORTS if file.startswith("pipeline/") and file != "pipeline/__init__.py"]
    assert [file for file in own if part_of(module_of(file)) is None] == []


def test_imports_point_down_the_layers_only():
    def wrong(file, module):
        here, there = part_of(module_of(file)), part_of(module)
        if here is None or there is None or here == there:
            return False
        return rank(there) >= rank(here)

    assert breaches(wrong) == []


def test_detectors_and_reid_know_the_values_and_seams_only_and_never_each_other():
    def wrong(file, module):
        here = file.split("/")[0]
        if here not in ("detectors", "reid") or top(module) not in OWN or top(module) == here:
            return False
        allowed = [f"pipeline.{name}" for name in SEEN_BY_MODELS]
        return not any(module == a or module.startswith(a + ".") for a in allowed)

    assert breaches(wrong) == []


def test_only_build_and_the_commands_about_models_import_reid_and_detectors():
    def wrong(file, module):
        if not file.startswith("pipeline/"):
            return False
        return (top(module) == "reid" and file not in MAY_IMPORT_REID) or (
            top(module) == "detectors" and file not in MAY_IMPORT_DETECTORS
        )

    assert breaches(wrong) == []


def test_ultralytics_is_imported_in_detectors_only():
    assert breaches(lambda file, module: top(module) == "ultralytics" and not file.startswith("detectors/")) == []
    assert breaches(lambda file, module: top(module) == "ultralytics" and file.startswith("detectors/")), "by name, too"


def test_networks_are_imported_in_detectors_and_reid_only():
    def wrong(file, module):
        return top(module) in HEAVY and not file.startswith(("detectors/", "reid/"))

    assert breaches(wrong) == []


def test_models_are_never_imported_by_importing_a_module_of_the_pipeline():
    """At the top of a file, outside of functions."""
    wrong = []
    for file in IMPORTS:
        if file.startswith(("detectors/", "reid/")) or file == "run_pipeline.py":
            continue
        for node in ast.parse((ROOT / file).read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            wrong += [f"{file}: {n}" for n in names if top(n) in (*HEAVY, "detectors")]
    assert wrong == []


@pytest.mark.parametrize("library", ONE_MODULE_EACH)
def test_what_only_one_part_needs_is_imported_by_that_part_only(library):
    importers = {part_of(module_of(file)) for file, found in IMPORTS.items() for m, _ in found if top(m) == library}
    assert len(importers) <= 1


def test_nothing_is_pickled_or_unpickled():
    """Naming the error that a foreign file may raise is fine."""
    assert breaches(lambda _, module: top(module) in ("dill", "marshal", "shelve", "joblib")) == []
    used = {
        f"{file}: pickle.{node.attr}"
        for file in IMPORTS
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pickle"
    }
    assert {name for name in used if not name.endswith("pickle.UnpicklingError")} == set()
    assert breaches(lambda _, module: module.startswith("pickle.") and module != "pickle.UnpicklingError") == []


@pytest.mark.parametrize(
    "modules",
    [
        "pipeline.runtime.camera",
        "pipeline.inference.client",
        "pipeline.build",
        "reid.load, reid.heads",
        "pipeline.capture.rtsp, pipeline.capture.webcam",
        "pipeline.identity.matcher, pipeline.bus.state",
    ],
)
def test_what_a_worker_imports_loads_no_network_library(modules):
    code = f"import sys; import {modules}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_no_file_names_a_place_of_one_machine():
    somewhere = re.compile(r"/(?:work|home|Users|root|mnt|media)/[A-Za-z0-9_]+|/tmp/[A-Za-z]|[A-Z]:\\\\Users")
    endings = (".py", ".md", ".yaml", ".toml", ".html", ".js", ".css", ".sh", ".json")
    folders = ("pipeline", "detectors", "reid", "tests", "benchmarks", "configs", "docs", "tools")
    files = [p for folder in folders for p in sorted((ROOT / folder).rglob("*")) if p.suffix in endings]
    files += [p for p in ROOT.iterdir() if p.suffix in endings or p.name == "Makefile"]
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{number}: {match[0]}"
        for path in files
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in [somewhere.search(line)]
        if match
    ]
    assert found == []
