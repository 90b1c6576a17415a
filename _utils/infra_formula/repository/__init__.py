"""The local package repository: building, publishing, archives, clients."""
