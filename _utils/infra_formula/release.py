"""The digest of this release; written by `make generate`."""

DIGEST = "e2439edb20ecf7385c409a4b4a4c84f1aadb01592b7e28e37b5c3d04b679c356"
