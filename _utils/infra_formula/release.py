"""The digest of this release; written by `make generate`."""

DIGEST = "26270ad0a7bc76ad66a9203be4ba440d4fd3a912fd3f2c95f0d793e40746fe70"
