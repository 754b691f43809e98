"""Links into the book stay good: anchors are unique, and those that were once there stay."""

from __future__ import annotations

from collections import Counter

from anchors import BOOK, anchors, kept, labels, of_cell, of_claims, of_text

from symvi.book.claims import Claim


def twice(names) -> list:
    return [name for name, count in Counter(names).items() if count > 1]


def test_no_label_is_given_twice_in_the_book():
    assert twice(label for _, label in labels()) == []


def test_no_claim_is_made_twice_in_the_book():
    assert twice(a for path in (BOOK / "claims").glob("*.json") for a in of_claims(path)) == []


def test_no_anchor_is_lost():
    """Keep its label, or leave an empty target of that name where it was: `(label)=`."""
    assert sorted(set(kept()) - set(anchors())) == []


def test_every_anchor_is_on_the_list_of_those_to_keep():
    """Where this fails: python tests/book/anchors.py"""
    assert sorted(set(anchors()) - set(kept())) == []


def test_the_box_of_a_claim_has_its_anchor():
    claim = Claim("02-b", "thm-3.1", "It holds.", True, numbers={"x": 1.0})
    assert 'id="claim-thm-3.1"' in claim._repr_html_()
    assert "02-permutation-symmetry.html#claim-thm-3.1" in anchors()  # what book/cite.md names


def test_all_kinds_of_anchors_are_found():
    text = "(ch-a)=\n# A\n\n```{prf:theorem} B\n:label: thm-b\n$$x$$ (eq-c)\n```\n:name: fig-d\n"
    assert of_text(text) == ["ch-a", "thm-b", "fig-d", "equation-eq-c"]
    figure = {"mystnb": {"figure": {"name": "fig-e"}}}
    code = "table({'a': [1]}, name='tab-f'); other(name='g', label='tab-h')"
    assert of_cell({"metadata": figure, "source": [code]}) == ["fig-e", "tab-f"]
    found = {anchor.split("#")[1].split("-")[0] for anchor in anchors()}
    assert {"claim", "cite", "def", "equation", "ex", "fig", "prop", "tab", "thm"} <= found
