#!/bin/sh
# Starts one Redis server with the password from its secret.
set -eu
umask 077
printf 'requirepass "%s"\n' "$(sed -e 's/[\\"]/\\&/g' /etc/crm/secrets/cache_password)" >/run/crm/auth.conf
sh /etc/crm/join.sh &
exec redis-server /etc/crm/redis.conf
