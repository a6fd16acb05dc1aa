"""A real single-node Kubernetes for tests, in namespaces of its own on this machine."""
