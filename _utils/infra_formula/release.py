"""The digest of this release; written by `make generate`."""

DIGEST = "4785cea4c8c0627a12c64d86da8e588a2b0651a492c20b1dc5483114f2a92f93"
