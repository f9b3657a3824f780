//! `/f/{workspace}/{form}`: sign-up forms, and `/t/s/{token}`: their confirmation.
//!
//! A form inside another page is fetched and sent by `/f/embed.js`; those answers are open to any
//! site, as they say nothing of anybody.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tidings_domain::FormId;
use tidings_engine::forms::{self, Confirmation, Faults, Filled, Shown, Submitted};
use tidings_engine::{Error, Hub, Result};

use crate::visitor::{From, pairs};
use crate::{failed, page, pages};

async fn found(hub: &Arc<Hub>, workspace: &str, form: &str) -> Result<Shown> {
    let id: FormId = form.parse().map_err(|_| Error::NotFound("this form".to_owned()))?;
    forms::shown(hub, workspace, id).await
}

/// Shows a form.
pub async fn show(
    State(hub): State<Arc<Hub>>,
    Path((workspace, form)): Path<(String, String)>,
) -> Response {
    match found(&hub, &workspace, &form).await {
        Ok(shown) => open(again(&hub, &shown, &Filled::default(), None)),
        Err(error) => failed(&error),
    }
}

fn again(hub: &Hub, shown: &Shown, filled: &Filled, faults: Option<&Faults>) -> Response {
    let stamp = forms::stamp(hub, shown.form.stored.id);
    page(StatusCode::OK, pages::form(shown, filled, faults, &stamp))
}

/// Takes a form that was filled in.
pub async fn submit(
    State(hub): State<Arc<Hub>>,
    Path((workspace, form)): Path<(String, String)>,
    From(visitor): From,
    body: String,
) -> Response {
    let shown = match found(&hub, &workspace, &form).await {
        Ok(shown) => shown,
        Err(error) => return failed(&error),
    };
    let filled = read(pairs(&body));
    let words = &shown.words;
    open(match forms::submit(&shown, &filled, &visitor).await {
        Ok(Submitted::Thanks) => page(StatusCode::OK, pages::thanks(words)),
        Ok(Submitted::Again(faults)) => again(&hub, &shown, &filled, Some(&faults)),
        Ok(Submitted::TooMany) => page(StatusCode::TOO_MANY_REQUESTS, pages::busy(words)),
        Err(error) => failed(&error),
    })
}

fn read(pairs: Vec<(String, String)>) -> Filled {
    let mut filled = Filled::default();
    for (name, value) in pairs {
        match name.as_str() {
            "email" => filled.email = value,
            "topic" => filled.topics.push(value),
            "website" => filled.trap = value,
            "stamp" => filled.stamp = value,
            name => {
                if let Some(to) = name.strip_prefix("f.") {
                    filled.values.insert(to.to_owned(), value);
                }
            }
        }
    }
    filled
}

/// Lets the pages of other sites read an answer.
fn open(mut response: Response) -> Response {
    let any = HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    response
}

/// Asks before it confirms, because scanners follow every link of a mail.
pub async fn ask(State(hub): State<Arc<Hub>>, Path(token): Path<String>) -> Response {
    answer(forms::confirmation(&hub, &token).await, false)
}

/// Confirms a sign-up.
pub async fn confirm(State(hub): State<Arc<Hub>>, Path(token): Path<String>) -> Response {
    answer(forms::confirm(&hub, &token).await, true)
}

fn answer(result: Result<Confirmation>, goes_on: bool) -> Response {
    match result {
        Ok(Confirmation::Open(words, topics)) => {
            page(StatusCode::OK, pages::confirm(&words, &topics))
        }
        Ok(Confirmation::Expired(words)) => page(StatusCode::GONE, pages::expired(&words)),
        Ok(Confirmation::Done(words, next)) => {
            let next = next.as_deref().filter(|_| goes_on);
            page(StatusCode::OK, pages::confirmed(&words, next))
        }
        Err(error) => failed(&error),
    }
}

/// What puts a form into another page.
pub async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "public, max-age=3600"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, include_str!("embed.js")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_carry_their_target() {
        let filled =
            read(pairs("email=ann%40example.com&topic=a&topic=b&f.city=K%C3%B6ln&website=&f.=x"));
        assert_eq!(filled.email, "ann@example.com");
        assert_eq!(filled.topics, ["a", "b"]);
        assert_eq!(filled.values.get("city").map(String::as_str), Some("Köln"));
        assert!(filled.trap.is_empty() && filled.stamp.is_empty());
    }
}
