"""The digest of this release; written by `make generate`."""

DIGEST = "9cecf2f263ec8b7858baf4fc12c011bb6c5d451f812ef4f6a657586e54ca8cfa"
