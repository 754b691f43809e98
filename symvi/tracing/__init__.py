"""Networks stated in other libraries, as JAX functions."""
