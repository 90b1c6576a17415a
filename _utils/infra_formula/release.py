"""The digest of this release; written by `make generate`."""

DIGEST = "ddfaebb1311e9e584aa10fa2afb5f01c6cfcfe2243237b2f9f34d2b3e8cbc6b1"
