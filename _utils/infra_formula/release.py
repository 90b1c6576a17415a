"""The digest of this release; written by `make generate`."""

DIGEST = "2a439acf5d787861876bc815aa01a0d7eb5bed5b20605341c1e95e17f386be7c"
