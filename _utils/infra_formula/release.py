"""The digest of this release; written by `make generate`."""

DIGEST = "d438209c2cf6e73a754295dc09c6abeb1a1321c52bc0fcd291362360ddc666dd"
