"""The digest of this release; written by `make generate`."""

DIGEST = "62d69d23b206332edfa9c6e50a78862ec48af1a6e1599a841ec471c7f914cbe4"
