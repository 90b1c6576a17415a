"""The digest of this release; written by `make generate`."""

DIGEST = "959d82b1b951ea76f31e078703f2ccc9b56721d268dfb02f917e6629081c99a6"
