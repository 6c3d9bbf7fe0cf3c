//! What the flags alone do not teach: what a command does, examples, and exit statuses.

/// For `run`.
pub(super) const RUN: &str = "\
SIGTERM stops it as `on_stop` says; a second one ends it at once. SIGHUP, or another content of the
file, changes the configuration while it runs: what both versions name goes on with its leases. A
file that is wrong changes nothing, and the log says what is wrong.

Examples:
  leasehold run --config leasehold.yaml
  leasehold run --config leasehold.yaml --log-level debug --log-format text
  kill -HUP \"$(pidof leasehold)\"                load the configuration again

Exit status: 0 stopped, 64 wrong command line, 70 our own fault, 73 the publish or the state directory
cannot be used, 75 another process holds the state, 78 wrong configuration, 130 or 143 a second
signal.";

/// For `init`.
pub(super) const INIT: &str = "\
For an init container: its exit is the word that the service may start. It has the user, the state
volume and the publish volume of the `leasehold run` that follows, which adopts token and leases. It
waits for Vault and the database, but not for what another try cannot change: a login that Vault
refused twice, a path, role or field that is not there, a directory that cannot be written.

Exit status: 0 every required secret is published, 64 wrong command line, 69 Vault or the database
was not reachable in time, 73 the publish or the state directory cannot be used, 75 another process
holds the state, or the budget for new logins is spent, 77 Vault or the database refuses, 78 wrong
configuration, or it names what is not there, 130 and 143 stopped by a signal.

Examples:
  leasehold init --config leasehold.yaml
  leasehold init --config leasehold.yaml --timeout 30s";

/// For `exec`.
pub(super) const EXEC: &str = "\
COMMAND finds in its environment the variables of every `dotenv` file of the configuration,
PGSERVICEFILE and PGSERVICE where there is a `pg_service` file, and LEASEHOLD_DIRECTORY, where the
files are. Without `publish` and `state` in the configuration both are private to this run, and every
secret is in the environment. Signals are passed on to COMMAND, and leasehold ends when it does.

Examples:
  leasehold exec --config leasehold.yaml -- python legacy.py
  leasehold exec --on-rotate none -- uvicorn app:app          it opens the files at each connect
  leasehold exec --on-rotate signal:HUP -- gunicorn app:app   it takes new workers

Exit status: that of COMMAND, 128 and its number for a signal that ended it, 127 where it is not
found, 126 where it cannot be run; before it is started that of `leasehold init`.";

/// For `health`.
pub(super) const HEALTH: &str = "\
Examples:
  leasehold health                            --ready, by `listen.probes` of the configuration
  leasehold health --live --url http://127.0.0.1:9101

Exit status: 0 it is, 1 it is not, or nobody answers, 64 wrong command line, 78 wrong configuration,
or it has no `listen.probes`.";

/// For `status`.
pub(super) const STATUS: &str = "\
Examples:
  leasehold status                            by `listen.api` of the configuration
  leasehold status --watch --socket /run/leasehold/api.sock
  leasehold status --json | jq .secrets";

/// For `wait`.
pub(super) const WAIT: &str = "\
Examples:
  leasehold wait && exec my-service
  leasehold wait --generation 8 --timeout 30s";

/// For `refresh`.
pub(super) const REFRESH: &str = "\
Examples:
  leasehold refresh
  leasehold refresh db";

/// For `stop`.
pub(super) const STOP: &str = "\
Examples:
  leasehold stop
  leasehold stop --timeout 2m";

/// For `jwt`.
pub(super) const JWT: &str = "\
Each prints one JSON document. What is written is written by check-and-set: beside a controller, or
somebody else with these commands, nothing is done twice. VAULT_TOKEN or BAO_TOKEN stands above
`vault.auth` of the file.

Examples:
  leasehold jwt bootstrap --config controller.yaml
  leasehold jwt bootstrap --config controller.yaml --secret-file jwt-secret
  leasehold jwt initiate --config controller.yaml --keyset novacore
  leasehold jwt promote --config controller.yaml
  leasehold jwt complete --config controller.yaml
  leasehold jwt cleanup --config controller.yaml
  leasehold jwt abort --config controller.yaml
  leasehold jwt resume --config controller.yaml
  leasehold jwt status --config controller.yaml | jq .keys
  leasehold jwt plan --config controller.yaml

Exit status: 0 done, 64 wrong command line, 69 Vault does not answer, 75 the set does not allow it now,
77 Vault refuses, 78 wrong configuration, or a set that a person has to look at.";

/// For `check`.
pub(super) const CHECK: &str = "\
Examples:
  leasehold check --config leasehold.yaml
  leasehold check --config leasehold.yaml --online      try what it asks for
  leasehold check --config leasehold.yaml --timeline    what will happen, and when

Exit status: 0 right, 64 wrong command line, 78 wrong configuration, or a grace that cannot be kept;
with --online or --timeline 69 Vault or the database does not answer, 77 one of them refuses.";

/// For `rehearse`.
pub(super) const REHEARSE: &str = "\
Examples:
  leasehold rehearse --config leasehold.yaml
  leasehold rehearse --config leasehold.yaml --grace-seconds 5

Exit status: 0 every login did as it should, 64 wrong command line, 69 Vault or the database does not
answer, 77 one of them refuses, 78 wrong configuration.";

/// For `doctor leaks`.
pub(super) const LEAKS: &str = "\
Compares Vault's leases, the database's users and the states of agents, for each leased secret
of the configuration. Reads only, unless `--end` is given.

OWNER is
  nobody    no state that was read knows it. An agent in another pod has a state of its own: name
            it with --state, or what it holds is taken for nobody's
  unclear   a user that fits several leases, or one that others fit too; counted where there are
            more of them than leases
  young     so new that an agent may be about to take it; not counted
  draining  an agent has replaced it, and lets it end then
  ending    an agent is ending it
A lease is shown by the beginning of its SHA-256, as in the log. A user with no lease in Vault
(a request that was cut off leaves one at times) ends by its VALID UNTIL only.

It needs a token of an operator, in VAULT_TOKEN or BAO_TOKEN or --token-file, with
  path \"sys/leases/lookup/MOUNT/creds/ROLE\" { capabilities = [\"list\", \"sudo\"] }
  path \"sys/leases/lookup\" { capabilities = [\"update\"] }
  path \"sys/leases/revoke\" { capabilities = [\"update\"] }      for --end
and asks the database that `connection` names as PGUSER with PGPASSWORD or PGPASSFILE, else by a
login of an agent's state.

Exit status: 0 nothing is without an owner, 1 something is, 64 wrong command line, 69 Vault or the
database does not answer, 73 a state cannot be read, 77 Vault or the database refuses or there is
no token or login to ask it by, 78 wrong configuration, or an agent's user is not named as looked
for.

Examples:
  leasehold doctor leaks --config leasehold.yaml
  leasehold doctor leaks --config leasehold.yaml --state /run/other/state --end 9f2c41d07a6be853";

/// For `vault bootstrap plan`.
pub(super) const BOOTSTRAP_PLAN: &str = "\
Changes nothing. Each line says what is not there (+), what is there and otherwise (~), and what cannot
be taken back (!); below it what of it comes (+) and goes (-). What the file does not name is neither
looked at nor changed.

It needs a token of an operator, in VAULT_TOKEN or BAO_TOKEN or as `vault.auth` says, and a superuser of
the database, with the password in `postgres.password_file`, PGPASSWORD or PGPASSFILE.

Exit status: 0 all is as the file says, 1 something is not, 64 wrong command line, 69 Vault or the
database does not answer, 77 one of them refuses, 78 wrong file, or something of somebody else is in the
way.

Examples:
  leasehold vault bootstrap plan --config bootstrap.yaml";

/// For `vault bootstrap apply`.
pub(super) const BOOTSTRAP_APPLY: &str = "\
Does what `plan` prints, in that order, each step all or not at all. A run that was killed is simply
repeated: the next one does what is left.

Vault's role in the database gets a first password, of `database.password_file` or
VAULT_ADMIN_PASSWORD, else a random one. At the end Vault replaces it by one that nobody else knows, it
is tried that the first one is refused, and the comment of the role says so from then on. The superuser
stays outside of Vault.

Exit status: 0 all is as the file says, 1 something is left for a person, 64 wrong command line, 69 Vault
or the database does not answer, 70 Vault did not take a setting, 75 nobody agreed, 77 Vault or the database refuses, 78 wrong file, or
something of somebody else is in the way, 130 and 143 stopped by a signal.

Examples:
  leasehold vault bootstrap apply --config bootstrap.yaml
  leasehold vault bootstrap apply --config bootstrap.yaml --yes
  leasehold vault bootstrap apply --config bootstrap.yaml --reset-root";

/// For `vault doctor`.
pub(super) const VAULT_DOCTOR: &str = "\
Of each role it makes a login, logs in, compares what it may do with every table and sequence, also with
a table that is made for that, renews it, shortens it, revokes it beside an open session, and looks that
neither session nor user is left. Of each policy it makes a token for a minute and asks what it may do
at the paths of all policies. It needs what `leasehold vault bootstrap plan` needs.

Exit status: 0 all is as it should be, 1 something is not, and the command that mends it stands below,
64 wrong command line, 69 Vault or the database does not answer, 77 one of them refuses, 78 wrong file.

Examples:
  leasehold vault doctor --config bootstrap.yaml";

/// For `import`.
pub(super) const IMPORT: &str = "\
Fields that are not at the path yet are added to it; others that are there stay. Everything is looked
at before anything is written, what was written is read again, and run twice it writes nothing. The
source is never changed. A checksum is under a key of this run: nobody can try guesses on it.

Which Vault is meant is in VAULT_ADDR, with VAULT_CACERT and VAULT_NAMESPACE where it needs them. The
token may read `sys/internal/ui/mounts/PATH`, and read and write what is at the path.

Exit status: 0 all of it is in Vault, 1 a value is otherwise there and stays, or `--dry-run` found
something to write, 64 wrong command line, 69 Vault does not answer, 75 somebody else wrote there
meanwhile, 77 it refuses, 78 the source cannot be read, 130 and 143 stopped by a signal.

Examples:
  leasehold import --env .env --only STRIPE_KEY --only SENDGRID_KEY --to secret/novacore/api --dry-run
  kubectl get secret -o yaml | leasehold import --manifest - --to secret/novacore/
  leasehold import --kv kv/old/ --to secret/novacore/";

/// For `inventory check`.
pub(super) const INVENTORY: &str = "\
A secret is automated when it has an owner, a driver that is not `manual`, and a `max_age` or a
`schedule`.

Exit status: 0 all of tier 1 is automated, 1 some of it is not, or nothing is in it, 64 wrong command
line, 78 wrong file.

Examples:
  leasehold inventory check --file inventory.yaml
  leasehold inventory check --file inventory.yaml --json | jq .tiers";

/// For `config schema`.
pub(super) const SCHEMA: &str = "\
Examples:
  leasehold config schema > leasehold.schema.json

and then, as the first line of a configuration, for editors with a YAML language server:
  # yaml-language-server: $schema=./leasehold.schema.json";

/// For `config reference`.
pub(super) const REFERENCE: &str = "\
Examples:
  leasehold config reference
  leasehold config reference | grep grace";

/// For `config print`.
pub(super) const PRINT: &str = "\
What may be confidential is not shown: tokens, arguments of commands, what follows the ? of a URL.

Examples:
  leasehold config print --config leasehold.yaml
  LEASEHOLD_SECRETS__DB__GRACE=1m leasehold config print --config leasehold.yaml

Exit status: 0 printed, 64 wrong command line, 78 wrong configuration.";

/// For `completions`.
pub(super) const COMPLETIONS: &str = "\
Examples:
  leasehold completions bash > /etc/bash_completion.d/leasehold
  leasehold completions zsh > ~/.zfunc/_leasehold
  leasehold completions fish > ~/.config/fish/completions/leasehold.fish";

/// For `man`.
pub(super) const MAN: &str = "\
Examples:
  leasehold man | man -l -
  leasehold man --dir /usr/local/share/man/man1";
