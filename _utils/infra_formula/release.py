"""The digest of this release; written by `make generate`."""

DIGEST = "882eab9227927b731c80e23c24675d291cabc3e73f1519c1fca29f400997a508"
