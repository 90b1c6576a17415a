"""The digest of this release; written by `make generate`."""

DIGEST = "ca82e68c94a6767d556ecf81c41b30708dda3a9aacb9f14f5416c8d2b08b4d6e"
