#!/bin/sh
# Runs beside mysqld and takes up what was renewed, without a restart. Rendered.
#   follow.sh seen   what is there now is what the server starts with
#   follow.sh        goes on until the server ends
# A certificate: connections that are there go on; a pair that does not fit is refused, and tried again.
# A password: the one before it is good for 3600 s more, for those who still have it.
set -u
umask 077
secrets=/etc/crm/secrets/database
seen=/run/crm/seen

secret() { # an SQL string of a secret
    printf "'%s'" "$(sed -e 's/\\/\\\\/g' -e "s/'/''/g" "${secrets}_$1_password")"
}
sql() { mysql --defaults-file=/run/crm/client.cnf; }
mark() { cat "${secrets}_$1"* | sha256sum; }
is_new() { # and whole: who writes it is done
    found=$(mark "$1")
    [ "$found" != "$(cat "$seen/$1")" ] && sleep 1 && [ "$found" = "$(mark "$1")" ]
}

account() { # the name of its secret, and its user
    # While a backup is made, no account can be changed: the others, and certificates, do not wait for it.
    if [ -s "${secrets}_$1_password" ] && is_new "$1_password"; then
        if sql <<SQL
SET SESSION sql_log_bin = 0, lock_wait_timeout = 5;
ALTER USER '$2'@'%' IDENTIFIED BY $(secret "$1") RETAIN CURRENT PASSWORD;
SQL
        then
            echo "$found" >"$seen/$1_password"
            echo $(($(date +%s) + 3600)) >"$seen/$1_until"
            echo "$2 has another password; the one before it is good for 3600 s more"
        fi
    elif [ -e "$seen/$1_until" ] && [ "$(date +%s)" -ge "$(cat "$seen/$1_until")" ]; then
        if sql <<SQL
SET SESSION sql_log_bin = 0, lock_wait_timeout = 5;
ALTER USER '$2'@'%' DISCARD OLD PASSWORD;
SQL
        then
            rm "$seen/$1_until"
            echo "$2 has no other password any more"
        fi
    fi
}

if [ "${1:-}" = seen ]; then
    mkdir -p "$seen"
    for name in tls app_password owner_password; do
        mark "$name" >"$seen/$name"
    done
    exit
fi
while sleep 10; do
    if is_new tls && echo 'ALTER INSTANCE RELOAD TLS;' | sql; then
        echo "$found" >"$seen/tls"
    fi
    account app crm_app
    account owner crm_owner
done
