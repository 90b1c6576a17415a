"""The digest of this release; written by `make generate`."""

DIGEST = "d56247383622f0ee06cc417ea499bb5fd734a7723af29c8157653ad5e822cf9c"
