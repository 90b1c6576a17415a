"""The digest of this release; written by `make generate`."""

DIGEST = "ef78d9eb706ad5bc9339df6e4945d15e0ddfb67c41b6df47cdac3bb0e015793a"
