"""Orchestration: state runs on many minions, with the name of each that takes no part."""
