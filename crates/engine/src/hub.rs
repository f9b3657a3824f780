//! The hub at work: its store, settings and clock, and the context that every use case takes.

use futures::future::BoxFuture;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tidings_channels::email::{Limits, Pool, Relay};
use tidings_domain::{Clock, NodeId, Timestamp, WorkspaceId};
use tidings_store::{Store, Workspace};
use tokio::sync::Notify;

use crate::accounts::Accounts;
use crate::changes::Applier;
use crate::keys::{KeyRing, MasterKey};
use crate::links::LinkKeys;
use crate::mail::{Desk, Route};
use crate::overview::Kept;
use crate::secrets::Sealer;
use crate::{Error, Result};

/// What the hub is told at its start; one field a setting of the program.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where files are kept: uploads, and everything else that is no row.
    pub data_dir: PathBuf,
    /// How browsers and mail readers reach this hub, without a slash at the end.
    pub public_url: String,
    /// The relay for the mail of workspaces without one of their own, as a URL.
    pub smtp_url: Option<String>,
    /// How many messages may be on their way at once, and so how many may be uncertain after a
    /// crash.
    pub smtp_open_max: usize,
    /// The root, with which links are signed and the audit log is sealed.
    pub master_key: [u8; 32],
    /// Whether this is the demo, which shows its own mailbox.
    pub demo: bool,
}

pub struct Hub {
    pub store: Arc<Store>,
    pub settings: Settings,
    pub clock: Clock,
    pub node: NodeId,
    pub accounts: Accounts,
    /// When this process began.
    pub(crate) started_at: Timestamp,
    pub(crate) overviews: Mutex<HashMap<WorkspaceId, Arc<tokio::sync::Mutex<Option<Kept>>>>>,
    /// Workspaces whose kept answers have their job of dropping old ones.
    pub(crate) answers_cleaned: Mutex<HashSet<WorkspaceId>>,
    /// Rung when there may be work in a workspace.
    pub(crate) work: Notify,
    pub(crate) awake: Mutex<HashMap<WorkspaceId, Timestamp>>,
    appliers: Mutex<HashMap<WorkspaceId, Applier>>,
    link_keys: LinkKeys,
    pub(crate) sealer: Sealer,
    mail_pool: OnceLock<Pool>,
    /// Campaigns whose relay cannot be reached, and since when.
    pub(crate) held_up: Mutex<HashMap<(WorkspaceId, i32), Timestamp>>,
    /// How often forms were sent from where.
    pub(crate) form_limits: crate::forms::Limits,
    own_route: OnceLock<Arc<Route>>,
    /// How the mail of each workspace leaves.
    pub(crate) desks: Mutex<HashMap<WorkspaceId, Arc<Desk>>>,
}

impl Hub {
    /// A hub whose root seals its secrets too; for tests.
    pub fn new(store: Arc<Store>, settings: Settings, clock: Clock) -> Arc<Hub> {
        let ring = KeyRing::of(vec![MasterKey::new(settings.master_key)]);
        Hub::unlocked(store, settings, clock, Sealer::new(&ring))
    }

    /// A hub whose secrets are sealed with the keys of a ring.
    pub fn unlocked(
        store: Arc<Store>,
        settings: Settings,
        clock: Clock,
        sealer: Sealer,
    ) -> Arc<Hub> {
        Arc::new(Hub {
            store,
            link_keys: LinkKeys::new(&settings.master_key),
            sealer,
            mail_pool: OnceLock::new(),
            held_up: Mutex::new(HashMap::new()),
            form_limits: crate::forms::Limits::default(),
            own_route: OnceLock::new(),
            desks: Mutex::new(HashMap::new()),
            settings,
            started_at: clock.now(),
            clock,
            node: NodeId::generate(),
            accounts: Accounts::default(),
            overviews: Mutex::new(HashMap::new()),
            answers_cleaned: Mutex::new(HashSet::new()),
            work: Notify::new(),
            awake: Mutex::new(HashMap::new()),
            appliers: Mutex::new(HashMap::new()),
        })
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The id of the master key that secrets are sealed with now.
    pub fn key_id(&self) -> String {
        self.sealer.id().to_string()
    }

    /// The keys that links are signed with.
    pub fn link_keys(&self) -> LinkKeys {
        self.link_keys.clone()
    }

    /// The way to the hub's own relay, which mail takes that no relay of its workspace is for.
    pub(crate) fn own_route(&self) -> Result<Option<Arc<Route>>> {
        let Some(pool) = self.mail_pool()? else { return Ok(None) };
        let make = || Arc::new(Route::new(None, pool, 1, None));
        Ok(Some(self.own_route.get_or_init(make).clone()))
    }

    /// Connections to the hub's own relay; `None` where it has none.
    pub fn mail_pool(&self) -> Result<Option<Pool>> {
        let Some(url) = &self.settings.smtp_url else { return Ok(None) };
        if let Some(pool) = self.mail_pool.get() {
            return Ok(Some(pool.clone()));
        }
        let relay = Relay::parse(url, self.settings.smtp_open_max)
            .map_err(|error| Error::invalid("smtp_url", error.to_string()))?;
        let pool = Pool::new(relay, Limits::default())
            .map_err(|error| Error::invalid("smtp_url", error.to_string()))?;
        Ok(Some(self.mail_pool.get_or_init(|| pool).clone()))
    }

    /// The context of one workspace.
    pub fn ctx(self: &Arc<Self>, id: WorkspaceId) -> BoxFuture<'_, Result<Ctx>> {
        Box::pin(async move {
            let workspace = self.store.workspace(id).await?;
            Ok(Ctx { hub: self.clone(), workspace })
        })
    }

    /// The context of a workspace by its short name.
    pub async fn ctx_by_slug(self: &Arc<Self>, slug: &str) -> Result<Ctx> {
        let workspace = self.store.workspace_by_slug(slug).await?;
        Ok(Ctx { hub: self.clone(), workspace })
    }

    /// Says that a workspace has work due at a time, so that the jobs loop looks there.
    pub fn wake(&self, workspace: WorkspaceId, at: Timestamp) {
        let mut awake = self.awake.lock();
        let due = awake.entry(workspace).or_insert(at);
        *due = (*due).min(at);
        drop(awake);
        self.work.notify_one();
    }

    pub(crate) fn applier(&self, workspace: &Arc<Workspace>) -> Applier {
        let mut appliers = self.appliers.lock();
        appliers.retain(|_, applier| applier.is_open());
        appliers
            .entry(workspace.row.id)
            .or_insert_with(|| Applier::start(workspace.clone()))
            .clone()
    }
}

/// One workspace in the hub: the first argument of every use case.
#[derive(Clone)]
pub struct Ctx {
    pub hub: Arc<Hub>,
    pub workspace: Arc<Workspace>,
}

impl Ctx {
    pub fn now(&self) -> Timestamp {
        self.hub.now()
    }

    /// Says that there is work due here now.
    pub fn wake(&self) {
        self.hub.wake(self.workspace.row.id, self.now());
    }
}
