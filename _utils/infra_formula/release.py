"""The digest of this release; written by `make generate`."""

DIGEST = "f6499bba1732d0ef37af9382036110fc0c3923ddff34b425a1358a0c0106b6b2"
