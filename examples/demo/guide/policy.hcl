# All that an agent of one service may do beside what the default policy gives every token.
path "MOUNT/creds/ROLE" { capabilities = ["read"] }
# A child token for each login but the first: a kill at the wrong moment then leaves nothing behind.
path "auth/token/create" { capabilities = ["update"] }
# Only for `on_stop: revoke`; without it the leases are shortened to a second.
path "sys/leases/revoke" { capabilities = ["update"] }
