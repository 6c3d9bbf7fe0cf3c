//! OpenBao as its administrator sees it.

use std::sync::OnceLock;

use reqwest::{Certificate, Client, Method};
use serde_json::{Value, json};

use super::from_servers;

/// The shared server, as root.
#[derive(Clone)]
pub struct Bao {
    pub address: String,
    /// The CA that its certificate is from, where it has one.
    pub ca: Option<String>,
    token: String,
    client: Client,
}

/// One HTTP client; the process-wide crypto provider is chosen before the first.
pub fn client() -> Client {
    trusting(None)
}

fn trusting(ca: Option<&str>) -> Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    let mut builder = Client::builder().no_proxy();
    if let Some(ca) = ca {
        let pem = std::fs::read(ca).unwrap();
        builder = builder.tls_certs_only([Certificate::from_pem(&pem).unwrap()]);
    }
    builder.build().unwrap()
}

impl Bao {
    pub fn shared() -> Self {
        Self {
            address: from_servers("VAULT_ADDR"),
            ca: None,
            token: from_servers("VAULT_TOKEN"),
            client: client(),
        }
    }

    /// A server of a test's own, as root.
    pub fn own(address: &str, token: &str) -> Self {
        Self { address: address.to_owned(), ca: None, token: token.to_owned(), client: client() }
    }

    /// The same with TLS, and a certificate of `ca`.
    pub fn trusted(address: &str, token: &str, ca: &str) -> Self {
        let client = trusting(Some(ca));
        Self { ca: Some(ca.to_owned()), client, ..Self::own(address, token) }
    }

    /// The same as the bearer of another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// What a configuration says of it.
    pub fn settings(&self) -> Value {
        match &self.ca {
            Some(ca) => json!({ "address": self.address, "ca_cert": ca }),
            None => json!({ "address": self.address }),
        }
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// One request; the status and the decoded body, null for an empty one.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self
            .client
            .request(method, format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", &self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// What a POST to `path` answers, in a wrapping token.
    pub async fn wrapped(&self, path: &str) -> String {
        let request = self
            .client
            .post(format!("{}/v1/{path}", self.address))
            .header("X-Vault-Token", &self.token)
            .header("X-Vault-Wrap-TTL", "5m");
        let text = request.body("{}").send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["wrap_info"]["token"].as_str().unwrap().to_owned()
    }

    /// One request to a server that may not run.
    pub async fn try_ask(&self, method: &str, path: &str) -> Option<(u16, Value)> {
        let url = format!("{}/v1/{path}", self.address);
        let request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        let answer = request.header("X-Vault-Token", &self.token).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// One request that must succeed.
    pub async fn must(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// Mounts an engine or auth method that other tests may have mounted already.
    pub async fn mount(&self, path: &str, kind: &str) {
        let (status, answer) = self.ask("POST", path, Some(json!({ "type": kind }))).await;
        let there = answer.to_string().contains("already in use");
        assert!(status < 300 || there, "{path}: {status} {answer}");
    }

    /// Ids of the leases below `prefix`.
    pub async fn leases(&self, prefix: &str) -> Vec<String> {
        let (status, answer) = self.ask("LIST", &format!("sys/leases/lookup/{prefix}"), None).await;
        if status == 404 {
            return Vec::new();
        }
        assert_eq!(status, 200, "{answer}");
        let keys = answer["data"]["keys"].as_array().unwrap();
        keys.iter().map(|key| format!("{prefix}/{}", key.as_str().unwrap())).collect()
    }

    /// Seconds left of a lease; `None` when it is gone.
    pub async fn lease_ttl(&self, lease: &str) -> Option<i64> {
        let body = json!({ "lease_id": lease });
        let (status, answer) = self.ask("PUT", "sys/leases/lookup", Some(body)).await;
        (status == 200).then(|| answer["data"]["ttl"].as_i64().unwrap())
    }

    /// Ends a lease behind everybody's back.
    pub async fn revoke_lease(&self, lease: &str) {
        let body = json!({ "lease_id": lease, "sync": true });
        self.must("PUT", "sys/leases/revoke", Some(body)).await;
    }

    /// Accessors of the tokens that a login with `policy` made.
    pub async fn sessions(&self, policy: &str) -> Vec<String> {
        self.accessors(policy, "auth/approle/login").await
    }

    /// Accessors of the tokens that a login at `mount` with `policy` made.
    pub async fn sessions_at(&self, mount: &str, policy: &str) -> Vec<String> {
        self.accessors(policy, &format!("auth/{mount}/login")).await
    }

    /// Accessors of the child tokens that carry `policy`.
    pub async fn children(&self, policy: &str) -> Vec<String> {
        self.accessors(policy, "auth/token/create").await
    }

    async fn accessors(&self, policy: &str, made_at: &str) -> Vec<String> {
        let listed = self.must("LIST", "auth/token/accessors", None).await;
        let mut found = Vec::new();
        for accessor in listed["data"]["keys"].as_array().unwrap() {
            let body = json!({ "accessor": accessor });
            let (status, token) = self.ask("POST", "auth/token/lookup-accessor", Some(body)).await;
            let policies = token["data"]["policies"].as_array();
            let ours = policies.is_some_and(|all| all.iter().any(|one| one == policy));
            if status == 200 && ours && token["data"]["path"] == made_at {
                found.push(accessor.as_str().unwrap().to_owned());
            }
        }
        found
    }

    /// Ends a token behind its owner's back.
    pub async fn revoke_token(&self, accessor: &str) {
        let body = json!({ "accessor": accessor });
        self.must("POST", "auth/token/revoke-accessor", Some(body)).await;
    }

    pub async fn put_kv(&self, path: &str, fields: Value) {
        self.must("POST", &format!("secret/data/{path}"), Some(json!({ "data": fields }))).await;
    }

    pub async fn delete_kv(&self, path: &str) {
        self.must("DELETE", &format!("secret/metadata/{path}"), None).await;
    }
}
