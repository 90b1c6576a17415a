"""The digest of this release; written by `make generate`."""

DIGEST = "f1b48b75a551e5c53131f58e2df7ef4c377989d111b8958348fc977f606f7fba"
