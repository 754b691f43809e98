"""The data sets of the book."""

from symvi.data.datasets import Dataset, absolute, diabetes, digits, mcycle, mnist

__all__ = ["Dataset", "absolute", "diabetes", "digits", "mcycle", "mnist"]
