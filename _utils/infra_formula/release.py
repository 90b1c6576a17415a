"""The digest of this release; written by `make generate`."""

DIGEST = "DIGEST"
