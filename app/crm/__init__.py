"""The CRM: customers, orders and users over sharded MySQL and a Redis cache.

Imports nothing, so that ``crm.serve`` can name prometheus_client's folder before its first import;
the application is made by ``crm.factory.create_app``.
"""
