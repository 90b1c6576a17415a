"""Minions that register: facts, claims, events."""
