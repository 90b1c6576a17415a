"""The digest of this release; written by `make generate`."""

DIGEST = "e47583a15bd8492dbd299530ffc9fe62c60d2862586b899f4640b7e6c9fa6d3e"
