"""Upper bounds of a permanent that hold in every step of training."""

from __future__ import annotations

from jaxtyping import Array, Float

from symvi.permanents import entropy_bound, log_permanent

SMALL = 8  # up to this many units the exact permanent costs no more than messages


def permanent_above(log_a: Float[Array, "n n"], messages, max_iter: int) -> tuple:
    """log perm(A) or more, in nats, and the messages to go on with: ``(value, messages)``.

    Exact for n <= 8; beyond, :func:`symvi.permanents.entropy_bound` from the given `messages`
    (None: from a Sinkhorn scaling).
    """
    if len(log_a) <= SMALL:
        return log_permanent(log_a), ()
    found = entropy_bound(log_a, start=messages or None, max_iter=max_iter)
    return found.value, found.messages
