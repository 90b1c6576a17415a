"""The digest of this release; written by `make generate`."""

DIGEST = "396b33b1c2b7f853c8ccff9b61cbfd8e1a1da1e153289acc18231cc94ed0a53c"
