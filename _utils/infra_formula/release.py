"""The digest of this release; written by `make generate`."""

DIGEST = "3d6323095f89722178774810729444baeaf8d865dc126f503eb86aa71b7a893c"
