"""The type checker of the tests: it looks at the arrays that annotated functions take and return.

Shapes and kinds of numbers of arrays are checked, and classes. Plain arguments and those of
constructors are not: what a user passes there is the business of symvi.checks, whose ValueError is
to be heard.
"""

from beartype import BeartypeConf, FrozenDict, beartype

PLAIN = (int, float, str, bool, dict)
ARRAYS_AND_CLASSES = BeartypeConf(hint_overrides=FrozenDict({kind: object for kind in PLAIN}))


def checked(function):
    """`function`, with what it takes and returns compared with its annotations."""
    if function.__name__ == "__init__":
        return function
    return beartype(function, conf=ARRAYS_AND_CLASSES)
