//! What an apply refuses, and that nothing has changed then.

use serde_json::json;
use tidings_domain::change::{Change, CustomerRef, Identity, IdentityKind, UpsertCustomer};
use tidings_engine::campaigns::{CampaignDraft, Sender};
use tidings_engine::definitions::{self, Agreed, Fingerprints, Folder};
use tidings_engine::templates::TemplateDraft;
use tidings_engine::{Ctx, Error, blocks, campaigns, changes, segments, templates};
use tidings_testkit::hub::{Engine, TestHub};
use tidings_testkit::on_both_engines;

use crate::plans::{add, edit, small};

/// What somebody does to the files of a folder.
type Edit<'a> = &'a dyn Fn(&mut Folder);

/// Applies and gives why it was refused; the workspace must be as it was.
async fn refused(ctx: &Ctx, files: &Folder, agreed: &Agreed) -> String {
    let before = definitions::export(ctx).await.expect("export");
    let error = definitions::apply(ctx, files, agreed).await.expect_err("it is refused");
    assert!(matches!(error, Error::Invalid(_) | Error::Conflict(_)), "{error:?}");
    assert_eq!(definitions::export(ctx).await.expect("export"), before, "nothing has changed");
    error.to_string()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in: {text}");
    }
}

async fn one_customer(ctx: &Ctx) {
    let customer =
        UpsertCustomer { external_id: Some("1".to_owned()), ..UpsertCustomer::default() };
    let who =
        CustomerRef::Identity(Identity { kind: IdentityKind::ExternalId, value: "1".to_owned() });
    let all = vec![
        Change::UpsertCustomer(customer),
        Change::PutGroupMember { customer: who, group: "staff".to_owned() },
    ];
    changes::apply(ctx, all).await.expect("a customer");
}

async fn data_is_not_lost_unless_told(test: TestHub) {
    let ctx = &test.ctx;
    let files = small(ctx).await;
    one_customer(ctx).await;
    let cases: [(&str, Edit<'_>, &str); 6] = [
        ("an attribute", &|f| drop(f.remove("attributes/points.toml")), "the values of points"),
        ("a table", &|f| drop(f.remove("tables/orders.toml")), "the records of orders"),
        (
            "a field",
            &|f| {
                let path = "tables/orders.toml";
                let text = String::from_utf8(f[path].clone()).expect("text");
                let cut = text.rfind("[[fields]]").expect("the last field");
                f.insert(path.to_owned(), text.as_bytes()[..cut].to_vec());
            },
            "the values of total",
        ),
        (
            "a kind",
            &|f| edit(f, "attributes/points.toml", "\"integer\"", "\"boolean\""),
            "integer does not always fit boolean",
        ),
        ("a group", &|f| drop(f.remove("groups/staff.toml")), "1 customers"),
        (
            "a period",
            &|f| drop(f.insert("retention.toml".to_owned(), b"events_days = 90\n".to_vec())),
            "events after 90 days",
        ),
    ];
    let told = Agreed { data_loss: true, ..Agreed::default() };
    for (what, change, why) in cases {
        let whole = files.clone();
        let mut files = files.clone();
        change(&mut files);
        says(&refused(ctx, &files, &Agreed::default()).await, &["data would be lost", why]);
        definitions::apply(ctx, &files, &told).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert!(definitions::plan(ctx, &files).await.expect("a plan").changes.is_empty(), "{what}");
        // What was dropped comes back empty, with the id and the number that it had.
        let back = definitions::apply(ctx, &whole, &told).await;
        back.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(definitions::export(ctx).await.expect("export"), whole, "{what}");
    }
}

async fn a_plan_holds_for_what_it_was_made_of(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    edit(&mut files, "segments/from-delft.toml", "\"Delft\"", "\"Gouda\"");
    let plan = definitions::plan(ctx, &files).await.expect("a plan");
    let of = |files: &str, workspace: &str| Agreed {
        plan: Some(Fingerprints { workspace: workspace.to_owned(), files: files.to_owned() }),
        ..Agreed::default()
    };
    let planned = of(&plan.files, &plan.fingerprint);
    // Somebody else's change of anything defined is noticed; what customers do is none.
    one_customer(ctx).await;
    let again = definitions::plan(ctx, &files).await.expect("a plan");
    assert_eq!(again.fingerprint, plan.fingerprint);
    segments::create(ctx, "New", &json!({"all": []})).await.expect("a segment");
    let why = refused(ctx, &files, &planned).await;
    says(&why, &["the workspace has changed since the plan"]);
    let plan = definitions::plan(ctx, &files).await.expect("a plan");
    let planned = of(&plan.files, &plan.fingerprint);
    let mut others = files.clone();
    edit(&mut others, "groups/staff.toml", "staff", "crew");
    says(&refused(ctx, &others, &planned).await, &["the files have changed since the plan"]);
    definitions::apply(ctx, &files, &planned).await.expect("as planned");
    // The plan is done, and doing it again changes nothing.
    let again = definitions::apply(ctx, &files, &planned).await.expect("nothing to do");
    assert!(again.plan.changes.is_empty());
}

async fn faults_have_files_and_lines(test: TestHub) {
    let ctx = &test.ctx;
    let files = small(ctx).await;
    let id = "id = \"0190a3c2-0000-7000-8000-000000000001\"\n";
    let cases: [(&str, Edit<'_>, &[&str]); 16] = [
        (
            "an unknown field",
            &|f| edit(f, "groups/staff.toml", "name", "colour = \"red\"\nname"),
            &["groups/staff.toml:3:", "unknown field `colour`"],
        ),
        (
            "an unknown field of a field",
            &|f| edit(f, "tables/orders.toml", "scale = 2", "scale = 2\nsize = 3"),
            &["tables/orders.toml:18: fields[1].size"],
        ),
        (
            "a rule that names nothing",
            &|f| edit(f, "segments/from-delft.toml", "\"city\"", "\"town\""),
            &["segments/from-delft.toml:6:", "town"],
        ),
        (
            "a rule that says nothing",
            &|f| edit(f, "segments/from-delft.toml", "\"eq\"", "\"near\""),
            &["segments/from-delft.toml:7:"],
        ),
        (
            "no TOML",
            &|f| edit(f, "segments/from-delft.toml", "[rule]", "[rule"),
            &["segments/from-delft.toml:5:"],
        ),
        (
            "no UTF-8",
            &|f| drop(f.insert("groups/staff.toml".to_owned(), b"\n\n\xff".to_vec())),
            &["groups/staff.toml:3: expected text in UTF-8"],
        ),
        (
            "one id twice",
            &|f| {
                add(f, "groups/a.toml", &format!("{id}name = \"a\"\n"));
                add(f, "groups/b.toml", &format!("{id}name = \"b\"\n"));
            },
            &["groups/b.toml:1: groups/a.toml has this id too"],
        ),
        (
            "one name twice",
            &|f| add(f, "groups/b.toml", &format!("{id}name = \"staff\"\n")),
            &["is named staff too"],
        ),
        (
            "an attribute in use",
            &|f| drop(f.remove("attributes/city.toml")),
            &["segments/from-delft.toml:6:", "city"],
        ),
        (
            "a segment in use",
            &|f| drop(f.remove("segments/from-delft.toml")),
            &["segments/not-from-delft.toml", "From Delft"],
        ),
        (
            "a circle",
            &|f| {
                let rule = "name = \"From Delft\"\n[rule]\nsegment = \"Not from Delft\"\n";
                add(f, "segments/from-delft.toml", rule);
            },
            &["in a circle"],
        ),
        ("no mark", &|f| drop(f.remove("tidings.toml")), &["tidings.toml:"]),
        (
            "another form",
            &|f| edit(f, "tidings.toml", "format = 1", "format = 2"),
            &["tidings.toml:1: expected format = 1"],
        ),
        (
            "a folder of no kind",
            &|f| add(f, "segment/a.toml", "name = \"a\"\n"),
            &["segment is no folder of definitions"],
        ),
        (
            "a template without a body",
            &|f| add(f, "templates/a/template.toml", "name = \"a\"\nsubject = \"b\"\n"),
            &["templates/a/template.toml: its body is missing"],
        ),
        (
            "a template with a fault",
            &|f| {
                add(f, "templates/a/template.toml", "name = \"a\"\nsubject = \"b\"\n");
                add(f, "templates/a/body.html", "one\n{% if %}\n");
            },
            &["templates/a/body.html:2:"],
        ),
    ];
    for (what, change, parts) in cases {
        let mut files = files.clone();
        change(&mut files);
        let told = Agreed { data_loss: true, ..Agreed::default() };
        let why = refused(ctx, &files, &told).await;
        for part in parts {
            assert!(why.contains(part), "{what}: expected {part:?} in: {why}");
        }
    }
}

fn letter(template: tidings_domain::TemplateId) -> CampaignDraft {
    CampaignDraft {
        name: "Letter".to_owned(),
        segment: None,
        template,
        sender: Sender {
            name: "Shop".to_owned(),
            address: "shop@shop.example".to_owned(),
            reply_to: None,
        },
        class: tidings_domain::campaign::MessageClass::Marketing,
        topic: None,
        scheduled_at: None,
        link_parameters: Vec::new(),
        plan: Default::default(),
    }
}

/// A template with a block, and a campaign of it.
async fn campaign(ctx: &Ctx) -> (tidings_domain::CampaignId, Folder) {
    blocks::create(ctx, "footer", "bye").await.expect("a block");
    let draft = TemplateDraft {
        name: "Letter".to_owned(),
        subject: "Hi".to_owned(),
        html: "<p>{% include 'footer' %}</p>".to_owned(),
        ..TemplateDraft::default()
    };
    let template = templates::create(ctx, draft).await.expect("a template");
    let id = campaigns::create(ctx, letter(template)).await.expect("a campaign");
    (id, definitions::export(ctx).await.expect("export"))
}

async fn sending(engine: Engine) -> TestHub {
    TestHub::with(engine, |settings| settings.smtp_url = Some("smtp://127.0.0.1:9".to_owned()))
        .await
}

async fn nothing_is_launched_unless_told(test: TestHub) {
    let engine = match test.ctx.workspace.is_embedded() {
        true => Engine::Sqlite,
        false => Engine::Postgres,
    };
    let test = sending(engine).await;
    let ctx = &test.ctx;
    let (id, mut files) = campaign(ctx).await;
    let path = "campaigns/letter.toml";
    let at = ctx.now().plus_secs(3_600);
    let asks = format!("class = \"marketing\"\nsend_at = \"{at}\"\nlaunch = true");
    edit(&mut files, path, "class = \"marketing\"", &asks);
    let state = || async { campaigns::get(ctx, id).await.expect("the campaign").state.name() };
    let applied = definitions::apply(ctx, &files, &Agreed::default()).await.expect("applied");
    assert_eq!((applied.launched.len(), applied.plan.launches.len()), (0, 1));
    assert_eq!(state().await, "draft");
    let told = Agreed { launch: true, ..Agreed::default() };
    let applied = definitions::apply(ctx, &files, &told).await.expect("launched");
    assert_eq!((applied.launched.len(), applied.plan.changes.len()), (1, 0));
    assert_eq!(state().await, "scheduled");
    let again = definitions::apply(ctx, &files, &told).await.expect("nothing to do");
    assert_eq!(again.launched, []);
    assert_eq!(definitions::export(ctx).await.expect("export"), files);

    // What is scheduled stays as it was reviewed.
    let mut other = files.clone();
    edit(&mut other, path, "\"Shop\"", "\"Store\"");
    says(&refused(ctx, &other, &told).await, &["campaigns/letter.toml", "it is scheduled"]);
    let mut other = files.clone();
    edit(&mut other, path, "launch = true\n", "");
    says(&refused(ctx, &other, &told).await, &["it is scheduled"]);
    let mut other = files.clone();
    other.remove(path).expect("the file");
    says(&refused(ctx, &other, &told).await, &["it is scheduled"]);
    // So does what it sends.
    let mut other = files.clone();
    other.retain(|path, _| !path.starts_with("blocks/"));
    edit(&mut other, "templates/letter/body.html", "{% include 'footer' %}", "");
    says(&refused(ctx, &other, &told).await, &["whose template Letter includes it"]);

    // What is over is history: its file may stand or go, and its template stays.
    campaigns::cancel(ctx, id).await.expect("cancel");
    let plan = definitions::plan(ctx, &files).await.expect("a plan");
    assert_eq!((plan.changes.len(), plan.problems.len(), plan.launches.len()), (0, 0, 0));
    let mut other = files.clone();
    edit(&mut other, path, "\"Shop\"", "\"Store\"");
    says(&refused(ctx, &other, &told).await, &["the campaign is cancelled"]);
    files.remove(path).expect("the file");
    assert!(definitions::plan(ctx, &files).await.expect("a plan").changes.is_empty());
    files.retain(|path, _| !path.starts_with("templates/"));
    says(&refused(ctx, &files, &told).await, &["the campaign Letter was sent with it"]);
}

async fn a_time_that_has_passed_launches_nothing(test: TestHub) {
    let ctx = &test.ctx;
    let (id, mut files) = campaign(ctx).await;
    let at = ctx.now().plus_secs(-1);
    let asks = format!("class = \"marketing\"\nsend_at = \"{at}\"\nlaunch = true");
    edit(&mut files, "campaigns/letter.toml", "class = \"marketing\"", &asks);
    let told = Agreed { launch: true, ..Agreed::default() };
    let applied = definitions::apply(ctx, &files, &told).await.expect("applied");
    assert_eq!(applied.launched, []);
    assert!(applied.plan.notes.iter().any(|note| note.message.contains("has passed")));
    assert_eq!(campaigns::get(ctx, id).await.expect("it").state.name(), "draft");
}

async fn things_that_never_change_stay(test: TestHub) {
    let ctx = &test.ctx;
    let dot: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff;";
    tidings_engine::images::create(ctx, "dot", dot.to_vec()).await.expect("a picture");
    let text = tidings_engine::topics::TopicText { title: "News".into(), text: "All of it".into() };
    let texts = [("en".to_owned(), text)].into();
    let channel = tidings_domain::consent::Channel::Email;
    tidings_engine::topics::create(ctx, channel, "news", "", &texts).await.expect("a topic");
    blocks::create(ctx, "footer", "bye").await.expect("a block");
    let files = small(ctx).await;
    let told = Agreed { data_loss: true, ..Agreed::default() };
    let cases: [(Edit<'_>, &str); 7] = [
        (&|f| edit(f, "blocks/footer.toml", "footer", "end"), "templates call it footer"),
        (&|f| edit(f, "topics/news.toml", "name = \"news\"", "name = \"all\""), "so they stay"),
        (&|f| edit(f, "topics/news.toml", "\"email\"", "\"sms\""), "so they stay"),
        (&|f| drop(f.remove("topics/news.toml")), "archived = true"),
        (&|f| edit(f, "tables/orders.toml", "\"customer\"", "\"none\""), "owner stays"),
        (&|f| f.get_mut("images/dot.gif").expect("it").push(0), "a picture never changes"),
        (&|f| edit(f, "images/dot.toml", "address = \"", "address = \"x"), "at its address"),
    ];
    for (change, why) in cases {
        let mut files = files.clone();
        change(&mut files);
        says(&refused(ctx, &files, &told).await, &[why]);
    }
}

async fn edits_for_another_state_are_refused_whole(test: TestHub) {
    use std::sync::Arc;
    use tidings_store::definitions::{Edit, Edits};
    let ctx = &test.ctx;
    small(ctx).await;
    let (planned_for, _) = ctx.workspace.definitions().await.expect("definitions");
    let id = uuid::Uuid::now_v7();
    let crew = Edit::Add { id, number: None, value: "crew".to_owned() };
    let edits = Arc::new(Edits { groups: vec![crew], ..Edits::default() });
    segments::create(ctx, "In between", &json!({"all": []})).await.expect("a segment");
    let before = definitions::export(ctx).await.expect("export");
    let stale = Arc::new(planned_for);
    let refused = ctx.workspace.edit_definitions(stale, edits.clone(), ctx.now()).await;
    assert!(matches!(refused, Err(tidings_store::Error::Conflict(_))), "{refused:?}");
    assert_eq!(definitions::export(ctx).await.expect("export"), before);
    let (now, _) = ctx.workspace.definitions().await.expect("definitions");
    ctx.workspace.edit_definitions(Arc::new(now), edits, ctx.now()).await.expect("as planned");
    assert_ne!(definitions::export(ctx).await.expect("export"), before);
}

on_both_engines!(
    edits_for_another_state_are_refused_whole,
    data_is_not_lost_unless_told,
    a_plan_holds_for_what_it_was_made_of,
    faults_have_files_and_lines,
    nothing_is_launched_unless_told,
    a_time_that_has_passed_launches_nothing,
    things_that_never_change_stay,
);
