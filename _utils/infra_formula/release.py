"""The digest of this release; written by `make generate`."""

DIGEST = "a14a5d506116e972e5adc773b384030dbe3b2f7737f0f098bb3583312b232c84"
