"""The data sets of the book, split into a training and a test part and standardised by the former.

Digits and diabetes need scikit-learn: ``pip install 'symvi[data]'``.
"""

from symvi.data.mnist_files import mnist
from symvi.data.record import Dataset
from symvi.data.small import absolute, diabetes, digits, mcycle
from symvi.data.uci_regression import uci

__all__ = ["Dataset", "absolute", "diabetes", "digits", "mcycle", "mnist", "uci"]
