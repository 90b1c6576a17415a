"""The digest of this release; written by `make generate`."""

DIGEST = "b70035c0b22240250b10c61f25fdcab5244fb59da6ab734330f645169ebe052b"
