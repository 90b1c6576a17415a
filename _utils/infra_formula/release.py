"""The digest of this release; written by `make generate`."""

DIGEST = "38d649357ac6ed99e80f7e0355108b104c02994cfa6937a8e9609a834561921c"
