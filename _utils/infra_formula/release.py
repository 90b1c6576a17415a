"""The digest of this release; written by `make generate`."""

DIGEST = "ba6ca84ba6dd410f80ba8066064563df16665b094956044d601b98dd9dca2a82"
