"""Values as a table prints them, for the tests of the theory."""

import pytest


def printed(value, decimals):
    """Within half a unit of the last digit that the table prints."""
    return pytest.approx(value, rel=0, abs=0.5000001 * 10.0**-decimals)
