"""The digest of this release; written by `make generate`."""

DIGEST = "24ca62a4d8b762e58f9817972b766beb0f269567158a17070e969c3879eab164"
