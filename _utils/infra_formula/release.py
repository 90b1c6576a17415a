"""The digest of this release; written by `make generate`."""

DIGEST = "2c92f38828b200ea5d8f4ac1d72bcf871c378b452c122acb016841a734a486a9"
