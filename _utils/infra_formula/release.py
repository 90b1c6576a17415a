"""The digest of this release; written by `make generate`."""

DIGEST = "2f8ed4439234dacbbfd0217c592a59513cc36135653ecf6c5adea410a25d7987"
