"""The digest of this release; written by `make generate`."""

DIGEST = "58c25ff4178b8bab3ed249be4618d3d76466720a20e5f2f23ab3f17bce7d2799"
