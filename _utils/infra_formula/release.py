"""The digest of this release; written by `make generate`."""

DIGEST = "e43ff479d83222f7cef73858269624f9cd0d2c502339672d6f5a2ac505a4d626"
