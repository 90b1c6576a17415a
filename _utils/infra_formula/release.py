"""The digest of this release; written by `make generate`."""

DIGEST = "4a91fca2e473494e6695091418f45e495cebb6e361c843a8fa74e6601b2aab49"
