"""What may go wrong, once: for the operator, for the caller, and inside."""


class CrmError(Exception):
    """A sentence for the operator: where, what is wrong, what would be right."""


class DependencyError(Exception):
    """A shard or the cache does not answer, or must not be used. Callers may try again later."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class ProblemError(Exception):
    """An answer other than success, as RFC 9457 describes it.

    ``field`` names the part of the request that is wrong and ``expected`` what would be right.
    """

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, expected: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.expected = expected


def not_found(kind: str, row_id: int) -> ProblemError:
    return ProblemError(404, f"there is no {kind} {row_id}")
