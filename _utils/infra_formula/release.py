"""The digest of this release; written by `make generate`."""

DIGEST = "c26985d68dc586ed8d1d653dd68128d89e1c9b4a6f1a03d751e31cb9c1264bb0"
