"""The digest of this release; written by `make generate`."""

DIGEST = "d11d0f1e4d66bb458e799f0eef00116b7852f7af60f64c8f1ea6a78eef0acce5"
