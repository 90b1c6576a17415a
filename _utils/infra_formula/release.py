"""The digest of this release; written by `make generate`."""

DIGEST = "bd4da21595c96f4b3bf8e7dbe0e7a4be80ad1becbe1c50098ee4e711ec264ea1"
