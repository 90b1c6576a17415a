"""The digest of this release; written by `make generate`."""

DIGEST = "3fefc9493dd1b1dd7728f03d7ac29eb3b157676754dbcf03f09d08ff1f608d76"
