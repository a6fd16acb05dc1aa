"""Pulumi's state as it lies on disk: files and locks, encryption, how values are written.

Both engines keep their state in this form; nothing in here deploys anything.
"""
