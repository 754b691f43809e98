"""The house: imports go upward only, heavy libraries wait, and each decision has one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from symvi.information import METHODS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "symvi"
FILES = sorted(PACKAGE.rglob("*.py"))

# Ground first. A room imports from its own floor and from those below it.
FLOORS = (
    {"checks", "files", "arrays", "estimates"},
    {"symmetry", "permanents", "data"},
    {"networks", "likelihoods", "models", "posteriors", "draws", "alignment", "copies"},
    {"information", "truth"},
    {"vi"},
    {"comparison", "baselines"},
)
# Three wings stand on the ground and on symmetry alone, but PyTorch's on tracing too; no floor
# stands on them.
WINGS = {"tracing", "torch_bridge", "book"}
UNDER_WINGS = FLOORS[0] | {"symmetry"}

HEAVY = {
    "arviz",
    "blackjax",
    "distributed",
    "h5netcdf",
    "h5py",
    "igraph",
    "matplotlib",
    "netCDF4",
    "pandas",
    "sklearn",
    "torch",
    "xarray",
}
METHOD_NAMES = set(METHODS)
WRITERS = {"replace": "os", "rename": "os", "mkstemp": "tempfile", "NamedTemporaryFile": "tempfile"}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dotted(path: Path) -> str:
    """The name under which a file is imported: symvi/vi/__init__.py is symvi.vi."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in FILES}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(tree: ast.Module, *, lazy: bool) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported; with `lazy`, those inside functions too."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy:
            continue
        if is_type_checking(node):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def imported(path: Path, *, lazy: bool) -> set[str]:
    """The modules that a file imports, by their full names."""
    found = set()
    package = dotted(path) if path.name == "__init__.py" else dotted(path).rpartition(".")[0]
    for node in statements(parsed(path), lazy=lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES else base)
    return found


def room(module: str) -> str:
    """The part of symvi that a module belongs to: symvi.vi.fit belongs to vi."""
    return module.split(".")[1] if "." in module else ""


def floor(name: str) -> int | None:
    return next((i for i, names in enumerate(FLOORS) if name in names), None)


def inner(path: Path) -> set[str]:
    """The modules of symvi that a file imports, at any time."""
    return {name for name in imported(path, lazy=True) if name.split(".")[0] == "symvi"}


def test_every_room_has_a_floor():
    rooms = {room(name) for name in MODULES if room(name)}
    assert rooms - set().union(*FLOORS, WINGS) == set(), "add the room to FLOORS or WINGS"


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.parent != PACKAGE or p.stem != "__init__"], ids=named
)
def test_imports_go_upward_only(path):
    here = room(dotted(path))
    for name in inner(path):
        there = room(name)
        if there == here:
            continue
        where = f"{path.relative_to(ROOT)} imports {name}"
        assert there, f"{where}: import the module that defines it"
        if here in WINGS:
            under = UNDER_WINGS | ({"tracing"} if here == "torch_bridge" else set())
            assert there in under, f"{where}: a wing stands on the ground and symmetry"
        else:
            assert there not in WINGS, f"{where}: no floor stands on a wing"
            assert floor(there) <= floor(here), f"{where}, which is a floor above"


def test_no_module_imports_itself_in_a_circle():
    ways = {name: inner(path) & set(MODULES) for name, path in MODULES.items()}
    del ways["symvi"]  # the front door imports every room; nothing may import it back
    seen = {}

    def visit(name, trail):
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name in seen:
            return
        for after in sorted(ways.get(name, ())):
            visit(after, [*trail, name])
        seen[name] = True

    for name in ways:
        visit(name, [])


@pytest.mark.parametrize("path", FILES, ids=named)
def test_heavy_libraries_are_imported_when_first_used(path):
    early = {name.split(".")[0] for name in imported(path, lazy=False)}
    assert early & HEAVY == set(), "import it inside the function that uses it"


def literals(node: ast.AST) -> set:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}


def asks_a_kind(node: ast.Compare) -> bool:
    """Whether the comparison is about what an estimate is ("exact", "lower"...), not how it
    came."""
    return ast.unparse(node.left).split(".")[-1].strip("_") in ("kind", "kinds")


def branches_on_a_method(tree: ast.Module) -> list[str]:
    found = []
    for node in ast.walk(tree):
        compared = isinstance(node, ast.Compare) and not asks_a_kind(node)
        if (compared or isinstance(node, ast.MatchValue)) and literals(node) & METHOD_NAMES:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_room_branches_on_the_name_of_a_method(path):
    assert branches_on_a_method(parsed(path)) == [], "ask the method object instead"


def test_a_branch_on_a_method_is_seen():
    for text in ('a == "guided"', 'a in ("exact", None)', 'match a:\n  case "bethe": pass'):
        assert len(branches_on_a_method(ast.parse(text))) == 1
    assert branches_on_a_method(ast.parse('estimate.kind == "exact"')) == []


def names_of(node: ast.AST) -> list[str]:
    """The names that the imports inside a statement bring in."""
    found = [part for part in ast.walk(node) if isinstance(part, ast.ImportFrom)]
    return [alias.asname or alias.name for part in found for alias in part.names]


def exported(path: Path) -> dict[str, str]:
    """The names that an __init__ brings in from other modules, and where each comes from.

    What it imports later, when it is asked for, stands under ``if TYPE_CHECKING``.
    """
    found = {}
    body = parsed(path).body
    later = [node for block in body if is_type_checking(block) for node in block.body]
    for node in body + later:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "__init__.py"], ids=named)
def test_no_function_hides_the_module_of_its_name(path):
    for name, source in exported(path).items():
        module = f"{dotted(path)}.{name}"
        assert module not in MODULES or source == module, f"{source} hides the module {module}"


def test_the_front_door_names_what_it_opens():
    tree = parsed(PACKAGE / "__init__.py")
    listed = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    opened = exported(PACKAGE / "__init__.py")
    public = {name for name, source in opened.items() if source not in MODULES}
    public |= {name for name in listed if opened.get(name) in MODULES}  # some rooms are listed too
    assert set(listed) == public - {"annotations", "TYPE_CHECKING"}
    assert len(listed) == len(set(listed))


SCRIPTS = [
    *FILES,
    *sorted((ROOT / "book" / "_ext").rglob("*.py")),
    *sorted((ROOT / "book" / "reproduce").rglob("*.py")),
    *sorted((ROOT / "tests").rglob("*.py")),
]


def opens_text(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file: open, Path.open, read_text or write_text."""
    function = call.func
    if isinstance(function, ast.Name):
        named = function.id == "open"
        owner = ""
    elif isinstance(function, ast.Attribute):
        named = function.attr in ("open", "read_text", "write_text")
        owner = ast.unparse(function.value)
    else:
        return False
    modes = [
        part for part in literals(call) if isinstance(part, str) and set(part) <= set("rwxab+")
    ]
    binary = any("b" in mode for mode in modes)
    return named and not binary and owner not in ("files", "symvi.files", "webbrowser", "os")


def without_encoding(tree: ast.Module) -> list[str]:
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and opens_text(node)
        and "encoding" not in {keyword.arg for keyword in node.keywords}
    ]


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_text_files_have_an_encoding(path):
    assert without_encoding(parsed(path)) == []


def test_a_missing_encoding_is_seen():
    for text in ("open(p)", "p.read_text()", "p.write_text('a')", "p.open('w')"):
        assert len(without_encoding(ast.parse(text))) == 1
    for text in ("open(p, 'rb')", "p.read_text(encoding='utf-8')", "files.write_text(p, 'a')"):
        assert without_encoding(ast.parse(text)) == []


@pytest.mark.parametrize("path", [p for p in FILES if dotted(p) != "symvi.files"], ids=named)
def test_only_files_writes_in_one_step(path):
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = WRITERS.get(node.func.attr)
            assert owner is None or ast.unparse(node.func.value) != owner, "use files.whole_file"
        if isinstance(node, ast.ImportFrom) and node.module in WRITERS.values():
            assert not {alias.name for alias in node.names} & set(WRITERS), "use files.whole_file"
