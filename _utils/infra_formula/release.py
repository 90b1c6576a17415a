"""The digest of this release; written by `make generate`."""

DIGEST = "311f0601a43daefdabfcfeeb1ee6a35be60b0fd2eadaf197f308dd7a9fa74c99"
