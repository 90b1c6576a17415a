"""The digest of this release; written by `make generate`."""

DIGEST = "bb6c7b1d21892790400ef7d4f7040abeee316910771703e702e485e935257ba7"
