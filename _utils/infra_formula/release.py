"""The digest of this release; written by `make generate`."""

DIGEST = "1a706d2e5f05a5253ac7328bc850db285b7835cd2e751ba17742b7e2d1fbc8c7"
