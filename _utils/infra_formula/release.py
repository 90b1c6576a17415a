"""The digest of this release; written by `make generate`."""

DIGEST = "50710e947411a6aa1fcd7e52c599e2c6800a753e74598a45f96a9e641db13b9d"
