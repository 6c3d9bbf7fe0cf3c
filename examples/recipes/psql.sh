#!/bin/sh
# One psql after the other. PGSERVICEFILE and PGSERVICE say where to.
queries=0 failures=0 user=
trap 'exit 0' TERM
while :; do
  text=
  if said=$(psql -XAtqc 'SELECT session_user' 2>&1); then
    queries=$((queries + 1)) user=$said
  else
    failures=$((failures + 1)) text=$(printf '"%s"' "$(printf '%s' "$said" | tr -d '"\\\n\t')")
  fi
  printf '{"queries": %d, "failures": %d, "user": "%s", "texts": [%s]}\n' \
    "$queries" "$failures" "$user" "$text"
  sleep 0.2
done
