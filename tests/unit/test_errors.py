"""What led to an error is walked once."""

from bertlab.errors import causes


def test_causes_that_lead_in_a_circle_come_once_each():
    first, second = ValueError("first"), OSError("second")
    first.__cause__, second.__context__ = second, first
    assert list(causes(first)) == [first, second]
