"""The digest of this release; written by `make generate`."""

DIGEST = "f051df2475db58d65835a546a9f9a6accddf949f28fd4b7a2025b466d292cb28"
