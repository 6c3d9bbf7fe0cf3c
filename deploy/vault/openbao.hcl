# One of three nodes of OpenBao on raft storage. HashiCorp Vault takes the same file with a line
# `disable_mlock = true` more, which it wants beside raft. What differs from node to node is in its
# environment:
#
#   BAO_API_ADDR=https://vault-0.vault.internal:8200      where clients reach this node
#   BAO_CLUSTER_ADDR=https://vault-0.vault.internal:8201  where the other nodes do
#   BAO_RAFT_NODE_ID=vault-0
#
# (With HashiCorp Vault the names begin with VAULT_.) The nodes belong on three machines, in three
# zones where there are that many: of three one may be gone, and the other two go on.

storage "raft" {
  path = "/var/lib/openbao"
  # Another leads within a second or two, not ten.
  performance_multiplier = 1

  # Each tries all; its own address among them does no harm.
  retry_join {
    leader_api_addr     = "https://vault-0.vault.internal:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://vault-1.vault.internal:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
  retry_join {
    leader_api_addr     = "https://vault-2.vault.internal:8200"
    leader_ca_cert_file = "/etc/openbao/tls/ca.pem"
  }
}

listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "0.0.0.0:8201"
  # For the name of this node and for the name by which agents find all three.
  tls_cert_file   = "/etc/openbao/tls/server.pem"
  tls_key_file    = "/etc/openbao/tls/server.key"
}

# Without a `seal` block somebody unseals each node by hand after every start, so also at night: use
# the key service of your cloud, an HSM, or transit of another OpenBao.
