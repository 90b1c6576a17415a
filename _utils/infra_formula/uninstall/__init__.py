"""Removal of the formula from a machine, and takeover from Pigsty."""
