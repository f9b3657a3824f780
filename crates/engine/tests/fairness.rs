//! One workspace with too much to do beside a quiet one.

#[expect(dead_code, reason = "few of the helpers are needed")]
mod common;

use std::time::Duration;

use common::{Engine, Sending};
use serde_json::json;
use tidings_domain::campaign::MessageClass;
use tidings_engine::{campaigns, segments};
use tidings_testkit::mail_sink::{Action, At, Script};

/// More than there are places for jobs on a node.
const CAMPAIGNS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_whose_relay_hangs_keeps_no_other_waiting() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given campaigns that fill every place of the node and never get further …
        let script = Script::accept_all().always(Action::Hang(At::Banner));
        let flooded = Sending::on(engine, script).await;
        flooded.customers(1).await;
        flooded.consent(0..1, true).await;
        for _ in 0..CAMPAIGNS {
            let id = flooded.campaign(MessageClass::Marketing, None).await;
            campaigns::launch(&flooded.ctx, id, None).await.expect("launch");
        }
        // … when a quiet workspace has something to do …
        let hub = &flooded.ctx.hub;
        let row = hub.store.create_workspace("Quiet", "UTC", false).await.expect("a workspace");
        let quiet = hub.ctx(row.row.id).await.expect("a context");
        segments::create(&quiet, "vips", &json!({"tag": "vip"})).await.expect("a segment");
        quiet.wake();
        // … then it is done, while the others still wait.
        for _ in 0..6_000 {
            if quiet.workspace.next_due_job().await.expect("look").is_none() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(quiet.workspace.next_due_job().await.expect("look"), None, "{engine:?}");
        assert!(flooded.ctx.workspace.next_due_job().await.expect("look").is_some());
    }
}
