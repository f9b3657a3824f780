//! A hub of its own with a mail sink, on either engine.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidings_domain::campaign::{CampaignState, MessageClass};
use tidings_domain::change::{
    Change, CustomerRef, FieldChange, Identity, IdentityKind, UpsertCustomer,
};
use tidings_domain::consent::{Channel, ConsentState, Proof};
use tidings_domain::value::Kind;
use tidings_domain::{CampaignId, Clock, Timestamp};
use tidings_engine::campaigns::Progress;
use tidings_engine::{Ctx, Hub, Settings, campaigns, changes, segments, templates};
use tidings_store::campaigns::{CampaignDraft, Counts, Sender};
use tidings_store::templates::TemplateDraft;
use tidings_store::{Home, Store};
pub use tidings_testkit::hub::{Engine, home};
use tidings_testkit::mail_sink::{MailSink, Script};
use tokio::sync::watch;

/// A running hub, its mail sink and its clock.
pub struct Sending {
    pub ctx: Ctx,
    pub sink: MailSink,
    pub clock: Clock,
    pub home: Home,
    stop: watch::Sender<bool>,
    pub folder: tempfile::TempDir,
}

impl Sending {
    pub async fn on(engine: Engine, script: Script) -> Sending {
        Sending::with(engine, script, |_| {}).await
    }

    /// With settings that a test changes first.
    pub async fn with(
        engine: Engine,
        script: Script,
        change: impl FnOnce(&mut Settings),
    ) -> Sending {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = home(engine, folder.path()).await;
        let store = Arc::new(Store::open(&home).await.expect("open the store"));
        let workspace = store.create_workspace("Test", "UTC", false).await.expect("a workspace");
        let sink = MailSink::start(script).await;
        let clock = Clock::fixed(Timestamp::now());
        let mut settings = Settings {
            data_dir: folder.path().to_owned(),
            public_url: "http://127.0.0.1:9".to_owned(),
            smtp_url: Some(sink.url()),
            smtp_open_max: 8,
            master_key: [7; 32],
            demo: false,
        };
        change(&mut settings);
        let hub = Hub::new(store, settings, clock.clone());
        let ctx = hub.ctx(workspace.row.id).await.expect("a context");
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(tidings_engine::jobs::run(hub, stopped));
        ctx.workspace.add_attribute("name", Kind::Text, ctx.now()).await.expect("an attribute");
        Sending { ctx, sink, clock, home, stop, folder }
    }

    /// Customers `c0@mail.example`, `c1@…` with names.
    pub async fn customers(&self, count: usize) {
        let changes = (0..count)
            .map(|at| {
                Change::UpsertCustomer(UpsertCustomer {
                    external_id: Some(at.to_string()),
                    email: Some(format!("c{at}@mail.example")),
                    attributes: vec![(
                        "name".to_owned(),
                        FieldChange::SetJson(json!(format!("Name{at}"))),
                    )],
                    ..UpsertCustomer::default()
                })
            })
            .collect();
        changes::apply(&self.ctx, changes).await.expect("customers");
    }

    /// One customer with this address.
    pub async fn customer(&self, email: &str) {
        let customer =
            UpsertCustomer { email: Some(email.to_owned()), ..UpsertCustomer::default() };
        changes::apply(&self.ctx, vec![Change::UpsertCustomer(customer)]).await.expect("customer");
    }

    /// Takes a customer's row away, as somebody with an SQL tool may.
    pub async fn remove_customer(&self, email: &str) {
        let number = self.ctx.workspace.row.number;
        match &self.home {
            Home::Folder(_) => {
                let file = self.folder.path().join(format!("workspaces/w{number}.db"));
                let db = rusqlite::Connection::open(file).expect("open the workspace");
                let gone = db.execute("delete from customers where email = ?1", [email]);
                assert_eq!(gone.expect("delete"), 1);
            }
            Home::Server { url, .. } => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.expect("connect");
                tokio::spawn(connection);
                let text = format!("delete from tidings_w{number}.customers where email = $1");
                assert_eq!(client.execute(&text, &[&email]).await.expect("delete"), 1);
            }
        }
    }

    pub async fn consent(&self, who: Range<usize>, granted: bool) {
        let state = if granted { ConsentState::Granted } else { ConsentState::Withdrawn };
        let changes = who
            .map(|at| Change::ChangeConsent {
                customer: CustomerRef::Identity(Identity {
                    kind: IdentityKind::ExternalId,
                    value: at.to_string(),
                }),
                channel: Channel::Email,
                topic: String::new(),
                state,
                source: "test".to_owned(),
                proof: Proof::default(),
            })
            .collect();
        changes::apply(&self.ctx, changes).await.expect("consents");
    }

    /// A draft to a rule's customers, or to everyone.
    pub async fn campaign(
        &self,
        class: MessageClass,
        rule: Option<serde_json::Value>,
    ) -> CampaignId {
        let body = "Hi {{ customer.name }}, <a href=\"https://shop.example/?a=1&amp;b=2\">look</a> \
                    <a href=\"{{ unsubscribe_url }}\">stop</a>";
        self.campaign_saying(body, class, rule).await
    }

    /// A draft whose mail has this body.
    pub async fn campaign_saying(
        &self,
        body: &str,
        class: MessageClass,
        rule: Option<serde_json::Value>,
    ) -> CampaignId {
        let name = format!("n{}", uuid::Uuid::now_v7());
        let segment = match rule {
            Some(rule) => Some(segments::create(&self.ctx, &name, &rule).await.expect("a segment")),
            None => None,
        };
        let template = TemplateDraft {
            name: name.clone(),
            subject: "Hello {{ customer.name }}".to_owned(),
            html: format!("<body>{body}</body>"),
            text: String::new(),
            ..TemplateDraft::default()
        };
        let template = templates::create(&self.ctx, template).await.expect("a template");
        let draft = CampaignDraft {
            name,
            segment,
            template,
            sender: Sender {
                name: "Shop".to_owned(),
                address: "shop@shop.example".to_owned(),
                reply_to: None,
            },
            class,
            topic: None,
            scheduled_at: None,
            link_parameters: Vec::new(),
            plan: Default::default(),
        };
        campaigns::create(&self.ctx, draft).await.expect("a campaign")
    }

    /// Moves the clock on and makes a campaign's jobs due, which wait by the database's own clock.
    pub async fn later(&self, id: CampaignId, ms: i64) {
        self.clock.advance_ms(ms);
        let number = campaigns::get(&self.ctx, id).await.expect("the campaign").number;
        for shard in self.ctx.workspace.campaign_shards(number).await.expect("shards") {
            let subject = format!("{number}:{}", shard.shard);
            let due = Timestamp(0);
            self.ctx.workspace.add_job("send_campaign", &subject, due).await.expect("a job");
        }
        self.ctx.wake();
    }

    /// Waits until a campaign has a state, for as long as a test may take.
    pub async fn until(&self, id: CampaignId, state: CampaignState) -> Progress {
        self.wait(id, |progress| progress.campaign.state == state).await
    }

    pub async fn until_counts(&self, id: CampaignId, met: impl Fn(&Counts) -> bool) -> Progress {
        self.wait(id, |progress| met(&progress.counts)).await
    }

    async fn wait(&self, id: CampaignId, met: impl Fn(&Progress) -> bool) -> Progress {
        let mut last = None;
        for _ in 0..6_000 {
            let progress = campaigns::progress(&self.ctx, id).await.expect("progress");
            if met(&progress) {
                return progress;
            }
            last = Some((progress.campaign.state, progress.counts));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the campaign stays at {last:?}");
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}
