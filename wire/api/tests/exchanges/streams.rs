//! Streams of lines in and out, pages, and two calls with one key at once.

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::stream;
use serde_json::{Value, json};
use tidings_domain::change::{Change, FieldChange, UpsertCustomer};
use tidings_engine::idempotency::{self, Start, Work};

use crate::home::{Answer, Engine, TestApi};

async fn send_lines(api: &TestApi, path: &str, chunks: Vec<String>) -> Vec<Value> {
    let chunks = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "application/x-ndjson")
        .body(Body::from_stream(stream::iter(chunks)))
        .unwrap();
    let answer = api.send(request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    lines(&answer)
}

fn lines(answer: &Answer) -> Vec<Value> {
    let text = std::str::from_utf8(&answer.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn a_stream_is_answered_line_by_line_in_order(api: TestApi) {
    let mut text = String::new();
    for at in 0..1_200 {
        match at % 100 {
            7 => text.push_str("{\"email\": \n"),
            8 => text.push_str("{\"email\": 7}\n"),
            9 => text.push('\n'),
            _ => text.push_str(&format!("{{\"external_id\": \"{at}\"}}\n")),
        }
    }
    let chunks: Vec<String> =
        text.as_bytes().chunks(777).map(|c| String::from_utf8_lossy(c).into_owned()).collect();
    let results = send_lines(&api, "/v1/customers", chunks).await;
    assert_eq!(results.len(), 1_200 - 12);
    let mut results = results.iter();
    for at in (0..1_200).filter(|at| at % 100 != 9) {
        let result = results.next().unwrap();
        let expected = if matches!(at % 100, 7 | 8) { "refused" } else { "created" };
        assert_eq!(result["outcome"], expected, "line {at}: {result}");
    }
}

async fn the_whole_list_comes_as_lines_and_in_pages(api: TestApi) {
    let items: Vec<Value> = (0..1_234).map(|at| json!({"external_id": at.to_string()})).collect();
    let answer = api.call("POST", "/v1/customers", &json!(items).to_string()).await;
    assert_eq!(answer.json()["counts"]["created"], 1_234);
    let request = Request::get("/v1/customers")
        .header("authorization", format!("Bearer {}", api.token))
        .header("accept", "application/x-ndjson")
        .body(Body::empty())
        .unwrap();
    let mut all: Vec<String> = lines(&api.send(request).await)
        .iter()
        .map(|line| line["external_id"].as_str().unwrap().to_owned())
        .collect();
    let mut paged = Vec::new();
    let mut path = "/v1/customers?limit=500".to_owned();
    loop {
        let page = api.call("GET", &path, "").await.json();
        for item in page["items"].as_array().unwrap() {
            paged.push(item["external_id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/customers?limit=500&cursor={next}");
    }
    assert_eq!(all, paged);
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 1_234);
}

async fn a_search_gives_each_customer_once_over_all_pages(api: TestApi) {
    let mut items = Vec::new();
    for at in 0..40 {
        items.push(
            json!({"external_id": format!("x{at:02}"), "email": format!("X{at:02}@example.com")}),
        );
        items.push(json!({"external_id": format!("y{at:02}")}));
    }
    api.call("POST", "/v1/customers", &json!(items).to_string()).await;
    for limit in [1, 7, 39, 40, 100] {
        let mut found = Vec::new();
        let mut path = format!("/v1/customers?q=x&limit={limit}");
        loop {
            let page = api.call("GET", &path, "").await.json();
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|one| one["external_id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(items.len(), limit);
            path = format!("/v1/customers?q=x&limit={limit}&cursor={next}");
        }
        let expected: Vec<String> = (0..40).map(|at| format!("x{at:02}")).collect();
        assert_eq!(found, expected, "limit {limit}");
    }
}

async fn one_of_many_calls_with_one_key_does_the_work(api: TestApi) {
    api.call("POST", "/v1/attributes", r#"{"name":"score","kind":"integer"}"#).await;
    let body = r#"{"external_id":"1","attributes":{"score":{"$increment":1}}}"#;
    let build = || {
        Request::post("/v1/customers")
            .header("authorization", format!("Bearer {}", api.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "once")
            .body(Body::from(body))
            .unwrap()
    };
    let answers = futures::future::join_all((0..16).map(|_| api.send(build()))).await;
    let mut created = 0;
    for answer in &answers {
        match answer.status.as_u16() {
            201 => created += 1,
            409 => assert_eq!(answer.json()["code"], "conflict"),
            other => panic!("{other}: {:?}", answer.body),
        }
    }
    assert!(created >= 1);
    let replayed = api.send(build()).await;
    assert_eq!(replayed.headers["idempotency-replayed"], "true");
    let customer = api.call("GET", "/v1/customers/external_id:1", "").await.json();
    assert_eq!(customer["attributes"]["score"], 1);
}

/// What makes two calls the same, as the API says it.
async fn begin(api: &TestApi, key: &str, path: &str, body: &str) -> Start {
    let (caller, _) =
        tidings_engine::accounts::authenticate_token(&api.ctx.hub, &api.token).await.unwrap();
    let parts: [&[u8]; 3] = [b"POST", path.as_bytes(), body.as_bytes()];
    let work = Work::Transactions;
    idempotency::begin(&api.ctx, &caller.key(), key, &parts, work).await.unwrap()
}

async fn with_key(api: &TestApi, key: &str, path: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header("authorization", format!("Bearer {}", api.token))
        .header("content-type", "application/json")
        .header("idempotency-key", key)
        .body(Body::from(body.to_owned()))
        .unwrap();
    api.send(request).await
}

async fn a_call_whose_process_died_is_answered_and_not_done_again(api: TestApi) {
    api.call("POST", "/v1/attributes", r#"{"name":"score","kind":"integer"}"#).await;
    let item = |at: usize| json!({"external_id": at.to_string(), "attributes": {"score": {"$increment": 1}}});
    let change = |at: usize| {
        let score = ("score".to_owned(), FieldChange::Increment(json!(1)));
        Change::UpsertCustomer(UpsertCustomer {
            external_id: Some(at.to_string()),
            attributes: vec![score],
            ..Default::default()
        })
    };
    // The first process has applied 500 of 700 items, and answered nothing.
    let body = json!((0..700).map(item).collect::<Vec<_>>()).to_string();
    let Start::Go(key) = begin(&api, "many", "/v1/customers", &body).await else { panic!("go") };
    let changes = (0..500).map(change).collect();
    key.run(tidings_engine::changes::apply(&api.ctx, changes)).await.unwrap();
    let answer = with_key(&api, "many", "/v1/customers", &body).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["counts"]["created"], 700);
    assert!(!answer.headers.contains_key("idempotency-replayed"), "200 of them were done now");
    let again = with_key(&api, "many", "/v1/customers", &body).await;
    assert_eq!((again.status, &again.body), (answer.status, &answer.body));
    assert_eq!(again.headers["idempotency-replayed"], "true");

    // Another one has applied its only change.
    let body = item(700).to_string();
    let Start::Go(key) = begin(&api, "one", "/v1/customers", &body).await else { panic!("go") };
    key.run(tidings_engine::changes::apply(&api.ctx, vec![change(700)])).await.unwrap();
    let answer = with_key(&api, "one", "/v1/customers", &body).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["outcome"]), (201, &json!("created")));
    assert_eq!(answer.headers["idempotency-replayed"], "true");
    let other = with_key(&api, "one", "/v1/customers", &item(701).to_string()).await;
    assert_eq!(
        (other.status.as_u16(), &other.json()["code"]),
        (422, &json!("idempotency_mismatch"))
    );
    for at in [0, 499, 500, 699, 700] {
        let path = format!("/v1/customers/external_id:{at}");
        let customer = api.call("GET", &path, "").await.json();
        assert_eq!(customer["attributes"]["score"], 1, "customer {at}");
    }
}

async fn a_group_is_made_once_although_the_answer_went_lost(api: TestApi) {
    let body = r#"{"name":"staff"}"#;
    let Start::Go(key) = begin(&api, "g", "/v1/groups", body).await else { panic!("go") };
    let group = key.run(tidings_engine::groups::create(&api.ctx, "staff")).await.unwrap();
    let answer = with_key(&api, "g", "/v1/groups", body).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json()["id"], json!(group.id));
    assert_eq!(answer.headers["idempotency-replayed"], "true");
    // Without the key it is there already.
    assert_eq!(api.call("POST", "/v1/groups", body).await.status, 409);
}

async fn an_attribute_that_another_node_dropped_is_no_fault_of_ours(api: TestApi) {
    api.call("POST", "/v1/customers", r#"{"external_id":"1"}"#).await;
    let beside = api.beside().await;
    let filter =
        "/v1/customers?filter=%7B%22attribute%22%3A%22city%22%2C%22op%22%3A%22exists%22%7D";
    let calls = [
        ("POST", "/v1/customers", r#"{"external_id":"1","attributes":{"city":"Oslo"}}"#, 422),
        ("POST", "/v1/customers", r#"{"external_id":"2"}"#, 201),
        ("GET", "/v1/customers/external_id:1", "", 200),
        ("GET", "/v1/customers?q=1", "", 200),
        ("GET", "/v1/customers", "", 200),
        ("GET", filter, "", 422),
    ];
    for (method, path, body, expected) in calls {
        let made = api.call("POST", "/v1/attributes", r#"{"name":"city","kind":"text"}"#).await;
        assert_eq!(made.status, 201);
        beside.ctx.workspace.fresh_schema().await.unwrap();
        assert_eq!(api.call("DELETE", "/v1/attributes/city", "").await.status, 204);
        let mut answer = beside.call(method, path, body).await;
        if answer.status == 503 {
            assert!(answer.headers.contains_key("retry-after"));
            answer = beside.call(method, path, body).await;
        }
        assert_eq!(answer.status.as_u16(), expected, "{method} {path}: {:?}", answer.body);
    }
}

async fn a_key_is_free_again_after_a_day(api: TestApi) {
    let build = || {
        Request::post("/v1/groups")
            .header("authorization", format!("Bearer {}", api.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "day")
            .body(Body::from(r#"{"name":"staff"}"#))
            .unwrap()
    };
    assert_eq!(api.send(build()).await.status, 201);
    api.clock.advance_ms(24 * 3_600_000 - 1_000);
    assert_eq!(api.send(build()).await.status, 201);
    api.clock.advance_ms(2_000);
    let dropped = api.ctx.workspace.clean_idempotent(api.ctx.now().plus_secs(-24 * 3_600)).await;
    assert_eq!(dropped.unwrap(), 1);
    assert_eq!(api.send(build()).await.status, 409);
}

macro_rules! on_both {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::TestApi::on(super::Engine::Sqlite).await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(super::TestApi::on(super::Engine::Postgres).await).await;
            })*
        }
    };
}

on_both!(
    a_stream_is_answered_line_by_line_in_order,
    the_whole_list_comes_as_lines_and_in_pages,
    a_search_gives_each_customer_once_over_all_pages,
    one_of_many_calls_with_one_key_does_the_work,
    a_call_whose_process_died_is_answered_and_not_done_again,
    a_group_is_made_once_although_the_answer_went_lost,
    a_key_is_free_again_after_a_day,
    an_attribute_that_another_node_dropped_is_no_fault_of_ours,
);
