"""The digest of this release; written by `make generate`."""

DIGEST = "fd6bf15ab4eb287423e8d75e98df4b2e44e7611869849344298c12c10ea9a1f2"
