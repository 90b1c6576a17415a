"""The digest of this release; written by `make generate`."""

DIGEST = "b4cd5cc727006157df6322254514aa958f667f433e77bfcf9805d366a37492be"
