"""The digest of this release; written by `make generate`."""

DIGEST = "50ecfa61f96394dfc1eb8e7f502e1b634f2400a5b79b2c85743d8ecf43d86cfb"
