use std::sync::Arc;

use super::*;
use crate::agent::outlook::Step;
use crate::agent::view::SecretView;

struct Asked {
    handler: Handler,
    view: watch::Sender<View>,
    calls: mpsc::Receiver<Call>,
}

fn api(view: View) -> Asked {
    let (view, shown) = watch::channel(view);
    let (sender, calls) = mpsc::channel(2);
    let handler = handler("here", Clock::resume(None), shown, sender);
    Asked { handler, view, calls }
}

fn published(generation: u64) -> View {
    let secret = SecretView {
        required: true,
        valid: true,
        version: Some("9f2c41d07a6be853".into()),
        username: Some("v-approle-x".to_owned()),
        ..SecretView::default()
    };
    View {
        generation: Generation(generation),
        started: true,
        secrets: [("db".into(), secret)].into(),
        targets: [("api".into(), true)].into(),
        ..View::default()
    }
}

impl Asked {
    async fn ask(&self, method: Method, path: &str) -> Page {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let caller = "uid 0".to_owned();
        (self.handler)(Question { method, path, query, caller }).await
    }

    async fn code(&self, method: Method, path: &str) -> u16 {
        self.ask(method, path).await.status.as_u16()
    }
}

#[tokio::test]
async fn each_path_has_its_methods() {
    let mut asked = api(published(3));
    for (method, path, status) in [
        (Method::POST, "/v1/status", 405),
        (Method::POST, "/v1/wait", 405),
        (Method::GET, "/v1/refresh", 405),
        (Method::GET, "/v1/refresh/db", 405),
        (Method::GET, "/v1/stop", 405),
        (Method::GET, "/v1/refresh/", 405),
        (Method::POST, "/v1/refresh/", 404),
        (Method::POST, "/v1/refresh/DB", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/v1/wait?generation=x", 400),
        (Method::GET, "/v1/wait?generation", 400),
        (Method::GET, "/v1/wait?timeout=-1", 400),
        (Method::GET, "/v1/wait?when=now", 400),
    ] {
        assert_eq!(asked.code(method, path).await, status, "{path}");
    }
    assert!(asked.calls.try_recv().is_err(), "the loop was asked for something");
    let page = asked.ask(Method::DELETE, "/v1/stop").await;
    assert_eq!((page.status.as_u16(), page.allow), (405, "POST"));
}

#[tokio::test]
async fn what_is_asked_for_reaches_the_loop() {
    let mut asked = api(published(3));
    let page = asked.ask(Method::POST, "/v1/refresh/db").await;
    assert_eq!((page.status.as_u16(), page.body.as_str()), (202, "{\"generation\":3}\n"));
    assert!(matches!(asked.calls.recv().await, Some(Call::Refresh(Some(name))) if &*name == "db"));
    assert_eq!(asked.code(Method::POST, "/v1/refresh").await, 202);
    assert_eq!(asked.code(Method::POST, "/v1/stop").await, 202);
    // Nobody takes them up.
    assert_eq!(asked.code(Method::POST, "/v1/stop").await, 503);
    assert!(matches!(asked.calls.recv().await, Some(Call::Refresh(None))));
    assert!(matches!(asked.calls.recv().await, Some(Call::Stop)));
    drop(asked.calls);
    assert_eq!((asked.handler)(question("/v1/status")).await.status.as_u16(), 503);
}

fn question(path: &str) -> Question {
    let (path, query) = (path.to_owned(), String::new());
    Question { method: Method::GET, path, query, caller: String::new() }
}

#[tokio::test]
async fn the_status_is_the_loops_own_account() {
    let mut asked = api(View::default());
    let answer = tokio::spawn((asked.handler)(question("/v1/status")));
    let Some(Call::Report(reply)) = asked.calls.recv().await else { panic!("no call") };
    let now = Clock::resume(None).now();
    let outlook = vec![Next { at: now, step: Step::Tell("api".into()) }];
    reply.send(Report { view: published(17), outlook, now }).unwrap();
    let page = answer.await.unwrap();
    assert_eq!((page.status.as_u16(), page.content_type), (200, "application/json"));
    let status: Status = serde_json::from_str(&page.body).unwrap();
    assert_eq!((status.instance.as_str(), status.generation, status.ready), ("here", 17, true));
    assert_eq!(status.secrets["db"].username.as_deref(), Some("v-approle-x"));
    assert!(status.targets["api"].pending);
    let next = &status.next[0];
    assert_eq!((next.what.as_str(), next.of.as_deref()), ("tell", Some("api")));
}

#[tokio::test]
async fn who_waits_is_answered_when_it_is_there() {
    let asked = Arc::new(api(View { generation: Generation(4), ..View::default() }));
    // Four is what an earlier process published; whether it is still there is not known yet.
    assert_eq!(asked.code(Method::GET, "/v1/wait?timeout=0").await, 503);
    let waiting = asked.clone();
    let waiting =
        tokio::spawn(async move { waiting.ask(Method::GET, "/v1/wait?generation=6").await });
    for generation in 4..=6 {
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "answered before generation {generation}");
        asked.view.send(published(generation)).unwrap();
    }
    assert_eq!(waiting.await.unwrap().body, "{\"generation\":6}\n");
    assert_eq!(asked.code(Method::GET, "/v1/wait?generation=6&timeout=1s").await, 200);
    assert_eq!(asked.code(Method::GET, "/v1/wait?generation=7&timeout=0").await, 503);
}

#[tokio::test]
async fn only_so_many_wait() {
    let asked = Arc::new(api(View::default()));
    let waiting: Vec<_> = (0..MOST_WAITERS)
        .map(|_| {
            let asked = asked.clone();
            tokio::spawn(async move { asked.code(Method::GET, "/v1/wait").await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(asked.code(Method::GET, "/v1/wait").await, 429);
    // One that goes leaves its place.
    waiting[0].abort();
    while !waiting[0].is_finished() {
        tokio::task::yield_now().await;
    }
    assert_eq!(asked.code(Method::GET, "/v1/wait?timeout=0").await, 503);
}
