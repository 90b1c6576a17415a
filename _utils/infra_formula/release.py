"""The digest of this release; written by `make generate`."""

DIGEST = "f92fb90df7662f6e57f14e92c53d4d3abed65296cc8729c158a36c5d5aaa98d5"
