"""Times as ISO 8601 writes them."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d+)")


def iso_seconds(text: str) -> float:
    """ISO 8601 → seconds since 1970, UTC where no zone is said; raises ValueError.

    Fractions of any length and `Z` are brought into the form that Python 3.10 reads.
    """
    filled = _FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text.strip().replace("Z", "+00:00"))
    moment = datetime.fromisoformat(filled)
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
