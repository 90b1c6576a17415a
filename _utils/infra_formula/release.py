"""The digest of this release; written by `make generate`."""

DIGEST = "2185da810ac65362195076ba7f3061b66dd81897efe2c7db05cef8a109269b27"
