//! The crate as a caller uses it: data without a JSON map, what a template reads, fetches.

use std::sync::Arc;

use tidings_liquid::{Context, FetchRequest, Fetched, FetchedBody, Rendered, Template, Value};

fn context() -> Context<'static> {
    Context::new("2024-07-01T14:30:15+02:00[Europe/Amsterdam]".parse().expect("a fixed moment"))
}

fn template(source: &str) -> Template {
    Template::parse(source).expect("the template reads")
}

#[test]
fn templates_are_shared_between_threads() {
    fn assert_shared<T: Send + Sync>(_: &T) {}
    assert_shared(&template("{{ x }}"));
}

#[test]
fn variables_come_before_the_root_object() {
    let variables = [("name", Value::from("slice"))];
    let mut context = context();
    context.variables = &variables;
    context.root = Value::object([("name", Value::from("root")), ("other", Value::from(1))]);
    let rendered = template("{{ name }} {{ other }}").render(&context);
    assert_eq!(rendered, Ok(Rendered::Complete("slice 1".into())));
}

#[test]
fn dates_use_the_clock_and_zone_of_the_context() {
    let rendered = template("{{ 'now' | date: '%H:%M %z %Z' }}").render(&context());
    assert_eq!(rendered, Ok(Rendered::Complete("14:30 +0200 CEST".into())));
}

#[test]
fn a_template_tells_what_it_reads_and_uses() {
    let source = "{% assign own = product.name | upcase %}{{ own }}{{ ${first_name} }}\
        {% for item in cart.items limit: max %}{{ item.price | times: rate['eur'] }}{% endfor %}\
        {% if custom_attribute.${fav color} == x[key].y %}{{ product.name }}{% endif %}\
        {% render 'footer', year: this.year %}";
    let template = template(source);
    let found: Vec<String> = template.variables().iter().map(|path| path.join(".")).collect();
    let wanted = [
        "product.name",
        "${first_name}",
        "cart.items",
        "max",
        "rate.eur",
        "custom_attribute.${fav color}",
        "key",
        "x",
        "this.year",
    ];
    assert_eq!(found, wanted);
    assert_eq!(template.tags().collect::<Vec<_>>(), ["assign", "for", "if", "render"]);
    assert_eq!(template.filters().collect::<Vec<_>>(), ["upcase", "times"]);
}

const FETCHING: &str = "{% connected_content https://api.test/{{ id }}\n :method post\n \
    :headers {\"X-Key\": \"{{ key }}\", \"N\": 1}\n :body a={{ id }}&b=2\n \
    :content_type application/json :basic_auth shop :retry :cache_max_age 300 :save answer %}\
    {{ answer.points }}/{{ answer.__http_status_code__ }}\
    {% connected_content https://api.test/{{ answer.next }} %}";

#[test]
fn a_missing_answer_suspends_the_render_with_the_whole_request() {
    let variables = [("id", Value::from(7)), ("key", Value::from("k"))];
    let mut context = context();
    context.variables = &variables;
    let Ok(Rendered::Pending(requests)) = template(FETCHING).render(&context) else {
        panic!("the render did not wait");
    };
    let wanted = FetchRequest {
        url: "https://api.test/7".into(),
        method: "POST".into(),
        headers: vec![("N".into(), "1".into()), ("X-Key".into(), "k".into())],
        body: Some("a=7&b=2".into()),
        content_type: Some("application/json".into()),
        basic_auth: Some("shop".into()),
        retry: true,
        no_cache: false,
        cache_max_age_seconds: Some(300),
        place: (1, 1, 0),
    };
    assert_eq!(requests, [wanted]);
}

#[test]
fn a_render_with_answers_goes_on_to_the_next_fetch_and_then_completes() {
    let json = Value::object([("points", Value::from(12)), ("next", Value::from("b"))]);
    let first_only = |request: &FetchRequest| {
        let body = FetchedBody::Json(json.clone());
        (request.url == "https://api.test/7").then_some(Fetched { status: 200, body })
    };
    let all = |request: &FetchRequest| {
        let text = Fetched { status: 200, body: FetchedBody::Text("<i>plain</i>".into()) };
        first_only(request).or(Some(text))
    };
    let variables = [("id", Value::from(7)), ("key", Value::from("k"))];
    let mut context = context();
    context.variables = &variables;
    context.answers = Some(&first_only);
    let Ok(Rendered::Pending(requests)) = template(FETCHING).render(&context) else {
        panic!("the second fetch was not asked for");
    };
    assert_eq!(requests[0].url, "https://api.test/b");
    assert_eq!(requests[0].method, "GET");
    context.answers = Some(&all);
    let rendered = template(FETCHING).render(&context);
    assert_eq!(rendered, Ok(Rendered::Complete("12/200<i>plain</i>".into())));
}

#[test]
fn rounds_of_one_fetch_tag_are_told_apart() {
    let looped =
        template("{% for i in (1..2) %}{% connected_content https://x.test :save r %}{% endfor %}");
    let places = std::cell::RefCell::new(Vec::new());
    let answer = |request: &FetchRequest| {
        places.borrow_mut().push(request.place);
        Some(Fetched { status: 204, body: FetchedBody::Text(String::new()) })
    };
    let mut context = context();
    context.answers = Some(&answer);
    assert_eq!(looped.render(&context), Ok(Rendered::Complete(String::new())));
    assert_eq!(*places.borrow(), [(1, 22, 0), (1, 22, 1)]);
}

#[test]
fn unreadable_headers_are_an_error_with_a_place() {
    let error = template("x\n {% connected_content https://x.test :headers {a:1} %}")
        .render(&context())
        .expect_err("headers are no JSON");
    assert!(error.to_string().starts_with("2:2: read :headers:"), "{error}");
}

#[test]
fn rendering_twice_gives_the_same_text() {
    let shared =
        Arc::new(template("{% cycle 'a', 'b' %}{% increment c %}{{ 'now' | date: '%s' }}"));
    let context = context();
    assert_eq!(shared.render(&context), shared.render(&context));
}
