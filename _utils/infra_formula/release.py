"""The digest of this release; written by `make generate`."""

DIGEST = "293e93fc220ac81da4196568723a80d83748bb121d3173a96fbcee11219302a0"
