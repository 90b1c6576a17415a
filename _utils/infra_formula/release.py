"""The digest of this release; written by `make generate`."""

DIGEST = "5ee44ef0e7c741bad9feb7dc3c1dd307cb9865c244b1dbcc544e0d5247abef15"
