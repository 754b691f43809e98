"""The reference posteriors that come with symvi.

    .venv/bin/python book/reproduce/references.py [name ...]

draws 8 chains of each (all six without a name) and writes symvi/truth/reference/NAME.nc where they meet the rules. It goes on
where it was interrupted; finished chains are kept in _build/results/references.
"""

import sys
from pathlib import Path

import jax

import symvi
from symvi.truth.references import CHAINS, RECIPES, draw_chain, write_reference

STORE = Path(__file__).resolve().parents[2] / "_build" / "results" / "references"


def main(names):
    """Draw the chains that are missing, then join and judge them."""
    jax.config.update("jax_enable_x64", True)
    for name in names:
        chains = symvi.sweep(
            draw_chain, [{"name": name, "chain": chain} for chain in range(CHAINS)], STORE / name
        )
        print(name, write_reference(name, chains))


if __name__ == "__main__":
    main(sys.argv[1:] or list(RECIPES))
