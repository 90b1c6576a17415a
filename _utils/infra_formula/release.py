"""The digest of this release; written by `make generate`."""

DIGEST = "9ac3ad9e47417a82532db9e86131695464eb28a135952b52cdc2391cccfb84f1"
