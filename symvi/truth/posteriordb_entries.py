"""What a database of posteriors says of ours beside what is computed: names, titles, sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """What a database says of one reference posterior, beside what can be computed."""

    data: str
    model: str
    title: str

    @property
    def name(self) -> str:
        """The name of the posterior in the database."""
        return f"{self.data}-{self.model}"


ENTRIES = {
    "two-weight": Entry(
        "syn_absolute_value",
        "mlp_relu_2_fixed_output",
        "Two ReLU units with a fixed output layer and known noise",
    ),
    "mcycle-tanh": Entry(
        "mcycle_standardized", "mlp_tanh_10", "Regression by a layer of 10 tanh units"
    ),
    "mcycle-relu": Entry(
        "mcycle_standardized", "mlp_relu_10", "Regression by a layer of 10 ReLU units"
    ),
    "mcycle-deep": Entry(
        "mcycle_standardized", "mlp_tanh_5_5", "Regression by two layers of 5 tanh units"
    ),
    "diabetes": Entry(
        "diabetes_standardized", "mlp_tanh_5", "Regression by a layer of 5 tanh units"
    ),
    "digits": Entry(
        "digits_pooled", "mlp_tanh_5_categorical", "Classification by a layer of 5 tanh units"
    ),
}
DATA = {  # title, description, reference
    "syn_absolute_value": (
        "Values of 0.1 |x|",
        "100 values of 0.1 |x| without noise, x uniform on [-10, 10].",
        "gelberg2024variational",
    ),
    "mcycle_standardized": (
        "Motorcycle accidents, standardized",
        "Head acceleration against time after impact (mcycle of R's package MASS): 106 of 133 "
        "rows, input and output with mean 0 and standard deviation 1.",
        "silverman1985some",
    ),
    "diabetes_standardized": (
        "Progression of diabetes, standardized",
        "Progression after a year against ten measurements (load_diabetes of scikit-learn): 354 "
        "of 442 patients, inputs and output with mean 0 and standard deviation 1.",
        "efron2004least",
    ),
    "digits_pooled": (
        "Handwritten digits at 4 x 4 pixels",
        "200 images of the digits 0, 1 and 2 (load_digits of scikit-learn), means of 2 x 2 pixels "
        "in [0, 1]; y is the digit plus 1.",
        "alpaydin1998optical",
    ),
}
BIBLIOGRAPHY = {
    "gelberg2024variational": r"""@inproceedings{gelberg2024variational,
  title={Variational Inference Failures Under Model Symmetries:
    Permutation Invariant Posteriors for {B}ayesian Neural Networks},
  author={Gelberg, Yoav and van der Ouderaa, Tycho F. A. and van der Wilk, Mark and Gal, Yarin},
  booktitle={Proceedings of the Geometry-grounded Representation Learning
    and Generative Modeling Workshop ({GRaM})},
  series={Proceedings of Machine Learning Research},
  volume={251},
  pages={233--248},
  year={2024}
}
""",
    "silverman1985some": r"""@article{silverman1985some,
  title={Some Aspects of the Spline Smoothing Approach to Non-Parametric Regression Curve Fitting},
  author={Silverman, B. W.},
  journal={Journal of the Royal Statistical Society: Series B (Methodological)},
  volume={47},
  number={1},
  pages={1--52},
  year={1985}
}
""",
    "efron2004least": r"""@article{efron2004least,
  title={Least Angle Regression},
  author={Efron, Bradley and Hastie, Trevor and Johnstone, Iain and Tibshirani, Robert},
  journal={The Annals of Statistics},
  volume={32},
  number={2},
  pages={407--499},
  year={2004}
}
""",
    "alpaydin1998optical": r"""@misc{alpaydin1998optical,
  title={Optical Recognition of Handwritten Digits},
  author={Alpaydin, E. and Kaynak, C.},
  howpublished={UCI Machine Learning Repository},
  year={1998},
  note={doi:10.24432/C50P49}
}
""",
}
