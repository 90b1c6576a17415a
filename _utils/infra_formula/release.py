"""The digest of this release; written by `make generate`."""

DIGEST = "0b10079cb09a391ddf89a3ff054d9eb7b764e29673a893a543f979d89ef29efe"
