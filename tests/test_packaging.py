"""What the package brings, what it needs, and what it does without the rest."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import tomllib
import venv
from itertools import chain
from pathlib import Path

import pytest

import symvi

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
PINS = [
    line.split("#")[0].strip()
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line.split("#")[0].strip()
]


# what each extra brings, by the names under which it is imported
BROUGHT = {
    "torch": ["torch"],
    "sweep": ["distributed", "dask"],
    "data": ["sklearn"],
    "exact": ["igraph"],
    "book": ["IPython", "ipykernel", "ipywidgets", "myst_nb"],
}

# Put before a program that runs in a fresh process: these libraries are not there.
BLOCK = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {missing}:
            return None
        return self.finder.find_spec(name, path, target)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def run(program: str, *, missing=(), python=sys.executable, **settings) -> str:
    """What a program prints in a fresh process that does not find the libraries `missing`."""
    program = BLOCK.format(missing=set(missing) or "()") + textwrap.dedent(program)
    environment = {"PYTHONPATH": str(ROOT), **os.environ, **settings.pop("env", {})}
    done = subprocess.run(
        [python, "-c", program],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        **settings,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_-]+", requirement)[0]


class TestRequirements:
    def test_they_are_exact_pins(self):
        assert PINS
        pin = r"[A-Za-z0-9_.-]+==[A-Za-z0-9.]+"
        assert [line for line in PINS if not re.fullmatch(pin, line)] == []

    def test_all_that_the_package_names_is_pinned(self):
        named = [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values())]
        wanted = {name_of(requirement) for requirement in named} - {"symvi"}
        assert wanted - {name_of(pin) for pin in PINS} == set()

    def test_every_dependency_has_a_floor(self):
        named = [*PROJECT["dependencies"], *chain.from_iterable(EXTRAS.values())]
        assert [r for r in named if ">=" not in r and not r.startswith("symvi[")] == []

    def test_the_core_brings_no_extra(self):
        core = {name_of(requirement) for requirement in PROJECT["dependencies"]}
        extra = {name_of(r) for name in BROUGHT for r in EXTRAS[name]}
        assert core & (extra | {"torch", "dask", "distributed", "scikit-learn"}) == set()

    def test_all_is_every_extra(self):
        assert EXTRAS["all"] == [f"symvi[{','.join(name for name in EXTRAS if name != 'all')}]"]
        assert set(BROUGHT) == set(EXTRAS) - {"all"}


def test_the_address_stands_in_one_place():
    """Whoever hosts the book changes one line; buttons and links follow it. The first cell of the
    notebooks, which must work alone, has it too; test_notebooks.py holds that to this line."""
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    (address,) = re.findall(r"^  url: https://(?:github|gitlab)\.com/(\S+)", config, re.M)
    owner = address.split("/")[0]
    texts = [*ROOT.glob("*.*"), *(ROOT / "book").glob("*.*"), *ROOT.glob(".github/**/*.yml")]
    texts += [*(ROOT / "symvi").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py")]
    texts = [path for path in texts if path.suffix != ".ipynb"]
    files = [path for path in texts if path.is_file() and path.name != "_config.yml"]
    named = [p.name for p in files if owner in p.read_text(encoding="utf-8")]
    assert named == []


class TestImport:
    HEAVY = (
        "arviz",
        "blackjax",
        "distributed",
        "matplotlib",
        "pandas",
        "scipy.stats",
        "sklearn",
        "symvi.book",
        "symvi.torch_bridge",
        "symvi.tracing",
        "torch",
        "xarray",
    )

    def test_brings_nothing_heavy(self):
        """`import symvi` costs little more than `import numpyro`; the rest waits for its use."""
        loaded = run("import symvi, sys; print(*sys.modules)").split()
        assert sorted(set(self.HEAVY) & set(loaded)) == []

    def test_every_name_is_listed_and_there(self):
        program = """
            import symvi
            listed = dir(symvi)
            assert set(symvi.__all__) <= set(listed), set(symvi.__all__) - set(listed)
            for name in symvi.__all__:
                assert getattr(symvi, name) is getattr(symvi, name), name
        """
        run(program)

    @pytest.mark.parametrize(
        "name",
        ["find_symmetry", "from_torch", "sweep", "claim", "book", "tracing", "torch_bridge"],
    )
    def test_the_wings_open_when_asked(self, name):
        run(f"from symvi import {name}; import symvi; assert symvi.{name} is {name}")

    def test_names_that_do_not_exist(self):
        with pytest.raises(AttributeError, match="'symvi' has no attribute 'fti'"):
            symvi.fti  # noqa: B018

    def test_rooms_are_reached_by_name(self):
        rooms = (
            "alignment comparison data draws information permanents posteriors symmetry truth vi"
        )
        run(f"import symvi\nfor room in '{rooms}'.split(): getattr(symvi, room)")

    def test_a_home_that_cannot_be_written(self, tmp_path):
        """ArviZ keeps a note of the day in the user's cache folder; below a file there is none."""
        (tmp_path / "file").write_text("", encoding="utf-8")
        nowhere = str(tmp_path / "file" / "home")
        environment = {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "MPLCONFIGDIR": str(tmp_path)}
        program = "import symvi; print(symvi.reference_posterior('two-weight').posterior.sizes)"
        assert "chain" in run(program, env=environment)

    def test_two_first_imports_at_once(self, tmp_path):
        """Both find no note of the day and both want to write it."""
        program = "import symvi; symvi.reference_posterior('two-weight')"
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        errors = [process.communicate(timeout=300)[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], errors


CORE = """
    import sys
    import jax
    import symvi

    jax.config.update("jax_enable_x64", True)
    data = symvi.data.absolute(1.0, num=12, num_test=4)
    bnn = symvi.BNN(symvi.MLP([1, 3, 1]), symvi.Gaussian(0.5))
    fit = symvi.fit(
        bnn, data.x, data.y, symmetrize="exact", steps=20, restarts=1, progress=False
    )
    symvi.elbo(bnn, fit.posterior, data.x, data.y, num_samples=20)
    assert 0 <= symvi.orbit_information(fit.posterior, num_samples=100).value
    early = {"arviz", "matplotlib", "pandas", "blackjax"} & set(sys.modules)
    assert not early, early
    drawn = symvi.nuts(bnn, data.x, data.y, chains=2, warmup=20, draws=20, progress=False)
    symvi.log_evidence(bnn, data.x, data.y, particles=32, repeats=2)
    print(drawn.posterior.sizes["draw"])
"""
WITHOUT = {
    "torch": ["symvi.from_torch(None, None)"],
    "sweep": ["symvi.sweep(symvi.data.absolute, [{'slope': 1.0}], folder)"],
    "data": ["symvi.data.digits()", "symvi.data.diabetes()"],
}


class TestWithoutExtras:
    def test_the_core_needs_none(self):
        missing = list(chain.from_iterable(BROUGHT.values()))
        warnings = "import warnings; warnings.simplefilter('ignore')\n"
        assert run(warnings + textwrap.dedent(CORE), missing=missing).split()[-1] == "20"

    @pytest.mark.parametrize("extra", WITHOUT)
    def test_what_needs_one_names_it_in_one_line(self, extra, tmp_path):
        program = """
            import symvi
            folder = {folder!r}
            for call in {calls!r}:
                try:
                    eval(call)
                except ImportError as error:
                    print(error)
        """
        program = textwrap.dedent(program).format(folder=str(tmp_path), calls=WITHOUT[extra])
        lines = run(program, missing=BROUGHT[extra]).splitlines()
        assert len(lines) == len(WITHOUT[extra])
        for line in lines:
            wanted = rf"symvi.* needs \w+, which is not installed: pip install 'symvi\[{extra}\]'"
            assert re.fullmatch(wanted, line), line


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist and the wheel that is built from it."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "symvi", source / "symvi", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The Python of a fresh environment: the wheel, and this environment's libraries beside it."""
    home = tmp_path_factory.mktemp("fresh")
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    place = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", place, str(wheel)], check=True, timeout=300)
    # a plain path, so that links in there to a working copy of symvi are not followed
    libraries = sysconfig.get_path("purelib")
    (Path(place) / "libraries.pth").write_text(libraries + "\n", encoding="utf-8")
    return python


@pytest.mark.skipif(os.name == "nt", reason="environments are laid out otherwise there")
class TestWheel:
    def test_an_sdist_and_a_wheel_are_built(self, built):
        version = re.escape(symvi.__version__)
        names = sorted(path.name for path in built.iterdir())
        assert len(names) == 2
        assert re.fullmatch(rf"symvi-{version}-py3-none-any\.whl", names[0])
        assert re.fullmatch(rf"symvi-{version}\.tar\.gz", names[1])

    def test_it_is_symvi_and_all_of_it(self, installed, tmp_path):
        """Every file of the working copy is in the wheel: code, data and reference draws."""
        program = "import symvi; print(symvi.__path__[0])"
        place = Path(run(program, python=installed, cwd=tmp_path, env={"PYTHONPATH": ""}).strip())
        assert ROOT not in place.parents
        ours = {p.relative_to(ROOT / "symvi") for p in (ROOT / "symvi").rglob("*.*")}
        theirs = {p.relative_to(place) for p in place.rglob("*.*")}
        assert {p for p in ours ^ theirs if p.suffix != ".pyc"} == set()

    def test_the_readme_runs_with_it(self, installed, tmp_path):
        """Outside the repository, from the wheel alone."""
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        for example in re.findall(r"```python\n(.*?)```", readme, re.S):
            output = run(example, python=installed, cwd=tmp_path, env={"PYTHONPATH": ""})
            assert output.strip()
