"""The committed ranks of simulation-based calibration, and the script that makes them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

ROOT = Path(__file__).resolve().parents[2]
RECORD = json.loads((ROOT / "book" / "results" / "calibration.json").read_text(encoding="utf-8"))
BINS = 20
LEVEL = 0.01  # of a false alarm in any of the quantities


def p_value(ranks, draws):
    """Chi-square test that ranks in 0..draws are uniform."""
    counts = np.histogram(ranks, bins=BINS, range=(0, draws + 1))[0]
    return scipy.stats.chisquare(counts).pvalue


def script():
    spec = importlib.util.spec_from_file_location(
        "calibration", ROOT / "book" / "reproduce" / "calibration.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_enough_replications():
    ranks = np.array(RECORD["ranks"])
    assert ranks.shape[0] >= 200
    assert ranks.shape[1] == len(RECORD["quantities"])
    assert ranks.min() >= 0
    assert ranks.max() <= RECORD["setting"]["draws"]
    assert len(RECORD["divergences"]) == len(ranks)


@pytest.mark.parametrize("column", range(len(RECORD["quantities"])), ids=RECORD["quantities"])
def test_ranks_are_uniform(column):
    ranks = np.array(RECORD["ranks"])[:, column]
    assert p_value(ranks, RECORD["setting"]["draws"]) > LEVEL / len(RECORD["quantities"])


def test_the_test_sees_a_wrong_posterior():
    """Ranks of a posterior 1.4 times too wide pile up in the middle; too narrow, at the ends."""
    rng, num, draws = np.random.default_rng(0), len(RECORD["ranks"]), RECORD["setting"]["draws"]
    truth = rng.normal(size=(num, 1))
    for width in (1.4, 1 / 1.4):
        ranks = (width * rng.normal(size=(num, draws)) < truth).sum(axis=1)
        assert p_value(ranks, draws) < LEVEL / len(RECORD["quantities"])


def test_one_replication_again():
    """Draws differ between processors, so only the form is compared."""
    made = script().replications(0, 1)
    assert np.shape(made["ranks"]) == (1, len(RECORD["quantities"]))
    assert tuple(RECORD["quantities"]) == script().QUANTITIES
    assert list(script().WIDTHS) == RECORD["setting"]["widths"]
