"""The reference posteriors that come with symvi.

    .venv/bin/python book/reproduce/references.py [name ...]

draws 8 chains of each (all six without a name) and writes symvi/truth/reference/NAME.nc where they
meet the rules. It goes on where it was interrupted; finished chains are kept in
_build/results/references.
"""

import sys
from pathlib import Path

import jax
import numpy as np

import symvi
from symvi.checks import arviz
from symvi.files import whole_file
from symvi.truth.diagnostics import acceptance, energies
from symvi.truth.references import CHAINS, COMMAND, DRAWS, FOLDER, RECIPES, data_hash

STORE = Path(__file__).resolve().parents[2] / "_build" / "results" / "references"
STATS = ("diverging", "energy", "n_steps", "acceptance_rate")


def draw_chain(name, chain, draws=DRAWS, warmup=None):
    """One chain in float64, as arrays by name; the chain's number is its seed."""
    jax.config.update("jax_enable_x64", True)
    bnn, data = symvi.reference_model(name)
    recipe = RECIPES[name]
    drawn = symvi.nuts(
        bnn,
        data.x,
        data.y,
        chains=1,
        warmup=warmup or recipe.warmup,
        draws=draws * recipe.thin,
        target_accept=recipe.target_accept,
        max_tree_depth=recipe.max_tree_depth,
        seed=chain,
        progress=False,
    )

    def kept(group):
        return {k: v.values[0, recipe.thin - 1 :: recipe.thin] for k, v in drawn[group].items()}

    stats = drawn.sample_stats
    statistics = kept("sample_stats")
    return {
        "posterior": kept("posterior"),
        "sample_stats": {k: statistics[k] for k in STATS},
        "full": energies(stats["diverging"].values[0], stats["energy"].values[0]),
    }


def stacked(chains, group):
    """The arrays of a group, with the chains on the first axis."""
    return {
        name: np.stack([np.asarray(chain[group][name]) for chain in chains])
        for name in chains[0][group]
    }


def write_reference(name, chains, folder=FOLDER):
    """Join the chains of draw_chain, write them to folder/NAME.nc, and return their diagnostics.

    ValueError where the draws do not meet the rules of symvi.truth.diagnostics.acceptance; nothing
    is written then.
    """
    az = arviz()
    bnn, data = symvi.reference_model(name)
    recipe = RECIPES[name]
    posterior = {k: v.astype(np.float32) for k, v in stacked(chains, "posterior").items()}
    drawn = az.from_dict(posterior=posterior, sample_stats=stacked(chains, "sample_stats"))
    drawn.sample_stats.attrs["max_tree_depth"] = recipe.max_tree_depth
    found = acceptance(bnn, drawn, data.x, data.y, [chain["full"] for chain in chains])
    if not found["accepted"]:
        raise ValueError(
            f"{name}: expected draws that meet the rules for references, got {found}; "
            "draw longer, or raise target_accept"
        )
    drawn.posterior.attrs = {
        "model": f"{recipe.net}, {recipe.likelihood}, prior_scale=1.0",
        "data": f"{data.name}: {data.source}",
        "data_sha256": data_hash(data),
        "warmup": recipe.warmup,
        "thin": recipe.thin,
        "target_accept": recipe.target_accept,
        "seeds": list(range(len(chains))),
        **{k: int(v) if isinstance(v, bool) else v for k, v in found.items()},
        "jax": jax.__version__,
        "arviz": az.__version__,
        "command": f"python {COMMAND} {name}",
    }
    with whole_file(Path(folder) / f"{name}.nc") as partial:
        drawn.to_netcdf(str(partial))
    return found


def main(names):
    """Draw the chains that are missing, then join and judge them."""
    jax.config.update("jax_enable_x64", True)
    for name in names:
        cells = [{"name": name, "chain": chain} for chain in range(CHAINS)]
        chains = symvi.sweep(draw_chain, cells, STORE / name)
        print(name, write_reference(name, chains))


if __name__ == "__main__":
    main(sys.argv[1:] or list(RECIPES))
