"""The digest of this release; written by `make generate`."""

DIGEST = "e88b6caaa773e6f9f7b48ac307b093190d2fecdf2c5c32752ec9ad692b40500d"
