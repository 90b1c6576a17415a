"""The digest of this release; written by `make generate`."""

DIGEST = "c0beaca44e86853755e3f0647e55ced5fdc39f6bdd45b3fd803dc0e7ceec4d32"
