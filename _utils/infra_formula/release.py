"""The digest of this release; written by `make generate`."""

DIGEST = "5e8414641c66ce53dccc7f403d891d5358de86c80aa6d0779c9e0c3d51eea3cc"
