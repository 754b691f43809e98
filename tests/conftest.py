"""Tests run in float64, where identities hold to rounding."""

import jax

jax.config.update("jax_enable_x64", True)
