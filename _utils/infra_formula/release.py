"""The digest of this release; written by `make generate`."""

DIGEST = "17dcce05dcb2c5deb1b2dbc31d78c0b65477c18764446cd06fe4ac10d69f60f2"
