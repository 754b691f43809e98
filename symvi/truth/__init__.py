"""Ground truth: NUTS, quadrature, the evidence, and reference posteriors."""
