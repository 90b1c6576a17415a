"""The digest of this release; written by `make generate`."""

DIGEST = "9cf440202b531f514223fa70e5816a09920e373f5a97e857ca9d168c2c8c56ed"
