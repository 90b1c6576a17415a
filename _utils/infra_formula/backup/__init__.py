"""Backup of an INFRA node in one archive, and its restoration on an empty machine."""
