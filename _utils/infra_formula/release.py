"""The digest of this release; written by `make generate`."""

DIGEST = "2e62a89c8878537e7d87859524d2611ac34c3c93ae4fb8e33f7276825d55fa27"
