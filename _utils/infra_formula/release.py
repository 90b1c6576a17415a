"""The digest of this release; written by `make generate`."""

DIGEST = "148fd9c821def85442854b5c62dc827daee1a92bf4067fa66519af7e7a715387"
