"""The digest of this release; written by `make generate`."""

DIGEST = "0215666cba6961dac569e3435e4ae4a0f967b876fcbceda0963d15cf8b684804"
