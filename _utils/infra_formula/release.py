"""The digest of this release; written by `make generate`."""

DIGEST = "e440d8bd0300764e4b1ac3f0267a212007836927ec6301faf3de3d310377d043"
