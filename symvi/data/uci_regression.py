"""UCI's regression sets on the twenty standard splits, which papers on Bayesian networks share."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from symvi.checks import as_scalar, described, expected, one_of
from symvi.data.record import Dataset, standardised

NUM_SPLITS = 20


class Source(NamedTuple):
    """Where a set comes from, and the SHA-256 of its table and of its splits."""

    citation: str
    data: str
    test_rows: str


PACKAGED = {
    "yacht": Source(
        "J. Gerritsma, R. Onnink and A. Versluis (1981), Yacht Hydrodynamics, UCI 243",
        "00dfecc0fc01ddd4c90b558a3ac11b246df8ebcfea130724223475a9a67f0ea1",
        "82be34edf409cfe3a93ff9116e2f7434cb0d89921c5618b8571a5c4924619de0",
    ),
    "energy": Source(
        "A. Tsanas and A. Xifara (2012), Energy Efficiency, UCI 242",
        "7f8bf024cea437267d56be99b7af7bb3faebec8a7bccfbb20d06d52d9372a950",
        "4fa6ad7a3f4463179bd1d4f0720892935eaf1eec9c67c58e0fea542c41418313",
    ),
    "concrete": Source(
        "I-C. Yeh (1998), Concrete Compressive Strength, UCI 165",
        "43d290fd2c2a399ad7e62c45cab5337ba94ece69ebdcf5875aa668cb886243de",
        "6af0a8899f08acb5851cf87a8436f0a9573b42f5ce7d915b5c09a0bcfc470b5e",
    ),
    "wine-quality-red": Source(
        "P. Cortez, A. Cerdeira, F. Almeida, T. Matos and J. Reis (2009), Wine Quality, UCI 186",
        "3ba41eaf4ab562088cf47b5c9dca2b4de2a330c3ee38a7920b4527a09574d5c1",
        "a2f370a4320bf0da06736857591d1f03efc5c32f7213d118e16e0d44c674debb",
    ),
}
LARGE = {
    "kin8nm": Source(
        "Z. Ghahramani (1996), Kin8nm, the DELVE repository",
        "a694ce0c7a21390f2bd2a205c36f2482cd974637a207038696716e22f3bbe810",
        "a1053297ab2a4a915655db2a9f2c8d37279c5995c5132bf68f682920a5a97da2",
    ),
    "power-plant": Source(
        "P. Tufekci and H. Kaya (2014), Combined Cycle Power Plant, UCI 294",
        "daebd20c408dfc5c4979604f240e891be162c3a5d00d662380aa669044a1fb31",
        "f16e0bc48c98a6726bb13c9fa096eeec3880ddd906bf4b3736ace033082482bb",
    ),
}
SETS = {**PACKAGED, **LARGE}


def uci(name: str, split: int = 0) -> Dataset:
    """One of UCI's regression sets on one of its twenty standard splits, a tenth of it for testing.

    The splits are those of Hernandez-Lobato and Adams (2015), which many papers have used since.
    "yacht" (308 rows, 6 inputs), "energy" (768, 8), "concrete" (1030, 8) and "wine-quality-red"
    (1599, 11) come with symvi, under CC BY 4.0. "kin8nm" (8192, 8) and "power-plant" (9568, 4) are
    read from the folder ``$SYMVI_DATA/uci``. Contents are checked by SHA-256. Inputs and target are
    standardised by the training part.

    Raises
    ------
    ValueError
        An unknown `name`, a `split` that is not one of 0 to 19, or a damaged file.
    FileNotFoundError
        One of the two large sets is not in ``$SYMVI_DATA/uci``.
    """
    one_of("name", name, tuple(SETS))
    number = as_scalar(split)
    if not isinstance(number, int) or not 0 <= number < NUM_SPLITS:
        remedy = "there are twenty standard splits"
        raise expected("split", "an int from 0 to 19", described(split), remedy)
    table = np.loadtxt(StringIO(_text(name, "data.txt", SETS[name].data)))
    splits = _text(name, "test_rows.txt", SETS[name].test_rows).splitlines()
    is_test = np.isin(np.arange(len(table)), [int(row) for row in splits[number].split()])
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    x, y = table[:, :-1], table[:, -1:]
    return standardised(name, x, y, train, test, SETS[name].citation)


def _text(name: str, part: str, sha256: str) -> str:
    """The file `part` of the set `name`, checked."""
    place = _folder(name).joinpath(part)
    content = place.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        wanted = f"{place} to have SHA-256 {sha256}"
        raise expected(f"uci({name!r})", wanted, found, "fetch the file again")
    return content.decode("utf-8")


def _folder(name: str):
    """The folder of the set `name`: in the package, or in ``$SYMVI_DATA/uci``."""
    if name in PACKAGED:
        return files("symvi.data").joinpath("uci_tables", name)
    given = os.environ.get("SYMVI_DATA")
    folder = Path(given or ".", "uci", name)
    if given and all((folder / part).is_file() for part in ("data.txt", "test_rows.txt")):
        return folder
    raise FileNotFoundError(
        f"uci({name!r}): expected data.txt and test_rows.txt in the folder $SYMVI_DATA/uci/{name}, "
        f"found none (SYMVI_DATA is {given or 'not set'}); put them there, or take one of the sets "
        f"that come with symvi: {', '.join(PACKAGED)}"
    )
