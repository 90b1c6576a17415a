"""Daemons: command lines, units, configuration, health."""
