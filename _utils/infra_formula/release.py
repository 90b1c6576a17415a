"""The digest of this release; written by `make generate`."""

DIGEST = "4431a2a2e8548511722afec09f6e46ae357dd0d849984c19b458cd6767622b62"
