"""The digest of this release; written by `make generate`."""

DIGEST = "063fe9b72f3084c5afd398e6d904b1cd351ebf37b0d4a318e20eafd3e9d0d983"
