"""The digest of this release; written by `make generate`."""

DIGEST = "ed27e6de2c2c1f2a371b062924c53803f6e19733ad2315e41316a807133bd2bc"
