"""The digest of this release; written by `make generate`."""

DIGEST = "a4b74a1fa55402d56cabd6cc10d37e10f972d1c405d794b1c548a56656239587"
