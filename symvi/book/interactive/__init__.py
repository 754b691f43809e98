"""Figures with sliders and buttons on a static page: no server, no library, no network.

A figure is HTML with native controls and SVG that Python draws at the starting values, so that a
reader without JavaScript, and print, see that picture. A script beside it
(``symvi/book/interactive/figures.js``) computes the same formulas in the browser, or looks the
numbers up in a table that Python computed, and moves the parts of the picture. Colours are custom
properties that follow the page's light or dark scheme.
"""

from symvi.book.interactive.descent import downhill
from symvi.book.interactive.figure import Figure, Panel, Scene, Slider, number, within
from symvi.book.interactive.growth import widths
from symvi.book.interactive.pair import two_units
from symvi.book.interactive.relabelling import copies
from symvi.book.interactive.two_weights import smallest

__all__ = [
    "Figure",
    "Panel",
    "Scene",
    "Slider",
    "copies",
    "downhill",
    "number",
    "smallest",
    "two_units",
    "widths",
    "within",
]
