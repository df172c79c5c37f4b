"""Tests the shape of the source: which module imports which, and what every file begins with."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "tcpdl"

LONGEST = 450
"""Lines of the longest module that is still read in one go."""


@dataclass(frozen=True)
class Layer:
    """What the modules of one layer import, besides the standard library."""

    always: tuple[str, ...] = ()
    """Packages and modules, with all below them."""
    in_functions: tuple[str, ...] = ()
    """Those imported only once they are needed."""


# `tcpdl` itself stands for its version, not for what is below it.
LAYERS = {
    "tcpdl": Layer(),
    "tcpdl.wire": Layer(("tcpdl.wire",)),
    "tcpdl.digest": Layer(("tcpdl.wire", "blake3")),
    "tcpdl.access": Layer(("tcpdl.wire", "tcpdl.access")),
    "tcpdl.content": Layer(("tcpdl.wire", "tcpdl.digest", "tcpdl.access", "tcpdl.content")),
    "tcpdl.web": Layer(
        (
            *("tcpdl", "tcpdl.wire", "tcpdl.digest", "tcpdl.content", "tcpdl.web"),
            *("httptools", "jinja2", "markupsafe", "markdown_it"),
        )
    ),
    "tcpdl.server": Layer(
        (
            *("twisted", "zope", "tcpdl", "tcpdl.wire", "tcpdl.digest", "tcpdl.content"),
            *("tcpdl.access", "tcpdl.web", "tcpdl.server"),
        ),
        in_functions=("cryptography",),
    ),
    "tcpdl.logs": Layer(("twisted", "zope", "tcpdl.wire", "tcpdl.server", "tcpdl.logs")),
    "tcpdl.protocol": Layer(
        ("twisted", "zope", "tcpdl.wire", "tcpdl.digest", "tcpdl.protocol"),
    ),
    "tcpdl.landlock": Layer(),
    "tcpdl.sandbox": Layer(("tcpdl.landlock",)),
    "tcpdl.options": Layer(
        (
            *("twisted", "zope", "tcpdl", "tcpdl.wire", "tcpdl.access", "tcpdl.content"),
            *("tcpdl.web", "tcpdl.server", "tcpdl.logs", "tcpdl.options", "tcpdl.sandbox", "tomli"),
            "tcpdl.manual.model",
        )
    ),
    "tcpdl.daemon": Layer(("twisted", "tcpdl.content", "tcpdl.server")),
    "tcpdl.admin": Layer(
        (
            *("twisted", "zope", "tcpdl", "tcpdl.wire", "tcpdl.web", "tcpdl.server"),
            *("tcpdl.options", "tcpdl.daemon", "tcpdl.admin", "prometheus_client"),
        )
    ),
    "tcpdl.ports": Layer(("twisted", "tcpdl.wire", "tcpdl.server", "tcpdl.options")),
    "tcpdl.in_place": Layer(
        (
            *("tcpdl.content", "tcpdl.web", "tcpdl.server", "tcpdl.logs", "tcpdl.daemon"),
            "tcpdl.options",
        )
    ),
    "tcpdl.reloading": Layer(
        ("twisted", "tcpdl.wire", "tcpdl.server", "tcpdl.daemon", "tcpdl.options")
    ),
    "tcpdl.service": Layer(
        (
            *("twisted", "zope", "tcpdl", "tcpdl.wire", "tcpdl.content", "tcpdl.web"),
            *("tcpdl.server", "tcpdl.logs", "tcpdl.daemon", "tcpdl.admin", "tcpdl.options"),
            *("tcpdl.sandbox", "tcpdl.ports"),
            *("tcpdl.in_place", "tcpdl.reloading"),
        ),
        in_functions=("tcpdl.processes",),
    ),
    "tcpdl.processes": Layer(
        (
            *("twisted", "zope", "tcpdl", "tcpdl.wire", "tcpdl.server", "tcpdl.daemon"),
            *(
                "tcpdl.options",
                "tcpdl.sandbox",
                "tcpdl.landlock",
                "tcpdl.reloading",
                "tcpdl.ports",
                "tcpdl.admin",
            ),
            *("tcpdl.service", "tcpdl.processes"),
        )
    ),
    "tcpdl.client": Layer(
        ("tcpdl", "tcpdl.wire", "tcpdl.digest", "tcpdl.client"), in_functions=("rich",)
    ),
    "tcpdl.commands": Layer(
        ("tcpdl", "tcpdl.wire", "tcpdl.digest", "tcpdl.access", "tcpdl.client", "tcpdl.commands"),
        in_functions=("rich",),
    ),
    "tcpdl.serve": Layer(
        (
            *("twisted", "tcpdl", "tcpdl.wire", "tcpdl.server", "tcpdl.daemon", "tcpdl.service"),
            *("tcpdl.ports", "tcpdl.processes", "tcpdl.logs", "tcpdl.client.url"),
        )
    ),
    "tcpdl.checking": Layer(
        (
            *("twisted", "tcpdl", "tcpdl.wire", "tcpdl.server", "tcpdl.options", "tcpdl.ports"),
            *("tcpdl.serve", "tcpdl.service", "tcpdl.logs"),
        )
    ),
    "tcpdl.cli": Layer(
        ("tcpdl", "tcpdl.wire", "tcpdl.client"),
        in_functions=("tcpdl.serve", "tcpdl.service", "tcpdl.commands"),
    ),
    "tcpdl.manual": Layer(
        (
            *("twisted", "markdown_it", "tcpdl", "tcpdl.cli", "tcpdl.commands", "tcpdl.options"),
            *("tcpdl.manual", "tcpdl.checking"),
        )
    ),
    "tcpdl.__main__": Layer(("tcpdl.cli",)),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str) -> Layer:
    """The layer of `module`, or else of the package it is in."""
    if module in LAYERS:
        return LAYERS[module]
    package = module.rpartition(".")[0]
    if package in ("", "tcpdl"):
        raise LookupError(f"add {module} to a layer")
    return layer_of(package)


def imports(tree: ast.AST, in_function: bool = False) -> Iterator[tuple[str, bool]]:
    """Every name imported below `tree`, and whether that happens within a function only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides what is imported"
            yield from ((f"{node.module}.{alias.name}", in_function) for alias in node.names)
        else:
            function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports(node, in_function or function)


def allowed(name: str, packages: tuple[str, ...]) -> bool:
    if name.split(".")[0] in sys.stdlib_module_names:
        return True
    if name in ("tcpdl", "tcpdl.__version__"):
        return "tcpdl" in packages
    return any(f"{name}.".startswith(f"{package}.") for package in packages if package != "tcpdl")


def faults(module: str, source: str) -> list[str]:
    """What `module` imports and should not, or not there."""
    layer = layer_of(module)
    found = []
    for name, in_function in imports(ast.parse(source)):
        if not allowed(name, layer.always + (layer.in_functions if in_function else ())):
            found.append(name)
        elif f"{name}.".startswith("twisted.internet.reactor.") and not in_function:
            found.append(name)  # it would install a reactor before twistd has chosen one
    return found


def python_files(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((PROJECT / folder).rglob("*.py"))]
    assert files
    return files


def relative(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", python_files("tcpdl"), ids=relative)
def test_imports(path: Path) -> None:
    assert faults(module_name(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize("path", python_files("tcpdl", "twisted", "tests", "bench"), ids=relative)
def test_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", python_files("tcpdl", "twisted"), ids=relative)
def test_length(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


def test_plugins_name_the_daemon_and_import_nothing_of_it() -> None:
    # Twisted imports the plugin for every program that lists its plugins.
    files = [path for path in (PROJECT / "twisted").rglob("*") if path.suffix in (".py", ".pyi")]
    plugin = PROJECT / "twisted/plugins/tcpdl_plugin.py"
    checker = PROJECT / "twisted/plugins/tcpdl_cred.py"
    assert sorted(files) == [checker, plugin]  # an __init__.py would hide Twisted itself
    names = [name for name, _ in imports(ast.parse(plugin.read_text("utf-8")))]
    assert names == ["twisted.application.service.ServiceMaker"]
    found = imports(ast.parse(checker.read_text("utf-8")))
    ours = {name for name, within in found if name.startswith("tcpdl") and not within}
    assert ours == {"tcpdl.server.credentials.IBearerToken"}
    loaded = loaded_by("tcpdl.server.credentials")
    assert {name for name in loaded if name.startswith("tcpdl.")} == {
        *("tcpdl.server", "tcpdl.server.credentials"),
    }


@pytest.mark.parametrize(
    "path", python_files("tcpdl/wire", "tcpdl/access", "tcpdl/content"), ids=relative
)
def test_lower_layers_load_without_twisted(path: Path) -> None:
    assert "twisted" not in loaded_by(module_name(path))


@pytest.mark.parametrize("module", ["tcpdl", "tcpdl.client", "tcpdl.cli"])
def test_client_loads_without_twisted(module: str) -> None:
    loaded = loaded_by(module)
    assert module in loaded
    assert "twisted" not in loaded
    assert "zope" not in loaded


def test_every_client_module_loads_without_twisted() -> None:
    modules = [module_name(path) for path in python_files("tcpdl/client")]
    loaded = loaded_by(*modules)
    assert loaded >= set(modules)
    assert "twisted" not in loaded


def test_service_loads_without_a_reactor() -> None:
    loaded = loaded_by("tcpdl.service")
    assert "twisted.application.service" in loaded
    assert "twisted.internet.reactor" not in loaded


def loaded_by(*modules: str) -> set[str]:
    """The modules that a fresh interpreter has loaded once it has imported `modules`."""
    script = f"import sys, {', '.join(modules)}; print(*sys.modules, sep='\\n')"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return set(ran.stdout.splitlines())


# The checks themselves: a rule that nothing can break is none.
@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tcpdl", "import tcpdl.wire"),
        ("tcpdl.wire.names", "import twisted"),
        ("tcpdl.wire.names", "import hypothesis"),
        ("tcpdl.wire.names", "from tcpdl.content import errors"),
        ("tcpdl.wire.names", "from tcpdl import __version__"),
        ("tcpdl.wire.names", "def f():\n    import twisted"),
        ("tcpdl.wire.names", "if True:\n    from tcpdl import content"),
        ("tcpdl.content.directory", "from tcpdl.server.raw import Raw"),
        ("tcpdl.content.directory", "import zope.interface"),
        ("tcpdl.server.raw", "from tcpdl.client import raw"),
        ("tcpdl.server.raw", "from tcpdl import service"),
        ("tcpdl.server.raw", "from twisted.internet import reactor"),
        ("tcpdl.server.raw", "import twisted.internet.reactor"),
        ("tcpdl.server.raw", "from twisted.internet.reactor import callLater"),
        ("tcpdl.server.raw", "class C:\n    from twisted.internet import reactor"),
        ("tcpdl.server.raw", "try:\n    from twisted.internet import reactor\nfinally: ..."),
        ("tcpdl.service", "from twisted.internet import reactor"),
        ("tcpdl.client.get", "import twisted"),
        ("tcpdl.client.get", "def f():\n    from twisted.internet import reactor"),
        ("tcpdl.client.get", "from tcpdl.content.directory import Directory"),
        ("tcpdl.client.get", "from tcpdl.server import raw"),
        ("tcpdl.cli", "from tcpdl.serve import serve"),
        ("tcpdl.cli", "import tcpdl.service"),
        ("tcpdl.cli", "def f():\n    import tcpdl.server"),
        ("tcpdl.cli", "def f():\n    import twisted"),
    ],
)
def test_broken_rule_is_noticed(module: str, source: str) -> None:
    assert len(faults(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tcpdl.wire.raw", "import os.path\nfrom tcpdl.wire.names import Name"),
        ("tcpdl.wire.raw", "from tcpdl.wire import names"),
        ("tcpdl.content", "from tcpdl.wire import names"),
        ("tcpdl.server.raw", "import tcpdl\nfrom tcpdl import __version__"),
        ("tcpdl.server.raw", "def f():\n    from twisted.internet import reactor"),
        ("tcpdl.client.get", "from tcpdl import __version__\nfrom tcpdl.client.url import join"),
        ("tcpdl.cli", "async def f():\n    from tcpdl.serve import serve"),
    ],
)
def test_kept_rule_is_not_complained_about(module: str, source: str) -> None:
    assert faults(module, source) == []


def test_new_module_needs_a_layer() -> None:
    with pytest.raises(LookupError):
        faults("tcpdl.brand_new", "")


def test_relative_import_is_noticed() -> None:
    with pytest.raises(AssertionError, match="relative"):
        faults("tcpdl.wire.raw", "from . import names")
