"""The digest of this release; written by `make generate`."""

DIGEST = "96f3357eaff21761d38d6b9245da1ec0d79b4c2ee55a5256f3fa7a8818d70904"
