"""The digest of this release; written by `make generate`."""

DIGEST = "796729a64df9b905024e34b06877345b130b75c1588e2039ccdb0065d935654d"
