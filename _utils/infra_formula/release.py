"""The digest of this release; written by `make generate`."""

DIGEST = "5e3126cff3e2c6dc46b7b014dc89807d4b868caf91076b2bb4501d99f6493e66"
