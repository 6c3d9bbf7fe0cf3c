# All that an agent of one service may do beside what the default policy gives every token.
path "MOUNT/creds/ROLE" { capabilities = ["read"] }
# Only for `on_stop: revoke`; without it the leases are shortened to a second.
path "sys/leases/revoke" { capabilities = ["update"] }
