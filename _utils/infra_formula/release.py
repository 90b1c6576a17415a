"""The digest of this release; written by `make generate`."""

DIGEST = "e4aad17a10642fb6955d406a6ab137ca0fa95c5151245bf54e911b192836210e"
