//! The part of a Kubernetes cluster that a Vault asks whose a token is.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::signer::Signer;

/// The namespace and the name of the service account whose tokens it gives.
const NAMESPACE: &str = "novacore";
const ACCOUNT: &str = "intelligence-service";

/// An API server that answers token reviews and nothing else.
#[derive(Clone)]
pub struct Cluster {
    pub address: String,
    signer: Arc<Signer>,
    reviewer: String,
    /// The only token that it takes.
    taken: Arc<Mutex<Option<String>>>,
}

impl Cluster {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let signer = Arc::new(Signer::new());
        let cluster = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            reviewer: signer.sign(json!({ "sub": "system:serviceaccount:vault:vault" }), 3600),
            signer,
            taken: Arc::default(),
        };
        let shared = cluster.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let shared = shared.clone();
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                    TokioIo::new(stream),
                    service_fn(move |request| {
                        let shared = shared.clone();
                        async move { Ok::<_, Infallible>(shared.answer(request).await) }
                    }),
                ));
            }
        });
        cluster
    }

    /// What an administrator writes to `auth/MOUNT/config`; `ca` is not used over HTTP and wanted
    /// all the same.
    pub fn config(&self, ca: &str) -> Value {
        json!({
            "kubernetes_host": self.address,
            "kubernetes_ca_cert": ca,
            "disable_local_ca_jwt": true,
            "token_reviewer_jwt": self.reviewer,
        })
    }

    /// What an administrator writes to `auth/MOUNT/role/NAME`.
    pub fn role(&self, policy: &str) -> Value {
        json!({
            "bound_service_account_names": [ACCOUNT],
            "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault",
            "token_policies": [policy],
        })
    }

    /// A projected token of the service account that is good for `seconds`.
    pub fn token(&self, seconds: i64) -> String {
        let claims = json!({
            "iss": "https://kubernetes.default.svc",
            "aud": ["vault"],
            "sub": format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
            "kubernetes.io": {
                "namespace": NAMESPACE,
                "serviceaccount": { "name": ACCOUNT, "uid": "a-uid" },
            },
        });
        self.signer.sign(claims, seconds)
    }

    /// From here on it takes this token and no other.
    pub fn takes(&self, token: &str) {
        *self.taken.lock().unwrap() = Some(token.to_owned());
    }

    /// From here on it takes none.
    pub fn takes_none(&self) {
        *self.taken.lock().unwrap() = None;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let asked_by = head.headers.get("authorization").and_then(|value| value.to_str().ok());
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let known = asked_by == Some(&format!("Bearer {}", self.reviewer));
        if head.uri.path() != path || !known {
            return said(StatusCode::UNAUTHORIZED, &json!({ "kind": "Status", "code": 401 }));
        }
        let body = body.collect().await.unwrap().to_bytes();
        let review: Value = serde_json::from_slice(&body).unwrap();
        let taken = self.taken.lock().unwrap().clone();
        let good = review["spec"]["token"].as_str() == taken.as_deref();
        let status = match good {
            true => json!({
                "authenticated": true,
                "audiences": ["vault"],
                "user": {
                    "username": format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}"),
                    "uid": "a-uid",
                    "groups": ["system:serviceaccounts", "system:authenticated"],
                },
            }),
            false => json!({ "authenticated": false, "error": "unknown token" }),
        };
        let answer = json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "status": status,
        });
        said(StatusCode::CREATED, &answer)
    }
}

fn said(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
