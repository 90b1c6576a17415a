"""The digest of this release; written by `make generate`."""

DIGEST = "6640674254d2298847d607078d91a6162b6f3a26cd9d840db550aed11a428e55"
