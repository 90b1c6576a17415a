"""The digest of this release; written by `make generate`."""

DIGEST = "a02fa6845b9aba0b59cff53066cef18fea00de148b1dc588fe6515c9a7221cca"
