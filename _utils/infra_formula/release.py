"""The digest of this release; written by `make generate`."""

DIGEST = "3515f6c8fe557e5a1521236fe23b8911b8af39cdd91c50eaa1497d91d2c98899"
