"""The digest of this release; written by `make generate`."""

DIGEST = "bae0e943cedfd1f630480efcc0b15b0136b67f430d56f658ef6f380539dcf7f0"
