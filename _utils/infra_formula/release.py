"""The digest of this release; written by `make generate`."""

DIGEST = "b716aaf654aa0ec94d1c3c74c497e4a3079a4487342baf72cec1592d83102ee8"
