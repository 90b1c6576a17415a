"""The digest of this release; written by `make generate`."""

DIGEST = "e2b2dc56708815c63633b42b12191c637f92902d2893c5542482a415a91ef718"
