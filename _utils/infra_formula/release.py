"""The digest of this release; written by `make generate`."""

DIGEST = "d8d317a31fa003f62d3773ec13b07ed3263d9e0ed198ef63a38c54f61185eeb9"
