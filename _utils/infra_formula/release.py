"""The digest of this release; written by `make generate`."""

DIGEST = "7946481714f908700e0eb89ee1203f5009a380eddbc66df87872e86ad793b4be"
