"""What an installed selfreg promises: its files, pins, layers, and a quiet `import core.dp`."""

import ast
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What each package may import of the others.
LAYERS = {
    "core": {"core"},
    "models": {"models"},
    "adapters": {"adapters", "core", "models"},
    "experiments": {"adapters", "core", "experiments", "models"},
}

installed = pytest.mark.skipif(
    os.environ.get("SELFREG_INSTALLED") != "1",
    reason="only `make test` installs the wheel and its pinned dependencies",
)


def pins():
    """constraints.txt as {canonical name: version}."""
    text = (ROOT / "constraints.txt").read_text()
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    pinned = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line]
    assert all(pinned), "constraints.txt holds something else than name==version"
    return {canonicalize_name(match[1]): match[2] for match in pinned}


@installed
@pytest.mark.parametrize("package", LAYERS)
def test_tests_see_the_installed_package(package):
    found = Path(importlib.import_module(package).__file__)
    assert found.parent == Path(sysconfig.get_path("purelib"), package)


@installed
def test_wheel_holds_every_file_of_the_packages_and_no_other():
    sources = {
        str(path.relative_to(ROOT))
        for package in LAYERS
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name[0] != "."
    }
    files = {str(path) for path in importlib.metadata.files("selfreg")}
    assert {f for f in files if ".dist-info/" not in f and not f.endswith(".pyc")} == sources


@installed
def test_installed_version_is_that_of_pyproject():
    assert importlib.metadata.version("selfreg") == PYPROJECT["project"]["version"]


def test_every_direct_requirement_is_pinned_within_its_range():
    project = PYPROJECT["project"]
    direct = [project["dependencies"], *project["optional-dependencies"].values()]
    requirements = [Requirement(line) for group in direct for line in group]
    requirements += [Requirement(line) for line in PYPROJECT["build-system"]["requires"]]
    pinned = pins()
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        if name != "selfreg":
            assert requirement.specifier.contains(pinned[name], prereleases=True), requirement


@installed
def test_installed_dependencies_direct_or_not_have_the_pinned_versions():
    pinned, seen, todo = pins(), set(), [("selfreg", PYPROJECT["project"]["optional-dependencies"])]
    while todo:
        name, extras = todo.pop()
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            dependency = canonicalize_name(requirement.name)
            if dependency == "selfreg" or (dependency, *requirement.extras) in seen:
                continue
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": e}) for e in ("", *extras)):
                continue
            try:
                version = importlib.metadata.version(dependency)
            except importlib.metadata.PackageNotFoundError:
                continue  # of an extra that is not installed
            version = version.partition("+")[0]  # torch's tells for which device it was built
            assert version == pinned.get(dependency), f"{name} needs {dependency}, unpinned here"
            seen.add((dependency, *requirement.extras))
            todo.append((dependency, requirement.extras))


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_one_way(package):
    ours = {*LAYERS, "tests"}
    [folder] = importlib.util.find_spec(package).submodule_search_locations
    for path in Path(folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), path)):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            else:
                continue
            upward = {m for m in modules if m.partition(".")[0] in ours - LAYERS[package]}
            assert not upward, f"{path}:{node.lineno}: {package} must not import {upward}"


IMPORT_PROBE = """
import json, os, random, sys
import jax, numpy
import scipy.optimize, scipy.sparse.csgraph  # they import what they find, charset_normalizer say

def state():
    return {
        "environment": dict(os.environ),
        "jax.config": {name: repr(value) for name, value in jax.config.values.items()},
        "numpy error handling": numpy.geterr(),
        "numpy printing": repr(numpy.get_printoptions()),
        "numpy generator": repr(numpy.random.get_state()),
        "generator": repr(random.getstate()),
    }

before, known = state(), set(sys.modules)
import core.dp
after, new = state(), set(sys.modules) - known
# jax refuses a number of devices once a backend runs.
jax.config.update("jax_num_cpu_devices", 3)
json.dump(
    {
        "changed": [name for name in before if before[name] != after[name]],
        "modules": sorted({module.partition(".")[0] for module in new}),
        "x64": jax.config.jax_enable_x64,
        "devices": jax.device_count(),
    },
    sys.stdout,
)
"""


@pytest.fixture(scope="module")
def imported():
    """What a fresh interpreter says after `import core.dp`."""
    environment = {"JAX_PLATFORMS": "cpu"}
    environment |= {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_PROBE], env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def test_importing_dp_changes_no_global_state(imported):
    assert imported["changed"] == []
    assert imported["x64"] is False


def test_importing_dp_starts_no_backend(imported):
    assert imported["devices"] == 3


def test_importing_dp_needs_jax_numpy_and_scipy_alone(imported):
    owners = importlib.metadata.packages_distributions()
    used = {canonicalize_name(d) for m in imported["modules"] for d in owners.get(m, ())}
    assert used <= {"jax", "jaxlib", "ml-dtypes", "numpy", "scipy", "selfreg"}
