"""The digest of this release; written by `make generate`."""

DIGEST = "bc386154dd1cac6d2b5a5e1aba04f5f00a6f997a9287367057fedda9d5bb88cc"
