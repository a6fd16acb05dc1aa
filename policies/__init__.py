"""Rules over what a stack would deploy.

The same functions serve the Pulumi CLI (``__main__.py``), the embedded engine, ``crm check`` and
the tests. None of them imports Pulumi.
"""
