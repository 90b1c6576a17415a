"""The digest of this release; written by `make generate`."""

DIGEST = "64f15e6c9cf3e9a82f929e6d55c937c8942ea376ca5d83f5581b6a6caad3701d"
