"""Names of recorded numbers in words: "difference_a_0_05" is "difference, a = 0.05"."""

from __future__ import annotations

import re

WORDS = {
    "bfmi": "E-BFMI",
    "ebfmi": "E-BFMI",
    "elbo": "ELBO",
    "ess": "ESS",
    "hmc": "HMC",
    "infonce": "InfoNCE",
    "kl": "KL",
    "mnist": "MNIST",
    "mse": "MSE",
    "numpyro": "NumPyro",
    "nuts": "NUTS",
    "papers": "paper's",
    "relu": "ReLU",
    "rhat": "R-hat",
    "rmse": "RMSE",
    "L-G": "L_G",
    "I-2": "I_2",
    "sd": "standard deviation",
    "smc": "SMC",
}
# A parameter, and how it is written before "= its value"
PARAMETERS = {
    "K": "K",
    "a": "a",
    "d": "d",
    "r": "r",
    "s": "s",
    "sigma": "σ",
    "spread": "spread",
}
# Names that no rule makes readable
WHOLE = {
    "KL_q_exact": "KL of q, trained with I",
    "KL_q_pairwise": "KL of q, trained with the pairwise bound",
    "KL_q_plain": "KL of q, mean field",
    "KL_q_unit": "KL of q, unit covariance",
    "KL_symmetrized_exact": "KL of q_G, trained with I",
    "KL_symmetrized_pairwise": "KL of q_G, trained with the pairwise bound",
    "KL_symmetrized_plain": "KL of q_G, mean field",
    "KL_symmetrized_unit": "KL of q_G, unit covariance",
    "constant_mnist_30_before_linearising": "constant MNIST, 30 units, before linearising",
    "gain_e_1": "gain, start e^-1",
    "information_plain": "I, mean field",
    "log_order_16_12": "log |G|, layers of 16 and 12 units",
    "plain_I": "I, mean field",
    "share_of_KL_plain": "I as a share of KL, mean field",
}
KEYS = "|".join(PARAMETERS)
RUN = r"(?<![^_])\d+(?:_\d+)+(?=_|$)"  # numbers in a row
ONE = r"(?<![^_])1e_(\d+)(?=_|$)"
SET = rf"(?<![^_])({KEYS})_?([\d.]+)(?=_|$)"
UNITS = r"(?<!log)(?<!at)(?<!and)(?<!width)_(\d+)$"  # a number at the end counts units


def readable(name: str) -> str:
    """The name of a recorded number as a reader would write it.

    Two numbers in a row are a decimal one if either begins with 0, ``a_0_05``; others are the
    widths of a network, ``1_2_2_1``. A number after a parameter is its value.
    """
    if name in WHOLE:
        return WHOLE[name]
    text = re.sub(ONE, r"1e-\1", name.replace("L_G", "L-G").replace("I_2", "I-2"))
    text = re.sub(SET, r"\1=\2", re.sub(RUN, _joined, text))
    text = re.sub(UNITS, r"_units=\1", text)
    words = ""
    for part in text.split("_"):
        words += _word(part, words)
    return words


def _joined(run: re.Match) -> str:
    numbers = run[0].split("_")
    decimal = len(numbers) == 2 and any(n.startswith("0") for n in numbers)
    return ("." if decimal else "-").join(numbers)


def _word(part: str, before: str) -> str:
    """A part of a name, with what separates it from the words before."""
    key, equals, value = part.partition("=")
    follows = not before or before.endswith((" at", " in"))
    gap = "" if not before else " " if follows or not equals else ", "
    if key == "units":
        return f"{gap}{value} units"
    if equals:
        return f"{gap}{PARAMETERS[key]} = {value}"
    return gap + WORDS.get(part, part)
