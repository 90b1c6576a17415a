"""The digest of this release; written by `make generate`."""

DIGEST = "44c6a2a6738f9bb1f075b7d471aaf20ec740b10251f6d64fa3206b5af8bd4fba"
