"""What Gelberg et al. (2024) state and report, for the ledger to set beside what we measure."""

from __future__ import annotations

# The statements that the book checks, in the paper's order, each with what it means for a reader.
# True whatever the verdict turns out to be.
MEANINGS = {
    "def-2.1": "Hidden units carry no names. Exchange two of them together with all their weights, "
    "and the network computes the same function.",
    "prop-2.2": "The data cannot prefer one copy of the weights to another, so every mode of the "
    "posterior comes in as many copies as there are relabellings.",
    "sec-3": "A single Gaussian must either cover two copies or choose one. How far apart they are "
    "decides which, and this is the distance at which it changes its mind.",
    "thm-3.1": "In a wide network every weight vector has a copy nearby. How near decides whether "
    "the theorem says anything about networks of ordinary width.",
    "eq-4": "Averaging q over all relabellings changes which weights it believes in, not which "
    "functions. Predictions can be made with q itself.",
    "thm-4.1": "What symmetrizing adds to the bound is an information: how many nats the weights "
    "tell about the copy that they were drawn from.",
    "cor-4.2": "Symmetrizing never lowers the bound, and the best symmetrized fit is at least as "
    "good as the best fit symmetrized afterwards.",
    "thm-4.3": "A few random relabellings estimate the information from below. The estimate "
    "is safe, but K relabellings can never show more than log K nats.",
    "fig-4": "The failure in the smallest network: mean field rests between two copies, where the "
    "posterior has little mass, and the symmetrized fit rests on one of them.",
    "tab-1": "Whether training with the term classifies digits better. It can do so only if the "
    "term moves the optimum, since symmetrizing afterwards changes no prediction.",
    "tab-2": "Whether the term brings the mean prediction of the smallest network nearer to the "
    "test data. A lower bound on the evidence need not mean a lower test error.",
    "tab-3": "Whether training with the term ends at a better symmetrized bound than training "
    "without it and symmetrizing afterwards.",
}
PAPER_IDS = tuple(MEANINGS)

# Numbers of the paper (and of Wiese et al., 2023, for the copies of a mode), by the claim and the
# number of ours that each is to be compared with.
COPIES = {"copies": 48, "expected_chains": 214.02, "markov_bound": 21402}
NUMBERS = {
    "sec-3": {
        "bracket_s_0_25": 1.25,
        "bracket_s_0_5": 2.5,
        "bracket_s_1": 5.0,
        "bracket_s_2": 10.0,
    },
    "tab-1": {"gain": [0.029, 0.004, 0.069, 0.120]},
    "tab-2": {
        "difference_a_0_05": -0.02,
        "difference_a_0_1": -0.03,
        "difference_a_0_15": -0.03,
        "difference_a_0_2": -0.06,
    },
    "own-mnist-mean-field": {"accuracy": [88.379, 93.217, 94.836, 95.432]},
    "own-ch2-coupons": COPIES,
    "own-chains-to-visit": COPIES,
}
