"""The digest of this release; written by `make generate`."""

DIGEST = "e89242d5c9fc1d211755c42e930e7024ce62a8e8714e2eef1229468d8d207f43"
