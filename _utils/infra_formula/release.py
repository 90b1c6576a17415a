"""The digest of this release; written by `make generate`."""

DIGEST = "e302ee98e2eada1258e8826d6adc1bc6ad9c8d2a264b5c920f3e3f8516f503d8"
