"""The digest of this release; written by `make generate`."""

DIGEST = "d6714e0d86e6abca397cd5dced5594103938256e5ba738882baa1e7019f10a95"
