"""What a mistake in a template or a setting would make of rendered files: by rule, text that is in
the file, and what stands there instead."""

from __future__ import annotations

Mutation = tuple[str, str, str]
"""Path, what is there, what takes its place."""

NGINX, HAPROXY = "nginx/nginx.conf", "haproxy/haproxy.cfg"
MYSQL, REDIS = "mysql/database-2/my.cnf", "redis/cache-3/redis.conf"
SCHEMA, START = "mysql/schema.sql", "mysql/start.sh"
SOCKET = "stats socket /run/crm/haproxy.sock mode 600"
CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:"
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON \\`crm\\`.* TO 'crm_app'@'%';"

MUTATIONS: dict[str, tuple[Mutation, ...]] = {
    "haproxy_body_limit": (
        (HAPROXY, "gt 65536", "gt 0"),
        (HAPROXY, "gt 65536", "gt 999999999999"),
        (HAPROXY, "http-request deny status 413", "# http-request deny status 413"),
        (HAPROXY, "req.hdr(content-length)", "req.hdr(x-length)"),
        (
            HAPROXY,
            "\nfrontend edge_metrics\n",
            "\nfrontend more\n    default_backend app\nfrontend edge_metrics\n",
        ),
    ),
    "haproxy_quiet": (
        (HAPROXY, "    http-after-response del-header Server\n", ""),
        (HAPROXY, "del-header Server", "set-header Server haproxy"),
        (HAPROXY, "\nfrontend edge_metrics\n", "\nfrontend edge_metrics\n    stats enable\n"),
        (HAPROXY, "\nfrontend edge_metrics\n", "\nfrontend edge_metrics\n    stats uri /\n"),
    ),
    "haproxy_socket": (
        (HAPROXY, SOCKET, "stats socket /run/crm/haproxy.sock mode 666"),
        (HAPROXY, SOCKET, "stats socket /run/crm/haproxy.sock"),
        (HAPROXY, SOCKET, "stats socket ipv4@0.0.0.0:9999 mode 600"),
        (HAPROXY, SOCKET, f"stats socket :9999 level admin\n    {SOCKET}"),
    ),
    "haproxy_timeouts": (
        (HAPROXY, "    timeout client 15s\n", ""),
        (HAPROXY, "timeout server 30s", "timeout server 0"),
        (HAPROXY, "timeout http-request 15s", "timeout http-request 2d"),
        (HAPROXY, "    timeout http-keep-alive", "    #timeout http-keep-alive"),
        (HAPROXY, "timeout connect 1s", "timeout connect 1x"),
    ),
    "haproxy_tls": (
        (HAPROXY, "ssl-min-ver TLSv1.2", "ssl-min-ver TLSv1.0"),
        (HAPROXY, "ssl-min-ver TLSv1.2 ", ""),
        (HAPROXY, " no-tls-tickets", ""),
        (HAPROXY, "    ssl-default-bind-ciphers ECDHE", "    # ssl-default-bind-ciphers ECDHE"),
        (HAPROXY, f"ssl-default-bind-ciphers {CIPHERS}", "ssl-default-bind-ciphers AES128-SHA:"),
        (HAPROXY, "ssl crt @edge/site", "ssl crt @edge/site ssl-min-ver TLSv1.1"),
        (HAPROXY, "ssl crt @edge/site", "ssl crt @edge/site force-tlsv10"),
        (HAPROXY, "ssl crt @edge/site", "ssl crt @edge/site ciphers ALL"),
    ),
    "mysql_closed": (
        (MYSQL, "local_infile = OFF", "local_infile = ON"),
        (MYSQL, "[mysqld]\n", "[mysqld]\nskip-grant-tables\n"),
        (MYSQL, "secure_file_priv = NULL", 'secure_file_priv = ""'),
        (MYSQL, "mysqlx = OFF", "mysqlx = ON"),
        (MYSQL, "mysqlx = OFF", "# mysqlx = OFF"),
        (MYSQL, "[mysqld]\n", "[mysqld]\nrequire_secure_transport = OFF\n"),
        (MYSQL, "[mysqld]\n", "!includedir /etc/mysql/conf.d\n[mysqld]\n"),
    ),
    "mysql_durable": (
        (MYSQL, "innodb_flush_log_at_trx_commit = 1", "innodb_flush_log_at_trx_commit = 2"),
        (MYSQL, "sync_binlog = 1", "sync_binlog = 0"),
        (MYSQL, "sync_binlog = 1", "sync_binlog = 1\nloose-sync-binlog = 1000"),
        (MYSQL, "innodb_doublewrite = ON", "innodb_doublewrite = OFF"),
        (MYSQL, "innodb_doublewrite = ON", "innodb_doublewrite = DETECT_ONLY"),
        (MYSQL, "[mysqld]\n", "[mysqld]\nskip-log-bin\n"),
        (MYSQL, "sync_binlog = 1  #", "[client]\nsync_binlog = 1  #"),
    ),
    "mysql_strict": (
        (MYSQL, "STRICT_TRANS_TABLES,", ""),
        (MYSQL, "NO_ENGINE_SUBSTITUTION,", ""),
        (MYSQL, "sql_mode = ", "#sql_mode = "),
        (MYSQL, "character_set_server = utf8mb4", "character_set_server = latin1"),
        (MYSQL, "character_set_server = utf8mb4", "character_set_client = utf8mb4"),
    ),
    "mysql_tls": (
        (MYSQL, "require_secure_transport = ON", "#require_secure_transport = ON"),
        (MYSQL, "ssl_cert = ", "#ssl_cert = "),
        (MYSQL, "ssl_key = /etc/crm/secrets/database_tls_key", "ssl_key = "),
        (MYSQL, "tls_version = TLSv1.2,", "tls_version = TLSv1.1,TLSv1.2,"),
        (MYSQL, "tls_version = ", "#tls_version = "),
    ),
    "nginx_body_limit": (
        (NGINX, "client_max_body_size 64k", "client_max_body_size 0"),
        (NGINX, "    client_max_body_size 64k;\n", ""),
        (NGINX, "client_max_body_size 64k", "client_max_body_size 9g"),
        (NGINX, "set $route 0;", "set $route 0; client_max_body_size 0;"),
    ),
    "nginx_quiet": (
        (NGINX, "server_tokens off", "server_tokens on"),
        (NGINX, "    server_tokens off;\n", ""),
        (NGINX, "set $route 0;", "set $route 0; server_tokens build;"),
        (NGINX, "proxy_hide_header X-Request-ID;", "proxy_pass_header Server;"),
    ),
    "nginx_timeouts": (
        (NGINX, "    client_header_timeout 15s;\n", ""),
        (NGINX, "client_body_timeout 15s", "client_body_timeout 0"),
        (NGINX, "send_timeout 30s", "send_timeout 2d"),
        (NGINX, "proxy_connect_timeout 1s", "# proxy_connect_timeout 1s"),
        (NGINX, "set $route 0;", "set $route 0; proxy_read_timeout 1d;"),
    ),
    "nginx_tls": (
        (NGINX, "ssl_protocols TLSv1.2", "ssl_protocols TLSv1.1 TLSv1.2"),
        (NGINX, "    ssl_protocols TLSv1.2 TLSv1.3;\n", ""),
        (NGINX, f"ssl_ciphers {CIPHERS}", "ssl_ciphers HIGH:"),
        (NGINX, f"ssl_ciphers {CIPHERS}", f"ssl_ciphers AES256-GCM-SHA384:{CIPHERS}"),
        (NGINX, "    ssl_ciphers ", "    # ssl_ciphers "),
        (NGINX, "ssl_session_tickets off", "ssl_session_tickets on"),
        (NGINX, "http2 on;", "http2 on; ssl_protocols SSLv3;"),
    ),
    "redis_commands": (
        (REDIS, 'rename-command FLUSHALL ""\n', ""),
        (REDIS, 'rename-command CONFIG ""', "rename-command CONFIG settings"),
        (REDIS, 'rename-command DEBUG ""', '# rename-command DEBUG ""'),
        (REDIS, "maxmemory-policy", "enable-module-command yes\nmaxmemory-policy"),
    ),
    "redis_memory": (
        (REDIS, "maxmemory 40mb", "maxmemory 0"),
        (REDIS, "maxmemory 40mb", "# maxmemory 40mb"),
        (REDIS, "maxmemory-policy allkeys-lru\n", ""),
        (REDIS, "maxmemory 40mb", "maxmemory 40mb\nmaxmemory 0"),
    ),
    "redis_password": (
        (REDIS, "include /run/crm/auth.conf", "# include /run/crm/auth.conf"),
        (REDIS, "include /run/crm/auth.conf", "include /tmp/auth.conf"),
        (REDIS, "bind 0.0.0.0", "bind 0.0.0.0\ninclude /data/more.conf"),
        (REDIS, "bind 0.0.0.0", "bind 0.0.0.0\nprotected-mode no"),
        (REDIS, "bind 0.0.0.0", "bind 0.0.0.0\nuser default on nopass ~* +@all"),
        (REDIS, "bind 0.0.0.0", 'bind 0.0.0.0\nrequirepass ""'),
    ),
    "sql_grants": (
        (START, GRANT, "GRANT ALL PRIVILEGES ON *.* TO 'crm_app'@'%';"),
        (START, GRANT, "GRANT ALL PRIVILEGES ON crm.* TO 'crm_app'@'%';"),
        (START, GRANT, "GRANT SELECT ON crm.* TO 'crm_app'@'%' WITH GRANT OPTION;"),
        (START, GRANT, "GRANT SELECT, FILE ON *.* TO 'crm_app'@'%';"),
        (START, GRANT, "GRANT SELECT, DROP ON crm.* TO 'crm_app'@'%';"),
        (START, GRANT, "GRANT crm_role TO 'crm_app'@'%';"),
        (START, "'crm_app'@'%' IDENTIFIED BY $(secret app)", "'crm_app'@'%' IDENTIFIED BY ''"),
    ),
    "sql_keeps_data": (
        (SCHEMA, "CREATE TABLE IF NOT EXISTS users", "DROP TABLE users;\nCREATE TABLE users"),
        (SCHEMA, "CREATE TABLE IF NOT EXISTS users", "TRUNCATE users;\nCREATE TABLE users"),
        (SCHEMA, "CREATE TABLE IF NOT EXISTS users", "DELETE FROM users;\nCREATE TABLE users"),
        (START, "CREATE DATABASE IF NOT EXISTS", "drop database crm; CREATE DATABASE"),
    ),
    "sql_tables": (
        (SCHEMA, "    PRIMARY KEY (id),\n    KEY customers_email", "    KEY customers_email"),
        (SCHEMA, ") ENGINE = InnoDB;", ") ENGINE = MyISAM;"),
        (SCHEMA, ") ENGINE = InnoDB;", ");"),
        (SCHEMA, ") ENGINE = InnoDB;", ") ENGINE = InnoDB CHARSET = latin1;"),
        (SCHEMA, "role VARCHAR(32)", "role VARCHAR(32) CHARACTER SET utf8mb3"),
        (SCHEMA, "    PRIMARY KEY (id)\n", "    -- PRIMARY KEY (id)\n    KEY (id)\n"),
    ),
}
