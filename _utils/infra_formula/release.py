"""The digest of this release; written by `make generate`."""

DIGEST = "11f6b3f205f725904033fd891fe565f8a7a3caffa2f5cfd2787c30b1791742f0"
