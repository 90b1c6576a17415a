"""The digest of this release; written by `make generate`."""

DIGEST = "46f70714857562910ea89e15809c9e8110d223e258a2d855e8165718601322b3"
