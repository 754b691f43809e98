"""Counts in words, so that a sentence whose numbers a program computes reads like one."""

from __future__ import annotations

from symvi.checks import expected, positive_int

NUMBERS = ("none", "one", "two", "three", "four", "five", "six")
NUMBERS += ("seven", "eight", "nine", "ten", "eleven", "twelve")


def number(count: int) -> str:
    """`count` in words up to twelve, "none" for 0, and in digits beyond.

    Raises ValueError unless `count` is a whole number that is not negative.
    """
    count = positive_int("count", count, least=0)
    return NUMBERS[count] if count < len(NUMBERS) else f"{count:,}"


def share(part: int, whole: int) -> str:
    """How many of how many: "all five", "both", "three of the five", "none of the five".

    Raises
    ------
    ValueError
        If `part` or `whole` is no count, `whole` is below 2, or `part` is more than `whole`.
    """
    whole = positive_int("whole", whole, least=2)
    part = positive_int("part", part, least=0)
    if part > whole:
        raise expected("part", f"at most the whole, {whole}", part, "pass the part first")
    if part == whole:
        return "both" if whole == 2 else f"all {number(whole)}"
    return f"{number(part)} of the {number(whole)}"
