"""The digest of this release; written by `make generate`."""

DIGEST = "6ad6d25e2b32871f10521604ba7500443703d9a1964bad4b403f27f2ce149c03"
