"""The digest of this release; written by `make generate`."""

DIGEST = "79e71504a726d632d82a8751e17931fc08e438b78b633d5d11e55e175f07c8c0"
