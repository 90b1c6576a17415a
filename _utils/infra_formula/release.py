"""The digest of this release; written by `make generate`."""

DIGEST = "b067b3d2e55bb55d1cb2c84dfa68b7730a5e68a14a63a9de55b7f61a04298c38"
