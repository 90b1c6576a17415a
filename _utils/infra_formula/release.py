"""The digest of this release; written by `make generate`."""

DIGEST = "1d1811ac9cae654b9b88b820652b99a485307f51cbc2224b158febcb2ade8e9a"
