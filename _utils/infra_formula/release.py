"""The digest of this release; written by `make generate`."""

DIGEST = "da82fe7473d0715bb81a042031f52bea26bf52f42e3e28710abed65633ed5b34"
