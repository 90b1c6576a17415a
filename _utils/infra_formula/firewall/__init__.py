"""Open ports and closed ports."""
