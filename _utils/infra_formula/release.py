"""The digest of this release; written by `make generate`."""

DIGEST = "41a01e0a79627ddf32d0d82c42b167f22e466abd993790a8e433e9e350d50e6e"
