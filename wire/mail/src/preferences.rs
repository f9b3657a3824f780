//! `/t/p/{token}`: what someone gets, and their choice.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tidings_domain::consent::Via;
use tidings_engine::preferences::{self, Answer};
use tidings_engine::{Hub, tracking};

use crate::visitor::{From, language, pairs};
use crate::{failed, is_one_click, page, pages};

/// Shows what can be chosen.
pub async fn show(
    State(hub): State<Arc<Hub>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&hub, &token, language(&headers), false).await
}

async fn answer(hub: &Arc<Hub>, token: &str, accept: Option<&str>, is_saved: bool) -> Response {
    match preferences::page(hub, token, accept).await {
        Ok(shown) => {
            let html = pages::preferences(&shown.words, &shown.choices, is_saved);
            page(StatusCode::OK, html)
        }
        Err(error) => failed(&error),
    }
}

/// Takes a choice; *unsubscribe from all* and a mail reader's one click beat every tick.
pub async fn save(
    State(hub): State<Arc<Hub>>,
    Path(token): Path<String>,
    From(visitor): From,
    headers: HeaderMap,
    body: String,
) -> Response {
    let pairs = pairs(&body);
    let one_click = is_one_click(&body);
    let done = if one_click || pairs.iter().any(|(name, _)| name == "all") {
        let source = if one_click { "one-click" } else { "preference page" };
        let proof = visitor.proof(Via::PreferencePage);
        tracking::unsubscribe(&hub, &token, source, proof).await
    } else {
        preferences::save(&hub, &token, read(pairs), &visitor).await
    };
    match done {
        Ok(()) => answer(&hub, &token, language(&headers), true).await,
        Err(error) => failed(&error),
    }
}

fn read(pairs: Vec<(String, String)>) -> Answer {
    let mut answer = Answer::default();
    for (name, value) in pairs {
        match name.as_str() {
            "topic" => answer.chosen.push(value),
            "shown" => {
                let (version, topic) = value.split_once(':').unwrap_or(("", &value));
                let version = version.parse().ok().filter(|version| *version > 0);
                answer.shown.push((topic.to_owned(), version));
            }
            _ => {}
        }
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_and_what_was_ticked() {
        let answer = read(pairs("shown=2%3Aoffers&topic=offers&shown=1%3Aa%3Ab&shown=0%3A&x=y"));
        assert_eq!(answer.chosen, ["offers"]);
        let shown = [("offers", Some(2)), ("a:b", Some(1)), ("", None)];
        assert_eq!(answer.shown, shown.map(|(name, version)| (name.to_owned(), version)));
    }
}
