"""The digest of this release; written by `make generate`."""

DIGEST = "79edb7b6ed0da2bfe1ed27ec3b1d443af63a763ade646f611db5b5a9f9328a59"
