"""The digest of this release; written by `make generate`."""

DIGEST = "4a7c325061b33d0a5e6815dd2ee490d593617a341fa725ceafe12753476b9999"
