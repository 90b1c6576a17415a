"""The digest of this release; written by `make generate`."""

DIGEST = "f52fb9c41f3c32f8071078d23ff64feefafb844596b0dd89d4cbe8c3718e5df7"
