"""The digest of this release; written by `make generate`."""

DIGEST = "bdf7e4279920d6f70e62b89f3abf92d3880084b34ad49482996ee4e95bdd5e19"
