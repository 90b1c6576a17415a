"""The digest of this release; written by `make generate`."""

DIGEST = "7b4a703b18ca9317079f5c0059031cb649db47ca58daa7224073ca9b0b383036"
