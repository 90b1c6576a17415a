"""The digest of this release; written by `make generate`."""

DIGEST = "ec750f5695a7e362984c7b4abf88f71d54cd3beb4d8d875e89f8126ab90dde78"
