#!/bin/sh
# Keeps cache-3 in its cluster: takes its slots when it is new, and meets the other masters by
# name whenever one is missing, so that it survives every address changing at once.
set -u
REDISCLI_AUTH=$(cat /etc/crm/secrets/cache_password)
export REDISCLI_AUTH

cli() { redis-cli -p 6379 "$@"; }

until [ "$(cli PING 2>/dev/null)" = PONG ]; do sleep 0.2; done

# Asked of the node itself, every time: another one may have met it before it took its slots.
has_no_slots() { cli CLUSTER NODES | awk '/myself/ && NF == 8 { none = 1 } END { exit !none }'; }

while :; do
    if has_no_slots; then
        cli CLUSTER SET-CONFIG-EPOCH 3 # Refused once it knows others, who settle it then.
        cli CLUSTER ADDSLOTSRANGE 10922 16383
    fi
    if ! cli CLUSTER INFO | grep -q '^cluster_known_nodes:3.$' || cli CLUSTER NODES | grep -qE 'fail|noaddr'; then
        for peer in cache-1-of-3 cache-2-of-3; do
            address=$(getent ahostsv4 "$peer" | awk 'NR == 1 { print $1 }')
            [ -n "$address" ] && cli CLUSTER MEET "$address" 6379 >/dev/null
        done
        sleep 1
    else
        sleep 5
    fi
done
