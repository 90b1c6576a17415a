"""The digest of this release; written by `make generate`."""

DIGEST = "8fcd66334e8a369ab13a5e77b3c587714a5eb7f9e1d186b96368337e70cad373"
