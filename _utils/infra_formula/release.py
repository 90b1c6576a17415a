"""The digest of this release; written by `make generate`."""

DIGEST = "64e404df4748f7d7f30d4c8f8c85f3a0d5788abfb6a55d03da90fe1594b45c3a"
