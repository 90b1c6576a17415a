"""The digest of this release; written by `make generate`."""

DIGEST = "556bd9c6b266e8bb236aaabb343fc99e3f16e406f9c5e394cd18a6b1804914de"
