"""The digest of this release; written by `make generate`."""

DIGEST = "7f179b31d4bf63929b39df71ee7c65d896218703b9acbc83e4eded1b06a619d1"
