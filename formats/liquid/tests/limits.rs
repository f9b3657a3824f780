//! Hostile and careless templates end with an error that names a place, never with a hang, a
//! crash or a mountain of memory.

use std::cell::Cell;
use std::sync::Arc;

use proptest::prelude::*;
use tidings_liquid::{Context, Limits, RenderError, Rendered, Template, Value};

fn context() -> Context<'static> {
    Context::new("2024-07-01T14:30:15+00:00[UTC]".parse().expect("a fixed moment"))
}

fn error_of(source: &str, context: &Context<'_>) -> String {
    let template = Template::parse(source).expect("the template reads");
    match template.render(context) {
        Err(RenderError { message, line, column }) => format!("{line}:{column}: {message}"),
        Ok(other) => panic!("{source} rendered: {}", format!("{other:?}").len()),
    }
}

fn check(source: &str, wanted: &str) {
    let found = error_of(source, &context());
    assert!(found.contains(wanted), "{source}: wanted {wanted}, found {found}");
}

#[test]
fn endless_work_runs_out_of_steps() {
    let steps = "ran out of steps";
    check("{% for i in (1..9999999999) %}{% endfor %}", steps);
    check(
        "\n{% for i in (1..99999) %}{% for j in (1..99999) %}{% endfor %}{% endfor %}",
        "2:26: the template ran out of steps",
    );
    check("{{ (1..9999999999) | join }}", steps);
    check("{{ (1..9999999999) | reverse }}", steps);
    check("{{ (1..9999999999) | sum }}", steps);
    check("{% tablerow i in (1..9999999) %}{% assign x = 1 %}{% endtablerow %}", "1:1");
    let doubling = "{% assign a = '1,2' | split: ',' %}{% for i in (1..60) %}\
                    {% assign a = a | concat: a %}{% endfor %}";
    check(doubling, steps);
    let wide = "{% assign a = (1..2000) | map: 'x' %}";
    check(wide, "cannot read the property");
    check(
        "{% assign a = '' %}{% for i in (1..99) %}{% capture x %}\
           {{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% for j in (1..9999) %}x{% endfor %}\
           {% endcapture %}{% endfor %}",
        steps,
    );
}

#[test]
fn texts_stop_at_the_size_limit() {
    let limit = "size limit";
    check("{% for i in (1..90000) %}aaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}", limit);
    check(
        "{% assign s = 'ab' %}{% for i in (1..60) %}{% assign s = s | append: s %}{% endfor %}",
        limit,
    );
    let many =
        "{% assign s = 'a' %}{% for i in (1..16) %}{% assign s = s | append: s %}{% endfor %}";
    check(&format!("{many}{{{{ s | replace: 'a', s }}}}"), limit);
    check(&format!("{many}{{{{ s | split: '' | join: s }}}}"), limit);
    check(
        "{% capture x %}{% for i in (1..90000) %}aaaaaaaaaaaaaaaaaaaaaaaa{% endfor %}{% endcapture %}",
        limit,
    );
    let mut small = context();
    small.limits = Limits { output_bytes: 10, ..Limits::default() };
    assert_eq!(error_of("\nhello {{ 'hello' }}", &small), "2:7: the text grew past its size limit");
}

#[test]
fn time_is_checked_every_few_steps() {
    let looks = Cell::new(0);
    let expired = || {
        looks.set(looks.get() + 1);
        looks.get() > 3
    };
    let mut context = context();
    context.expired = Some(&expired);
    let found = error_of("{% for i in (1..100000) %}{% endfor %}", &context);
    assert_eq!(found, "1:1: the template ran out of time");
}

#[test]
fn depth_is_bounded_when_reading() {
    let nested = |open: &str, close: &str, count: usize| open.repeat(count) + &close.repeat(count);
    let cases = [
        nested("{% if true %}", "{% endif %}", 100_000),
        nested("{% for i in a %}", "{% endfor %}", 5_000),
        nested("{% capture x %}", "{% endcapture %}", 5_000),
        format!("{{{{ a{}0{} }}}}", "[a".repeat(50_000), "]".repeat(50_000)),
        format!("{{{{ {}1..2{} }}}}", "(".repeat(50_000), ")".repeat(50_000)),
        "{% liquid liquid ".to_owned() + &"liquid ".repeat(50_000) + "echo 1 %}",
        "{% comment %}".repeat(100_000),
        "{% connected_content ".repeat(10_000),
    ];
    for source in cases {
        let error = Template::parse(&source).expect_err("too deep").to_string();
        assert!(error.contains("deep") || error.contains("not closed"), "{error}");
    }
}

#[test]
fn the_deepest_allowed_template_renders_on_a_small_stack() {
    let depth = 98;
    let source = "{% for i in (1..1) %}".repeat(depth) + "x" + &"{% endfor %}".repeat(depth);
    let chain = format!("{{% if false{} %}}{{% else %}}y{{% endif %}}", " or false".repeat(20_000));
    let run = move || {
        let rendered = Template::parse(&(source + &chain)).expect("reads").render(&context());
        assert_eq!(rendered, Ok(Rendered::Complete("xy".into())));
    };
    let thread = std::thread::Builder::new().stack_size(1024 * 1024).spawn(run).expect("a thread");
    thread.join().expect("no overflow");
}

#[test]
fn templates_that_include_each_other_end() {
    let ping = Arc::new(Template::parse("{% include 'pong' %}").expect("reads"));
    let pong =
        Arc::new(Template::parse("{% if true %}{% include 'ping' %}{% endif %}").expect("reads"));
    let find = |name: &str| Some(if name == "ping" { ping.clone() } else { pong.clone() });
    let mut context = context();
    context.templates = Some(&find);
    let error = ping.render(&context).expect_err("endless");
    assert!(error.message.contains("more than 100 blocks deep"), "{error}");
}

/// Pieces of templates, so that random input gets past the first error now and then.
fn piece() -> impl Strategy<Value = String> {
    let fixed = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{{-",
        "-%}",
        " ",
        "\n",
        "if",
        "endif",
        "for",
        "endfor",
        "in",
        "a",
        "b.c",
        "[0]",
        "(1..5)",
        "(1..n)",
        "==",
        "contains",
        "'x'",
        "\"",
        "|",
        "upcase",
        "split:",
        "join: ','",
        "date: '%Y'",
        ",",
        ":",
        "1",
        "-2.5",
        "assign x =",
        "capture x",
        "endcapture",
        "case",
        "when",
        "else",
        "liquid",
        "comment",
        "endcomment",
        "raw",
        "endraw",
        "${",
        "}",
        "cycle 'a', 'b'",
        "tablerow i in a",
        "endtablerow",
        "render 'p'",
        "include 'p'",
        "echo",
        "abort_message('x')",
        "connected_content https://x :save y",
        "{% for i in a %}",
        "{% endfor %}",
        "{{ a | sort | first }}",
        "{{ i | times: 3 }}",
        "{% break %}",
        "é",
        "#",
    ];
    prop_oneof![
        8 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_templates_never_panic_and_stay_in_budget(
        pieces in prop::collection::vec(piece(), 0..40),
    ) {
        let source = pieces.concat();
        if let Ok(template) = Template::parse(&source) {
            let partial = Arc::new(Template::parse("[{{ p }}]").expect("reads"));
            let find = |_: &str| Some(partial.clone());
            let data: serde_json::Value = serde_json::json!({
                "a": [3, 1, 2, null], "b": {"c": "text"}, "n": 1_000_000_000,
            });
            let mut context = context();
            context.root = Value::from(data);
            context.templates = Some(&find);
            context.limits = Limits { output_bytes: 5_000, steps: 20_000, depth: 20 };
            if let Ok(Rendered::Complete(text)) = template.render(&context) {
                prop_assert!(text.len() <= 5_000);
            }
            template.variables();
        }
    }

    #[test]
    fn any_filter_takes_any_value_and_arguments(
        filter in prop::sample::select(tidings_liquid::filter_names().collect::<Vec<_>>()),
        input in 0_usize..14,
        first in 0_usize..14,
        second in 0_usize..14,
        arguments in 0_usize..3,
    ) {
        let literals = [
            "nil", "true", "0", "-1", "9223372036854775807", "1.5", "''", "'é x'", "'%-'", "(1..3)",
            "list", "object", "blank", "-9223372036854775808",
        ];
        let given = [literals[first], literals[second]][..arguments].join(", ");
        let source = format!("{{{{ {} | {filter}: {given} }}}}", literals[input]);
        let mut context = context();
        let data = serde_json::json!({"list": [1, "a", null, {"a": 1}], "object": {"a": 1}});
        context.root = Value::from(data);
        if let Ok(template) = Template::parse(&source) {
            // Either way is right; what is tested is that neither is a panic.
            let _ = template.render(&context);
        }
    }
}
