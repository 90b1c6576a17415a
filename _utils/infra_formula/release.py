"""The digest of this release; written by `make generate`."""

DIGEST = "42d0762296ecf571a4125faa12eb312a70a614242c6b205139082b35d7522d42"
