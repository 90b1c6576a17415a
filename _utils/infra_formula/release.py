"""The digest of this release; written by `make generate`."""

DIGEST = "eaf14c26d2d6b1af660f78137fc252e76f83784e7804505aa6e9c8d1e66b9a54"
