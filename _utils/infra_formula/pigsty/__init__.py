"""Pigsty's inventories, converted to pillar."""
