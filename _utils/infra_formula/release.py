"""The digest of this release; written by `make generate`."""

DIGEST = "5d0311eccd24315aff7d796d44fc11952b8c93d0b43eb0ad62b8021c52ed23fe"
