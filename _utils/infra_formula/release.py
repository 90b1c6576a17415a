"""The digest of this release; written by `make generate`."""

DIGEST = "f3921b79ef09dd20275ea12bed37608b36828c6dfa990c53970b2deb2825167a"
