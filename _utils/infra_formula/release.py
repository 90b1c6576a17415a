"""The digest of this release; written by `make generate`."""

DIGEST = "1c9c73d140b74fb34af46caaec5ef7a0f5b8f5a4ebe3568388b109d223ff649e"
