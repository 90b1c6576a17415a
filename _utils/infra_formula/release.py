"""The digest of this release; written by `make generate`."""

DIGEST = "75f80e73cb2fe75ae0f75aab31da0662dddbcfa3dfdf6982acc7887a062cc9e4"
