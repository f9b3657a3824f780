//! What a plan says: made, changed, renamed by id, dropped; and an apply that does just that.

use serde_json::json;
use tidings_domain::value::Kind as ValueKind;
use tidings_engine::definitions::{self, Action, Agreed, Difference, Folder, Kind};
use tidings_engine::{Ctx, segments};
use tidings_testkit::hub::TestHub;
use tidings_testkit::on_both_engines;

/// A small world: two attributes, a table, a group and two segments.
pub async fn small(ctx: &Ctx) -> Folder {
    let workspace = &ctx.workspace;
    for (name, kind) in [("city", ValueKind::Text), ("points", ValueKind::Integer)] {
        workspace.add_attribute(name, kind, ctx.now()).await.expect("an attribute");
    }
    let fields = vec![
        ("status".to_owned(), ValueKind::Text),
        ("total".to_owned(), ValueKind::Decimal { scale: 2 }),
    ];
    let owner = tidings_domain::schema::Owner::Customer;
    workspace.add_table("orders", owner, fields, ctx.now()).await.expect("a table");
    tidings_engine::groups::create(ctx, "staff").await.expect("a group");
    let rule = json!({"attribute": "city", "op": "eq", "value": "Delft"});
    segments::create(ctx, "From Delft", &rule).await.expect("a segment");
    segments::create(ctx, "Not from Delft", &json!({"not": {"segment": "From Delft"}}))
        .await
        .expect("a segment");
    definitions::export(ctx).await.expect("export")
}

/// Puts one text in the place of another in a file, which must have it.
pub fn edit(files: &mut Folder, path: &str, old: &str, new: &str) {
    let bytes = files.get_mut(path).unwrap_or_else(|| panic!("no file {path}"));
    let text = String::from_utf8(bytes.clone()).expect("text");
    assert!(text.contains(old), "{path} has no {old}:\n{text}");
    *bytes = text.replacen(old, new, 1).into_bytes();
}

pub fn add(files: &mut Folder, path: &str, text: &str) {
    files.insert(path.to_owned(), text.as_bytes().to_vec());
}

/// The changes of a plan in short.
async fn planned(ctx: &Ctx, files: &Folder) -> Vec<(Action, Kind, String)> {
    let plan = definitions::plan(ctx, files).await.expect("a plan");
    assert_eq!(plan.problems, [], "{:?}", plan.problems);
    plan.changes.into_iter().map(|one| (one.action, one.kind, one.name)).collect()
}

async fn apply(ctx: &Ctx, files: &Folder) {
    let done = definitions::apply(ctx, files, &Agreed::default()).await;
    done.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(planned(ctx, files).await, [], "a second apply has nothing to do");
}

async fn another_name_with_the_same_id_is_a_rename(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    let before = segments::list(ctx).await.expect("segments");
    edit(&mut files, "segments/from-delft.toml", "From Delft", "Delft's own");
    edit(&mut files, "segments/not-from-delft.toml", "From Delft\" }", "Delft's own\" }");
    edit(&mut files, "attributes/city.toml", "\"city\"", "\"town\"");
    edit(&mut files, "segments/from-delft.toml", "\"city\"", "\"town\"");
    // The file may be called anything.
    let file = files.remove("attributes/city.toml").expect("the file");
    files.insert("attributes/where-they-live.toml".to_owned(), file);
    let expected = [
        (Action::Rename, Kind::Attribute, "town".to_owned()),
        (Action::Rename, Kind::Segment, "Delft's own".to_owned()),
        (Action::Change, Kind::Segment, "Not from Delft".to_owned()),
    ];
    assert_eq!(planned(ctx, &files).await, expected);
    apply(ctx, &files).await;
    let after = segments::list(ctx).await.expect("segments");
    assert_eq!(after[0].name, "Delft's own");
    let ids = |all: &[segments::Segment]| all.iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before));
    let attribute = ctx.workspace.fresh_schema().await.expect("the schema").attributes[0].clone();
    assert_eq!((attribute.name.as_str(), attribute.number), ("town", 1));
}

async fn two_may_swap_their_names(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    edit(&mut files, "attributes/city.toml", "\"city\"", "\"points\"");
    edit(&mut files, "attributes/points.toml", "\"points\"", "\"city\"");
    edit(&mut files, "segments/from-delft.toml", "\"city\"", "\"points\"");
    edit(&mut files, "tables/orders.toml", "\"status\"", "\"x\"");
    edit(&mut files, "tables/orders.toml", "\"total\"", "\"status\"");
    edit(&mut files, "tables/orders.toml", "\"x\"", "\"total\"");
    apply(ctx, &files).await;
    let schema = ctx.workspace.fresh_schema().await.expect("the schema");
    let names: Vec<&str> = schema.attributes.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["points", "city"]);
    let table = schema.table("orders").expect("the table");
    assert_eq!(table.field("total").expect("a field").kind, ValueKind::Text);
}

async fn new_things_need_no_id(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    add(&mut files, "attributes/nick.toml", "name = \"nick name\"\nkind = \"text\"\n");
    add(
        &mut files,
        "segments/nicked.toml",
        "name = \"Nicked\"\n[rule]\nattribute = \"nick name\"\nop = \"exists\"\n",
    );
    edit(
        &mut files,
        "tables/orders.toml",
        "[[fields]]",
        "[[fields]]\nname = \"note\"\nkind = \"text\"\n\n[[fields]]",
    );
    let expected = [
        (Action::Create, Kind::Attribute, "nick name".to_owned()),
        (Action::Change, Kind::Table, "orders".to_owned()),
        (Action::Create, Kind::Segment, "Nicked".to_owned()),
    ];
    assert_eq!(planned(ctx, &files).await, expected);
    apply(ctx, &files).await;
    // Written out they have their ids, and nothing is to do by either text.
    let written = definitions::export(ctx).await.expect("export");
    assert!(written.contains_key("attributes/nick-name.toml"), "{:?}", written.keys());
    assert_eq!(planned(ctx, &written).await, []);
    assert_eq!(planned(ctx, &files).await, []);
}

async fn what_is_left_out_is_dropped(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    files.remove("segments/not-from-delft.toml").expect("the file");
    files.remove("groups/staff.toml").expect("the file");
    let expected = [
        (Action::Drop, Kind::Group, "staff".to_owned()),
        (Action::Drop, Kind::Segment, "Not from Delft".to_owned()),
    ];
    assert_eq!(planned(ctx, &files).await, expected);
    apply(ctx, &files).await;
    assert_eq!(segments::list(ctx).await.expect("segments").len(), 1);
}

async fn a_change_shows_its_fields(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    edit(&mut files, "segments/from-delft.toml", "\"Delft\"", "\"Gouda\"");
    edit(&mut files, "tables/orders.toml", "scale = 2", "scale = 4");
    let plan = definitions::plan(ctx, &files).await.expect("a plan");
    let field = |path: &str, old: &str, new: &str| Difference::Field {
        path: path.to_owned(),
        old: Some(old.to_owned()),
        new: Some(new.to_owned()),
    };
    assert_eq!(plan.changes[0].differences, [field("fields[total].scale", "2", "4")]);
    assert_eq!(plan.changes[1].differences, [field("rule.value", "\"Delft\"", "\"Gouda\"")]);
    assert!(plan.losses().next().is_none(), "more digits lose nothing");
}

async fn one_customer(ctx: &Ctx) {
    use tidings_domain::change::{Change, FieldChange, UpsertCustomer};
    let customer = UpsertCustomer {
        external_id: Some("1".to_owned()),
        attributes: vec![("points".to_owned(), FieldChange::SetJson(json!(12)))],
        ..UpsertCustomer::default()
    };
    let done = tidings_engine::changes::apply(ctx, vec![Change::UpsertCustomer(customer)]).await;
    done.expect("a customer");
}

async fn a_wider_kind_keeps_its_values(test: TestHub) {
    use tidings_domain::change::{CustomerRef, Identity, IdentityKind};
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    one_customer(ctx).await;
    edit(
        &mut files,
        "attributes/points.toml",
        "kind = \"integer\"",
        "kind = \"decimal\"\nscale = 3",
    );
    apply(ctx, &files).await;
    let identity = Identity { kind: IdentityKind::ExternalId, value: "1".to_owned() };
    let found = ctx.workspace.customer(CustomerRef::Identity(identity)).await.expect("a look");
    let schema = ctx.workspace.fresh_schema().await.expect("the schema");
    let value = found.expect("the customer").attributes()["points"].clone();
    assert_eq!(value, json!("12.000"));
    assert_eq!(schema.attributes[1].kind, ValueKind::Decimal { scale: 3 });
}

async fn emptied_values_empty_their_segments(test: TestHub) {
    let ctx = &test.ctx;
    let mut files = small(ctx).await;
    segments::create(ctx, "Has points", &json!({"attribute": "points", "op": "exists"}))
        .await
        .expect("a segment");
    one_customer(ctx).await;
    test.run_due_jobs().await;
    let size = || async {
        let listed = segments::list(ctx).await.expect("segments");
        let number = listed.iter().find(|one| one.name == "Has points").expect("it").number;
        segments::sizes(ctx).await.expect("sizes").get(&number).copied().unwrap_or(0)
    };
    assert_eq!(size().await, 1);
    files.extend(definitions::export(ctx).await.expect("export"));
    edit(&mut files, "attributes/points.toml", "\"integer\"", "\"text\"");
    let told = Agreed { data_loss: true, ..Agreed::default() };
    definitions::apply(ctx, &files, &told).await.expect("apply");
    test.run_due_jobs().await;
    assert_eq!(size().await, 0);
}

async fn secrets_are_named_and_never_written(test: TestHub) {
    use tidings_engine::relays::{self, RelayInput};
    use tidings_engine::senders;
    let ctx = &test.ctx;
    let input = RelayInput {
        name: "Main".to_owned(),
        url: "smtp://mail.shop.example:587".to_owned(),
        username: Some("shop".to_owned()),
        password: Some("open sesame".to_owned()),
        per_second: None,
        open_max: 5,
        weight: 1,
        enabled: true,
    };
    relays::create(ctx, input).await.expect("a relay");
    let key = senders::KeyInput {
        algorithm: tidings_channels::email::dkim::Algorithm::Ed25519,
        selector: Some("s1".to_owned()),
        active: true,
    };
    senders::create_key(ctx, "shop.example", key).await.expect("a key");
    let mut files = definitions::export(ctx).await.expect("export");
    for (path, bytes) in &files {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains("sesame") && !text.contains("PRIVATE"), "{path}: {text}");
    }
    let plan = definitions::plan(ctx, &files).await.expect("a plan");
    assert_eq!((plan.changes.len(), plan.missing_secrets.len()), (0, 0));

    // A change leaves the password where it is; another workspace has none.
    edit(&mut files, "relays/main.toml", "open_max = 5", "open_max = 6");
    apply(ctx, &files).await;
    let kept = relays::list(ctx).await.expect("relays").remove(0);
    assert_eq!((kept.open_max, kept.has_password), (6, true));
    let made = test.hub.store.create_workspace("Other", "UTC", false).await.expect("a workspace");
    let other = test.hub.ctx(made.row.id).await.expect("a context");
    let missing = ["the password of the relay Main", "the DKIM key s1 of shop.example"];
    let plan = definitions::plan(&other, &files).await.expect("a plan");
    assert_eq!(plan.missing_secrets, missing);
    apply(&other, &files).await;
    let there = relays::list(&other).await.expect("relays").remove(0);
    assert!(!there.has_password);
    let state = there.state.expect("it is switched on");
    assert!(state.error.is_some(), "nothing is sent by it before its password is given");
    let plan = definitions::plan(&other, &files).await.expect("a plan");
    assert_eq!(plan.missing_secrets, missing);

    // What cannot be made again is not dropped for nothing.
    files.retain(|path, _| !path.starts_with("relays/") && !path.starts_with("senders/"));
    let refused = definitions::apply(ctx, &files, &Agreed::default()).await.expect_err("refused");
    let text = refused.to_string();
    assert!(text.contains("the password of Main") && text.contains("the DKIM keys of"), "{text}");
}

on_both_engines!(
    emptied_values_empty_their_segments,
    secrets_are_named_and_never_written,
    another_name_with_the_same_id_is_a_rename,
    two_may_swap_their_names,
    new_things_need_no_id,
    what_is_left_out_is_dropped,
    a_change_shows_its_fields,
    a_wider_kind_keeps_its_values,
);
