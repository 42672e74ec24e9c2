"""The border between estimates (float) and money (Decimal).

Belongs here: the one conversion each way. Sums of money are never taken in float: an estimate is rounded to
a Decimal once, when it leaves this package, and an exact sum is handed in as a Decimal and handed on
untouched.
"""

import math
from decimal import Decimal

ESTIMATE_STEP_USD = Decimal("1e-12")
"""Estimates are rounded to this step: far below a token's price, far above float noise on one call."""


def usd_from_estimate(estimate: float) -> Decimal:
    """Return a float estimate as dollars, rounded to 1e-12 USD.

    Args:
        estimate: A finite estimate in USD.

    Returns:
        The same amount as a Decimal.

    Raises:
        ValueError: The estimate is not finite.
    """
    if not math.isfinite(estimate):
        raise ValueError(f"Rounding an estimate to dollars: got {estimate!r}, expected a finite number.")
    exact = Decimal(repr(float(estimate)))
    # Beyond 1e12 USD the step needs more digits than the default decimal context holds; the float has none
    # there.
    return exact if abs(exact) >= Decimal(10) ** 12 else exact.quantize(ESTIMATE_STEP_USD)
