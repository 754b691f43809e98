"""Variational inference: the evidence lower bound and its maximisation."""
