"""The digest of this release; written by `make generate`."""

DIGEST = "4fffbbb4d841a8b1fb774fc41d1503304ebb762c9043633bea2d10f6d4c738dc"
