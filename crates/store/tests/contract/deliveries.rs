//! Deliveries: a sender's steps, tried again where nobody said whether they were kept.

use std::sync::Arc;

use tidings_domain::campaign::{MessageClass, Placing, Plan};
use tidings_domain::change::{Change, UpsertCustomer};
use tidings_domain::{CampaignId, DeliveryId, NodeId, Timestamp};
use tidings_store::Workspace;
use tidings_store::campaigns::{CampaignDraft, Sender, Shard};
use tidings_store::deliveries::{
    Attempt, Audience, DueDelivery, Finished, RESENT_AFTER_CRASH, Starting,
};
use tidings_store::jobs::Job;
use tidings_store::templates::TemplateDraft;

use crate::home::TestStore;
use crate::on_every_engine;

on_every_engine!(a_step_that_is_tried_again_is_done_once,);

const AT: Timestamp = Timestamp(1_700_000_000_000_000);

/// A transactional campaign to three customers, frozen: its job, its id and its shards.
async fn frozen(workspace: &Workspace) -> (Job, CampaignId, Vec<Shard>) {
    let customers = (0..3).map(|at| {
        Change::UpsertCustomer(UpsertCustomer {
            email: Some(format!("c{at}@mail.example")),
            ..UpsertCustomer::default()
        })
    });
    workspace.apply(customers.collect(), AT).await.unwrap();
    let text = || "text".to_owned();
    let template = TemplateDraft {
        name: text(),
        subject: text(),
        html: text(),
        text: String::new(),
        ..TemplateDraft::default()
    };
    let draft = CampaignDraft {
        name: text(),
        segment: None,
        template: workspace.add_template(template, AT).await.unwrap(),
        sender: Sender { name: text(), address: "a@shop.example".to_owned(), reply_to: None },
        class: MessageClass::Transactional,
        topic: None,
        scheduled_at: None,
        link_parameters: Vec::new(),
        plan: Plan::default(),
    };
    let id = workspace.add_campaign(draft, AT).await.unwrap();
    assert!(workspace.launch_campaign(id, AT).await.unwrap());
    let job = workspace.claim_job(NodeId::generate()).await.unwrap().expect("a job to send");
    workspace.begin_campaign(1, &job, AT).await.unwrap();
    let shards = workspace.campaign_shards(1).await.unwrap();
    for shard in &shards {
        let mut shard = *shard;
        while shard.next < shard.high {
            let moved = workspace.freeze_audience(&job, 1, shard, everyone(workspace, id), AT);
            shard = moved.await.unwrap();
        }
    }
    (job, id, shards)
}

fn everyone(workspace: &Workspace, id: CampaignId) -> Audience {
    let class = MessageClass::Transactional;
    let own = (workspace.row.id, "UTC");
    Audience {
        class,
        topic: None,
        condition: ("true".to_owned(), Vec::new()),
        zone_column: None,
        placing: Arc::new(Placing::new(Plan::default(), (id, class), own, None, AT)),
    }
}

async fn due(workspace: &Workspace, shards: &[Shard]) -> Vec<DueDelivery> {
    let start = (Timestamp(0), DeliveryId(uuid::Uuid::nil()));
    let mut all = Vec::new();
    for shard in shards {
        let later = AT.plus_secs(60);
        let due = workspace.due_deliveries(1, *shard, later, start, 100).await.unwrap();
        assert_eq!(due.gone, []);
        all.extend(due.deliveries);
    }
    all
}

async fn a_step_that_is_tried_again_is_done_once(test: TestStore) {
    let workspace = &test.workspace;
    let (job, id, shards) = frozen(workspace).await;
    let found = due(workspace, &shards).await;
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|one| one.repeats.is_none()));
    let starting: Vec<Starting> = found
        .iter()
        .map(|one| Starting {
            customer: one.customer.id,
            address: one.customer.email.clone().unwrap(),
            attempts: 1,
            variant: 0,
        })
        .collect();

    // The same step twice says the same; another one later may start nothing that is under way.
    for (at, expected) in [(AT, 3), (AT, 3), (AT.plus_ms(1), 0)] {
        let step = workspace.step_deliveries(&job, (1, id), vec![], starting.clone(), at);
        assert_eq!(step.await.unwrap().len(), expected);
    }

    let finished = vec![Finished {
        id: found[0].id,
        customer: found[0].customer.id,
        address: starting[0].address.clone(),
        attempt: Attempt::Sent { reply: "250 ok".to_owned() },
        repeats: None,
    }];
    for _ in 0..2 {
        let step = workspace.step_deliveries(&job, (1, id), finished.clone(), vec![], AT);
        step.await.unwrap();
    }
    let counts = workspace.campaign_counts(1).await.unwrap();
    assert_eq!((counts.sent, counts.in_flight), (1, 2));
    let customer = found[0].customer.id;
    let events = workspace.events(customer, None, None, 10).await.unwrap().items;
    assert_eq!(events.len(), 1, "a message that was sent is one event");

    // Whoever takes over sends the other two again, and they say so.
    for shard in &shards {
        let class = MessageClass::Transactional;
        workspace.recover_deliveries(&job, 1, class, *shard, AT).await.unwrap();
    }
    let again = due(workspace, &shards).await;
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|one| one.repeats.as_deref() == Some(RESENT_AFTER_CRASH)));
}
