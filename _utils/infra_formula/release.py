"""The digest of this release; written by `make generate`."""

DIGEST = "8e7ca1ecc40784f6b096aaa45958b1f1186385cc7ff63c6f5b16a23af164f916"
