#!/bin/sh
# Starts one MySQL server: makes its data directory once, sets its accounts at every start.
set -eu
umask 077
# A shell that is process 1 ignores TERM: asked to stop while it makes the data directory, it would
# be waited for as long as a server that has a lot to write down.
trap 'exit 143' TERM

data=/data/mysql
mkdir -p /data/tmp
if [ ! -d "$data" ]; then
    # Made beside its final name and moved: a kill in the middle leaves nothing half made.
    rm -rf "$data.new"
    mysqld --defaults-file=/etc/crm/my.cnf --initialize-insecure --datadir="$data.new"
    mv "$data.new" "$data"
fi

# Before they are read here: what changes from now on is taken up as the server runs.
sh /etc/crm/follow.sh seen

# An account with an empty password would be open to all, and could not be given another one.
for name in root app owner; do
    if [ ! -s "/etc/crm/secrets/database_${name}_password" ]; then
        echo "error: /etc/crm/secrets/database_${name}_password: is empty or missing; run crm up again" >&2
        exit 1
    fi
done
secret() { # an SQL string of a secret
    printf "'%s'" "$(sed -e 's/\\/\\\\/g' -e "s/'/''/g" "/etc/crm/secrets/database_$1_password")"
}

# The server reads this before it accepts its first connection: no account is ever open, and a
# new password needs nothing but a restart.
cat >/run/crm/accounts.sql <<SQL
SET SESSION sql_log_bin = 0;
ALTER USER 'root'@'localhost' IDENTIFIED BY $(secret root);
CREATE DATABASE IF NOT EXISTS \`crm\` CHARACTER SET utf8mb4;
CREATE USER IF NOT EXISTS 'crm_owner'@'%';
ALTER USER 'crm_owner'@'%' IDENTIFIED BY $(secret owner) REQUIRE SSL;
ALTER USER 'crm_owner'@'%' DISCARD OLD PASSWORD;
GRANT ALL PRIVILEGES ON \`crm\`.* TO 'crm_owner'@'%';
CREATE USER IF NOT EXISTS 'crm_app'@'%';
ALTER USER 'crm_app'@'%' IDENTIFIED BY $(secret app) REQUIRE SSL;
ALTER USER 'crm_app'@'%' DISCARD OLD PASSWORD;
GRANT SELECT, INSERT, UPDATE, DELETE ON \`crm\`.* TO 'crm_app'@'%';
SQL

# For the health check, and for a person: mysql --defaults-file=/run/crm/client.cnf
cat >/run/crm/client.cnf <<CLIENT
[client]
user=root
password="$(sed -e 's/[\\"]/\\&/g' /etc/crm/secrets/database_root_password)"
socket=/run/crm/mysqld.sock
CLIENT

sh /etc/crm/follow.sh &
exec mysqld --defaults-file=/etc/crm/my.cnf --init-file=/run/crm/accounts.sql
