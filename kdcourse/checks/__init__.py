"""Answers to the exercises at once: right, nearly right (and by how much), or which usual mistake it looks like."""

from kdcourse.checks import lesson00, lesson01
from kdcourse.checks.compare import compare

__all__ = ["compare", "lesson00", "lesson01"]
