"""Tests run in float64, where identities hold to rounding, and with the shapes of arrays
checked."""

import jax
from jaxtyping import install_import_hook

ANNOTATED = [
    "symvi.arrays",
    "symvi.information",
    "symvi.permanents",
    "symvi.posteriors",
]

install_import_hook(ANNOTATED, "array_types.checked")  # before symvi is imported

jax.config.update("jax_enable_x64", True)
