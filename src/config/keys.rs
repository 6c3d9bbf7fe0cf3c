//! Every key that a configuration may have: what it takes, what it is where nobody says, what it
//! means.
//!
//! The one list of them. Reading refuses what is not in it, and the schema, the reference in the
//! README and `config print` are made of it. A new key is a line here, and is read by the resolver of
//! its section. Never says how a value is judged: that is for the resolvers.

use crate::config::value;

/// The keys of one section.
pub(super) struct Keys {
    /// Those that mean something.
    pub(super) known: &'static [Key],
    /// Those that this version does not know what to do with yet.
    pub(super) later: &'static [&'static str],
    /// Exactly one of these must be there.
    pub(super) one_of: &'static [&'static str],
}

/// One key.
pub(super) struct Key {
    /// Its name.
    pub(super) name: &'static str,
    /// What it takes.
    pub(super) takes: Takes,
    /// What it is where nobody says.
    pub(super) default: Otherwise,
    /// What it means, in Markdown.
    pub(super) text: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy)]
pub(super) enum Takes {
    /// Text as it is.
    Text,
    /// Text with every `${…}` replaced, as in all that are said to be so below.
    Expanded,
    /// The absolute path of a file or directory; replaced.
    File,
    /// A URL; replaced.
    Url,
    /// An address to listen at; replaced.
    Address,
    /// A path in Vault.
    VaultPath,
    /// As `90s`.
    Duration,
    /// As `90s`, or this word.
    DurationOr(&'static str),
    /// `true` or `false`.
    Boolean,
    /// A whole number from one to the other, replaced where it is text.
    Number(u64, u64),
    /// Permission bits.
    Mode,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The same, replaced.
    ExpandedWord(&'static [&'static str]),
    /// A signal, with `SIG` or without.
    Signal,
    /// A list of texts.
    Texts,
    /// A list of texts, replaced.
    ExpandedTexts,
    /// A list of whole numbers.
    Numbers,
    /// A command: its program and arguments.
    Command,
    /// Fields and the names to give them.
    Names,
    /// `unix:` and the path of a socket, replaced, or a section.
    SocketOr(&'static Keys),
    /// A section.
    Section(&'static Keys),
    /// A section for each name that the user chooses; the word stands for it.
    Each(&'static str, &'static Keys),
    /// A list of sections.
    List(&'static Keys),
}

/// What a key is where nobody says.
#[derive(Clone, Copy)]
pub(super) enum Otherwise {
    /// It must be said.
    Needed,
    /// Nothing.
    None,
    /// This value.
    Value(&'static str),
    /// It depends, as these words say.
    Depends(&'static str),
}

use Otherwise::{Depends, Needed, None as Nothing, Value};
use Takes::{
    Address, Boolean, Command, Duration, DurationOr, Each, Expanded, ExpandedTexts, ExpandedWord,
    File, List, Mode, Names, Number, Numbers, Section, Signal, SocketOr, Text, Texts, Url,
    VaultPath, Word,
};

pub(super) const fn key(
    name: &'static str,
    takes: Takes,
    default: Otherwise,
    text: &'static str,
) -> Key {
    Key { name, takes, default, text }
}

pub(super) const fn keys(known: &'static [Key]) -> Keys {
    Keys { known, later: &[], one_of: &[] }
}

/// The file.
#[rustfmt::skip]
pub(super) static TOP: Keys = Keys {
    later: &["controller", "exec"],
    ..keys(&[
        key("instance", Text, Depends("`$POD_NAME`, else the host name"), "names this agent to people"),
        key("vault", Section(&VAULT), Depends("needed where a secret comes from there"), ""),
        key("secrets", Each("NAME", &SECRET), Needed, "the secrets; a name has lower case letters, digits, `_` and `-`"),
        key("publish", Section(&PUBLISH), Needed, ""),
        key("notify", List(&TARGET), Nothing, "whom to tell"),
        key("state", Section(&STATE), Nothing, ""),
        key("listen", Section(&LISTEN), Nothing, ""),
        key("on_stop", Word(&["drain", "revoke", "keep"]), Value("drain"), "on SIGTERM the leases get `grace` more (`drain`), end (`revoke`) or stay for the next process (`keep`)"),
        key("stop_timeout", Duration, Value("10s"), "how long that may take; an issue still unanswered by then is given up and reported"),
        key("init_timeout", Duration, Value("2m"), "how long `init` may take; also its flag `--timeout`"),
        key("log", Section(&LOG), Nothing, ""),
    ])
};

#[rustfmt::skip]
pub(super) static VAULT: Keys = keys(&[
    key("address", Url, Depends("needed, here or in `VAULT_ADDR`"), "`https://host:port`; `http://` to another machine gets a warning"),
    key("namespace", Expanded, Nothing, "one of Vault Enterprise or OpenBao, sent with every request"),
    key("ca_cert", File, Depends("the system's CAs"), "PEM file; a changed one is used without a restart"),
    key("client_cert", File, Nothing, "PEM file, for a server that asks for a certificate; a changed one is used without a restart. Not beside `vault.auth.cert`"),
    key("client_key", File, Nothing, "PEM file with its key"),
    key("auth", Section(&AUTH), Depends("a token in `VAULT_TOKEN`"), "how to log in: exactly one of these"),
]);

#[rustfmt::skip]
pub(super) static AUTH: Keys = Keys {
    one_of: &["kubernetes", "approle", "jwt", "cert", "token_file"],
    ..keys(&[
        key("kubernetes", Section(&KUBERNETES), Nothing, "a pod's service account"),
        key("approle", Section(&APPROLE), Nothing, "a role id and a secret id"),
        key("jwt", Section(&JWT), Nothing, "a signed token"),
        key("cert", Section(&CERT), Nothing, "a certificate that the connection shows"),
        key("token_file", File, Nothing, "a token that somebody else keeps fresh"),
    ])
};

#[rustfmt::skip]
pub(super) static KUBERNETES: Keys = keys(&[
    key("role", Text, Needed, "a role of the method"),
    key("token_file", File, Value("/var/run/secrets/kubernetes.io/serviceaccount/token"), "file with the account's token; read anew at each login"),
    key("mount", VaultPath, Value("kubernetes"), "where the method is mounted"),
]);

#[rustfmt::skip]
pub(super) static JWT: Keys = keys(&[
    key("role", Text, Needed, "a role of the method"),
    key("token_file", File, Needed, "file with the token, which somebody keeps fresh"),
    key("mount", VaultPath, Value("jwt"), "where the method is mounted"),
]);

#[rustfmt::skip]
pub(super) static CERT: Keys = keys(&[
    key("name", Text, Needed, "a role of the method"),
    key("cert_file", File, Needed, "PEM file with the certificate"),
    key("key_file", File, Needed, "PEM file with its key"),
    key("mount", VaultPath, Value("cert"), "where the method is mounted"),
]);

#[rustfmt::skip]
pub(super) static APPROLE: Keys = keys(&[
    key("role_id_file", File, Needed, "file with the role id"),
    key("secret_id_file", File, Needed, "file with the secret id; looked at again at each login"),
    key("wrapped", Boolean, Value("false"), "whether that file holds a wrapping token"),
    key("mount", VaultPath, Value("approle"), "where the method is mounted"),
]);

#[rustfmt::skip]
pub(super) static SECRET: Keys = Keys {
    later: &["keyset"],
    one_of: &["database", "kv", "read", "pki", "file"],
    ..keys(&[
        key("database", Section(&DATABASE), Nothing, "a login to a database; see [Static roles](#static-roles) for one that all share"),
        key("kv", Section(&KV), Nothing, "a secret of the KV engine"),
        key("read", Section(&READ), Nothing, "the fields of whatever is there"),
        key("pki", Section(&PKI), Nothing, "a certificate with its key; see [Certificates](#certificates)"),
        key("file", Section(&LOCAL), Nothing, "a YAML or JSON file of this machine; see [Without Vault](#without-vault)"),
        key("connection", Section(&CONNECTION), Nothing, "of a `database`, where the login is used and tried"),
        key("confirm", Word(&["moved", "told", "none"]), Depends("the strongest there is"), "what ends an old login: `moved` (told, and its sessions are gone; needs `connection`), `told` (every target acknowledged), `none`"),
        key("grace", Duration, Value("5m"), "the time that an old login has left after that; whole seconds"),
        key("unconfirmed_after", DurationOr("never"), Value("never"), "end the old login without evidence after this time"),
        key("rotate_every", Duration, Depends("as late as Vault allows"), "replace the login at least this often"),
        key("lookup", Duration, Value("30s"), "pause between two questions to Vault whether token and lease are still good"),
        key("required", Boolean, Value("true"), "nothing is published before it is there; readiness depends on it"),
        key("enabled", Boolean, Value("true"), "`false` leaves the secret out everywhere"),
    ])
};

#[rustfmt::skip]
pub(super) static DATABASE: Keys = keys(&[
    key("role", VaultPath, Needed, "role of the database engine"),
    key("mount", VaultPath, Value("database"), "where the engine is mounted"),
    key("static", Boolean, Value("false"), "whether it is a static role, whose login all share, instead of one with leases"),
    key("poll", Duration, Depends("15s of a static role"), "how often to ask for a new password"),
]);

#[rustfmt::skip]
pub(super) static PKI: Keys = keys(&[
    key("role", VaultPath, Needed, "role of the PKI engine"),
    key("common_name", Expanded, Needed, "the certificate's name"),
    key("mount", VaultPath, Value("pki"), "where the engine is mounted"),
    key("alt_names", ExpandedTexts, Nothing, "its other names"),
    key("ip_sans", ExpandedTexts, Nothing, "its IP addresses"),
    key("ttl", Duration, Depends("the role's"), "how long it is to live; whole seconds"),
]);

#[rustfmt::skip]
pub(super) static LOCAL: Keys = keys(&[
    key("path", File, Needed, "the file"),
    key("poll", Duration, Value("5s"), "how often to look where the kernel does not tell of a change"),
]);

#[rustfmt::skip]
pub(super) static KV: Keys = keys(&[
    key("path", VaultPath, Needed, "without `data/`"),
    key("mount", VaultPath, Value("secret"), "where the engine is mounted"),
    key("engine", Number(1, 2), Value("2"), "which version of the engine"),
    key("version", Number(1, u64::MAX), Depends("the newest"), "of engine 2, exactly this one; `poll` then only looks whether it is still there"),
    key("poll", Duration, Depends("15s, 5m with a `version`"), "how often to ask"),
]);

#[rustfmt::skip]
pub(super) static READ: Keys = keys(&[
    key("path", VaultPath, Needed, "with the mount, as `aws/creds/deploy`"),
    key("leased", Boolean, Value("false"), "whether each answer is a lease, which is kept, replaced and drained as a login is"),
    key("poll", Duration, Depends("15s"), "how often to ask, where it is not leased"),
]);

#[rustfmt::skip]
pub(super) static CONNECTION: Keys = keys(&[
    key("host", Expanded, Needed, "host, several with commas, or a directory with a socket"),
    key("port", Number(1, 65_535), Value("5432"), "port of each"),
    key("dbname", Expanded, Needed, "database"),
    key("sslmode", ExpandedWord(&["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]), Value("verify-full"), "as libpq has it"),
    key("sslrootcert", File, Nothing, "PEM file with the CA; needed with `verify-full` and `verify-ca`, but for sockets"),
]);

#[rustfmt::skip]
pub(super) static PUBLISH: Keys = Keys {
    later: &["owner"],
    ..keys(&[
        key("directory", File, Needed, "where the files appear; must be memory-backed, and no link"),
        key("mode", Mode, Value("0440"), "of every file that names none; in quotes"),
        key("allow_disk", Boolean, Value("false"), "take a directory that is not memory-backed"),
        key("allow_writers", Boolean, Value("false"), "take a directory that somebody else can write to"),
        key("files", Each("PATH", &FILE), Needed, "the files, by their paths below the directory"),
    ])
};

#[rustfmt::skip]
pub(super) static FILE: Keys = Keys {
    later: &["owner"],
    one_of: &["format", "template"],
    ..keys(&[
        key("format", Word(&["dotenv", "json", "yaml", "raw", "pg_service", "pgpass", "dsn", "pgbouncer", "userlist"]), Nothing, "what is in it"),
        key("template", File, Nothing, "in place of `format`: a template that says what is in it"),
        key("mode", Mode, Depends("`publish.mode`; 0600 for `pgpass`"), "its mode, in quotes"),
        key("secret", Text, Nothing, "the secret that it is about"),
        key("secrets", Texts, Nothing, "the secrets that are in it, as `[db, mail]`"),
        key("field", Text, Nothing, "of `raw`, which field"),
        key("alias", Text, Depends("the secret's name"), "of `pg_service` and `pgbouncer`, the name of the section or database"),
        key("prefix", Text, Nothing, "of `dotenv`, what every variable's name begins with"),
        key("names", Names, Nothing, "of `dotenv`, names of single variables, as `mail.api_key: SENDGRID_API_KEY`"),
    ])
};

#[rustfmt::skip]
pub(super) static TARGET: Keys = Keys {
    one_of: &["http", "signal", "exec", "pgbouncer"],
    ..keys(&[
        key("name", Text, Needed, "names it to people: lower case letters, digits, `_` and `-`"),
        key("secrets", Texts, Depends("all"), "what it wants to hear of"),
        key("http", Section(&HTTP), Nothing, "tells it by a `POST`"),
        key("signal", Section(&SIGNAL), Nothing, "tells it by a signal: `pid_file` or `process` says whom"),
        key("exec", Section(&EXEC), Nothing, "tells it by a command"),
        key("pgbouncer", Section(&PGBOUNCER), Nothing, "tells PgBouncer by its admin console; see [PgBouncer](#pgbouncer)"),
    ])
};

#[rustfmt::skip]
pub(super) static HTTP: Keys = keys(&[
    key("url", Url, Needed, "`http://`, on this machine"),
    key("signing_key_file", File, Nothing, "file with the key that signs the requests"),
    key("timeout", Duration, Value("5s"), "how long one attempt may take"),
]);

#[rustfmt::skip]
pub(super) static SIGNAL: Keys = Keys {
    one_of: &["pid_file", "process"],
    ..keys(&[
        key("pid_file", File, Nothing, "file with the process's id"),
        key("process", Text, Nothing, "the name of its program or script"),
        key("signal", Signal, Needed, "`HUP`, `USR1`, `USR2`, `INT`, `QUIT`, `TERM`, `WINCH` or `CONT`"),
    ])
};

#[rustfmt::skip]
pub(super) static EXEC: Keys = keys(&[
    key("command", Command, Needed, "an absolute path and arguments; no shell"),
    key("timeout", Duration, Value("10s"), "how long it may take"),
]);

#[rustfmt::skip]
pub(super) static PGBOUNCER: Keys = keys(&[
    key("host", Expanded, Value("127.0.0.1"), "a host of this machine, or the directory of a socket"),
    key("port", Number(1, 65_535), Value("6432"), "its port"),
    key("user", Expanded, Value("pgbouncer"), "one of its `admin_users`"),
    key("password_file", File, Nothing, "file with that user's password"),
    key("timeout", Duration, Value("10s"), "how long one attempt may take, old connections' ends in it"),
]);

#[rustfmt::skip]
pub(super) static STATE: Keys = keys(&[
    key("directory", File, Value("/run/leasehold-state"), "memory-backed; neither it nor `publish.directory` may be inside the other"),
    key("allow_disk", Boolean, Value("false"), "take a directory that is not memory-backed"),
]);

#[rustfmt::skip]
pub(super) static LISTEN: Keys = Keys {
    later: &["jwt"],
    ..keys(&[
        key("probes", Address, Depends("not listened"), "`address:port` for `/livez`, `/readyz` and `/startupz`; port 0 picks one, the log says which"),
        key("metrics", Address, Depends("not listened"), "the same for `/metrics`"),
        key("api", SocketOr(&API), Depends("not listened"), "`unix:/path/api.sock`, or a port of the loopback; see [A running agent](#a-running-agent)"),
        key("api_uids", Numbers, Nothing, "user ids that the socket answers too"),
    ])
};

#[rustfmt::skip]
pub(super) static API: Keys = keys(&[
    key("address", Address, Needed, "a port of the loopback"),
    key("token_file", File, Needed, "file with the token that callers must send"),
]);

#[rustfmt::skip]
pub(super) static LOG: Keys = keys(&[
    key("level", Word(&["error", "warn", "info", "debug", "trace"]), Value("info"), "what is logged"),
    key("format", Word(&["json", "text"]), Value("json"), "how"),
]);

impl Keys {
    /// The key called `name`.
    pub(super) fn get(&self, name: &str) -> Option<&'static Key> {
        self.known.iter().find(|key| key.name == name)
    }

    /// The names of all that mean something.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.known.iter().map(|key| key.name)
    }
}

impl Takes {
    /// The keys that may stand below it, and what comes between its path and theirs.
    pub(super) fn below(self) -> Option<(String, &'static Keys)> {
        match self {
            Section(keys) | SocketOr(keys) => Some((".".to_owned(), keys)),
            Each(name, keys) => Some((format!(".{name}."), keys)),
            List(keys) => Some(("[].".to_owned(), keys)),
            Text | Expanded | File | Url | Address | VaultPath | Duration | DurationOr(_)
            | Boolean | Number(..) | Mode | Word(_) | ExpandedWord(_) | Signal | Texts
            | ExpandedTexts | Numbers | Command | Names => None,
        }
    }

    /// Whether `${…}` is replaced in it.
    pub(super) fn expands(self) -> bool {
        match self {
            Expanded | File | Url | Address | Number(..) | ExpandedWord(_) | ExpandedTexts
            | SocketOr(_) => true,
            Text | VaultPath | Duration | DurationOr(_) | Boolean | Mode | Word(_) | Signal
            | Texts | Numbers | Command | Names | Section(_) | Each(..) | List(_) => false,
        }
    }

    /// How a value of it is written.
    pub(super) fn form(self) -> String {
        match self {
            Text | Expanded => "write one line of text".to_owned(),
            File => "write it as `/etc/leasehold/name`".to_owned(),
            Url => "write it as `https://host:port`".to_owned(),
            Address => "write it as `127.0.0.1:9100`, or with port 0 to pick one".to_owned(),
            VaultPath => "parts with `/` between, none empty or `..`".to_owned(),
            Duration => "write it as `500ms`, `90s`, `5m` or `24h`".to_owned(),
            DurationOr(word) => format!("write it as `90s`, `5m` or `24h`, or `{word}`"),
            Boolean => "write `true` or `false`".to_owned(),
            Number(least, u64::MAX) => format!("a whole number, at least {least}"),
            Number(least, most) => {
                format!("a whole number from {least} to {most}")
            }
            Mode => "three octal digits, such as \"0440\"".to_owned(),
            Word(words) | ExpandedWord(words) => format!("one of {}", words.join(", ")),
            Signal => format!("one of {}", value::SIGNALS.map(|(name, _)| name).join(", ")),
            Texts | ExpandedTexts => "write a list, such as `[db, mail]`".to_owned(),
            Numbers => "write a list, such as `[1000]`".to_owned(),
            SocketOr(_) => {
                "write it as `unix:/run/leasehold/api.sock`, or `address` and `token_file` below it"
                    .to_owned()
            }
            Command => "write `[/usr/bin/psql, -c, RELOAD]`; no shell is used".to_owned(),
            Names => "write `mail.api_key: SENDGRID_API_KEY`, one line for each".to_owned(),
            Section(keys) => {
                let names: Vec<_> = keys.names().collect();
                format!("write its keys below it: {}", names.join(", "))
            }
            Each(..) => "write names below it, and the keys of each below that".to_owned(),
            List(keys) => {
                let names: Vec<_> = keys.names().collect();
                format!("write `- {{ {}: … }}`, one for each", names.join(": …, "))
            }
        }
    }
}
