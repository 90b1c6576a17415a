"""The digest of this release; written by `make generate`."""

DIGEST = "035e3d0564c3a0c1a1f56ec171fad6d7919df5e05aeb72b68537006fa469444d"
