//! People, their second factor, and the log of what they do: on both engines.

#[expect(dead_code, reason = "nothing is sent here")]
mod common;

use std::sync::Arc;

use common::{Engine, home};
use tidings_domain::{Clock, Timestamp};
use tidings_engine::accounts::{self, Caller, Scope, totp};
use tidings_engine::audit::{self, Wanted};
use tidings_engine::{Ctx, Error, Hub, Settings, groups};
use tidings_store::{Home, Store};

/// A hub with one workspace, and the way to its database beside it.
struct Office {
    hub: Arc<Hub>,
    ctx: Ctx,
    clock: Clock,
    home: Home,
    folder: tempfile::TempDir,
}

const NOW: Timestamp = Timestamp(1_768_471_200_000_000);

fn hub(store: Store, folder: &tempfile::TempDir, master_key: [u8; 32], clock: &Clock) -> Arc<Hub> {
    let settings = Settings {
        data_dir: folder.path().to_owned(),
        public_url: "http://127.0.0.1:9".to_owned(),
        smtp_url: None,
        smtp_open_max: 1,
        master_key,
        demo: false,
    };
    Hub::new(Arc::new(store), settings, clock.clone())
}

impl Office {
    async fn on(engine: Engine) -> Office {
        let folder = tempfile::tempdir().unwrap();
        let home = home(engine, folder.path()).await;
        let store = Store::open(&home).await.unwrap();
        store.create_workspace("Test", "UTC", false).await.unwrap();
        let clock = Clock::fixed(NOW);
        let hub = hub(store, &folder, [7; 32], &clock);
        let ctx = hub.ctx_by_slug("test").await.unwrap();
        Office { hub, ctx, clock, home, folder }
    }

    /// What somebody with an SQL tool does to the workspace.
    async fn sql(&self, text: &str) {
        let number = self.ctx.workspace.row.number;
        match &self.home {
            Home::Folder(folder) => {
                let db =
                    rusqlite::Connection::open(folder.join(format!("workspaces/w{number}.db")));
                db.unwrap().execute_batch(text).unwrap();
            }
            Home::Server { url, .. } => {
                let (client, connection) =
                    tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let text = format!("set search_path to tidings_w{number}; {text}");
                client.batch_execute(&text).await.unwrap();
            }
        }
    }

    async fn caller(&self) -> Caller {
        let scopes = [Scope::Admin.name().to_owned()];
        let made = accounts::create_token(&self.ctx, "shop", &scopes).await.unwrap();
        accounts::authenticate_token(&self.hub, &made.secret).await.unwrap().0
    }

    /// Makes a group as a caller does by the API.
    async fn group(&self, caller: &Caller, name: &str) -> Result<groups::Group, Error> {
        let act = audit::act(&self.ctx, caller, "groups.create", "");
        act.run(groups::create(&self.ctx, name)).await
    }

    async fn entries(&self) -> Vec<audit::Entry> {
        let page = audit::page(&self.ctx, Wanted::default(), None, 100).await.unwrap();
        page.items.into_iter().rev().collect()
    }
}

const BOTH: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_its_entry_are_one() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        let caller = office.caller().await;
        let group = office.group(&caller, "staff").await.unwrap();
        // What is refused leaves no entry, because its transaction was rolled back.
        assert!(matches!(office.group(&caller, "staff").await, Err(Error::Conflict(_))));
        groups::create(&office.ctx, "by nobody").await.unwrap();
        let found = office.entries().await;
        let said: Vec<(i64, &str, String)> = found
            .iter()
            .map(|one| (one.number, one.entry.action.as_str(), one.entry.thing.clone()))
            .collect();
        let Caller::Token { id, .. } = caller else { panic!("it is a token") };
        assert_eq!(
            said,
            [(1, "tokens.create", id.to_string()), (2, "groups.create", group.id.to_string())]
        );
        assert_eq!(found[1].entry.actor.id, Some(id.0));
        assert_eq!(found[0].entry.detail, "admin");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_who_what_and_when() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        let caller = office.caller().await;
        let group = office.group(&caller, "a").await.unwrap();
        office.clock.advance_ms(60_000);
        office.group(&caller, "b").await.unwrap();
        let Caller::Token { id, .. } = caller else { panic!("it is a token") };
        for (wanted, expected) in [
            (Wanted::default(), vec![3, 2, 1]),
            (Wanted { actor: Some(id.0), ..Wanted::default() }, vec![3, 2]),
            (Wanted { action: Some("groups".into()), ..Wanted::default() }, vec![3, 2]),
            (Wanted { action: Some("roles".into()), ..Wanted::default() }, vec![]),
            (Wanted { thing: Some(group.id.to_string()), ..Wanted::default() }, vec![2]),
            (Wanted { from: Some(NOW.plus_secs(1)), ..Wanted::default() }, vec![3]),
            (Wanted { until: Some(NOW.plus_secs(1)), ..Wanted::default() }, vec![2, 1]),
        ] {
            let page = audit::page(&office.ctx, wanted.clone(), None, 100).await.unwrap();
            let numbers: Vec<i64> = page.items.iter().map(|one| one.number).collect();
            assert_eq!(numbers, expected, "{wanted:?}");
        }
        let page = audit::page(&office.ctx, Wanted::default(), Some(3), 1).await.unwrap();
        assert_eq!((page.items[0].number, page.next), (2, Some(2)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_make_one_chain() {
    for engine in BOTH {
        let office = Arc::new(Office::on(engine).await);
        let caller = office.caller().await;
        let made = (0..6).map(|at| {
            let (office, caller) = (office.clone(), caller.clone());
            tokio::spawn(async move { office.group(&caller, &format!("g{at}")).await })
        });
        for one in made.collect::<Vec<_>>() {
            one.await.unwrap().unwrap();
        }
        let checked = audit::check(&office.ctx).await.unwrap();
        assert_eq!((checked.entries, checked.fault), (7, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_shows() {
    for engine in BOTH {
        for (done, at) in [
            ("update audit set action = 'groups.delete' where number = 3", 3),
            ("update audit set thing = 'x' where number = 1", 1),
            ("update audit set at = at + 1 where number = 4", 4),
            ("update audit set actor_kind = 'user' where number = 2", 2),
            ("update audit set actor_kind = 'ghost' where number = 2", 2),
            ("delete from audit where number = 2", 2),
            ("delete from audit where number = 5", 5),
            ("update audit set number = 9 where number = 5", 5),
            ("update audit_head set number = 4; delete from audit where number = 5", 4),
            ("update audit_head set number = 4", 5),
            (
                "update audit set hash = (select hash from audit where number = 2) where number = 3",
                3,
            ),
        ] {
            let office = Office::on(engine).await;
            let caller = office.caller().await;
            for name in ["a", "b", "c", "d"] {
                office.group(&caller, name).await.unwrap();
            }
            assert_eq!(audit::check(&office.ctx).await.unwrap().fault, None);
            office.sql(done).await;
            let fault = audit::check(&office.ctx).await.unwrap().fault;
            assert_eq!(fault.map(|(number, _)| number), Some(at), "{engine:?}: {done}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_cut_off_shows_by_a_head_that_was_written_down() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        let caller = office.caller().await;
        office.group(&caller, "a").await.unwrap();
        let before = audit::check(&office.ctx).await.unwrap();
        let head = format!("{}:{}", before.entries, before.head);
        assert_eq!(audit::check_with(&office.ctx, &head).await.unwrap().fault, None);
        office
            .sql(
                "delete from audit where number = 2;
                 update audit_head set number = 1, hash = (select hash from audit where number = 1)",
            )
            .await;
        // Alone the log looks whole, as somebody with an older copy can make it.
        assert_eq!(audit::check(&office.ctx).await.unwrap().fault, None);
        let fault = audit::check_with(&office.ctx, &head).await.unwrap().fault;
        assert_eq!(fault.map(|(number, _)| number), Some(2));
        for wrong in ["", "2", "x:y"] {
            assert!(audit::check_with(&office.ctx, wrong).await.is_err(), "{wrong}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_comes_through_backup_and_restore() {
    for (from, to) in [(Engine::Sqlite, Engine::Postgres), (Engine::Postgres, Engine::Sqlite)] {
        let office = Office::on(from).await;
        let caller = office.caller().await;
        office.group(&caller, "a").await.unwrap();
        let archive = office.folder.path().join("all.tidings");
        tidings_store::archive::backup(&office.hub.store, &archive, None, |_| {}).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let target = home(to, folder.path()).await;
        let how = tidings_store::archive::Restoring::default();
        tidings_store::archive::restore(&target, &archive, how, |_| {}).await.unwrap();
        for (key, whole) in [([7; 32], true), ([8; 32], false)] {
            let hub = hub(Store::open(&target).await.unwrap(), &folder, key, &office.clock);
            let ctx = hub.ctx_by_slug("test").await.unwrap();
            let checked = audit::check(&ctx).await.unwrap();
            assert_eq!(checked.fault.is_none(), whole, "{checked:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_admin_cannot_lock_everybody_out() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        let ctx = &office.ctx;
        let add = async |mail: &str, role: &str| {
            accounts::create_user(ctx, mail, role, None).await.map(|_| ())
        };
        add("ann@example.com", "admin").await.unwrap();
        let refused =
            |result: Result<(), Error>| assert!(matches!(result, Err(Error::Conflict(_))));
        refused(accounts::remove_user(ctx, "ann@example.com").await);
        refused(accounts::change_user(ctx, "ann@example.com", "editor").await.map(|_| ()));
        // Somebody whose own role may administer counts, until the role may no more.
        accounts::put_role(ctx, "chief", &["admin".to_owned()]).await.unwrap();
        add("bob@example.com", "chief").await.unwrap();
        accounts::change_user(ctx, "ann@example.com", "viewer").await.unwrap();
        refused(accounts::put_role(ctx, "chief", &["imports".to_owned()]).await.map(|_| ()));
        refused(accounts::remove_user(ctx, "bob@example.com").await);
        refused(accounts::remove_role(ctx, "chief").await);
        let found = accounts::users(ctx).await.unwrap();
        let roles: Vec<&str> = found.iter().map(|one| one.access.name()).collect();
        assert_eq!(roles, ["viewer", "chief"]);
        for unknown in ["root", "", "Admin"] {
            let added = add("eve@example.com", unknown).await;
            assert!(matches!(added, Err(Error::Invalid(_))), "{unknown}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_cannot_take_each_other_away_at_once() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        for mail in ["ann@example.com", "bob@example.com"] {
            accounts::create_user(&office.ctx, mail, "admin", None).await.unwrap();
        }
        let (one, other) = tokio::join!(
            accounts::remove_user(&office.ctx, "ann@example.com"),
            accounts::remove_user(&office.ctx, "bob@example.com"),
        );
        assert!(one.is_ok() != other.is_ok(), "{one:?} and {other:?}");
        assert_eq!(accounts::users(&office.ctx).await.unwrap().len(), 1);
    }
}

/// What an app makes of a secret, by an implementation of its own.
fn app(secret: &str, at: Timestamp) -> String {
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits: String =
        secret.chars().map(|c| format!("{:05b}", letters.find(c).unwrap())).collect();
    let bytes: Vec<u8> = (0..bits.len() / 8)
        .map(|at| u8::from_str_radix(&bits[at * 8..at * 8 + 8], 2).unwrap())
        .collect();
    let script = "import sys,hmac,struct\n\
         h=hmac.new(bytes.fromhex(sys.argv[1]),struct.pack('>Q',int(sys.argv[2])//30),'sha1').digest()\n\
         o=h[-1]&15\nprint('%06d'%((struct.unpack('>I',h[o:o+4])[0]&0x7fffffff)%1000000))";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let secs = (at.0 / 1_000_000).to_string();
    let out = std::process::Command::new("python3").args(["-c", script, &hex, &secs]).output();
    String::from_utf8(out.expect("python3 runs").stdout).unwrap().trim().to_owned()
}

const PASSWORD: &str = "correct horse";

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_asked_for_once_confirmed_and_none_is_taken_twice() {
    for engine in BOTH {
        let office = Office::on(engine).await;
        let (hub, mail) = (&office.hub, "ann@example.com");
        let password = Some(PASSWORD.to_owned());
        accounts::create_user(&office.ctx, mail, "editor", password).await.unwrap();
        let sign_in = async |code: Option<&str>| {
            accounts::sign_in(hub, mail, PASSWORD.to_owned(), code, "here").await
        };
        let who = sign_in(None).await.unwrap();
        let proposed = totp::propose(hub, &who).await.unwrap();
        assert!(proposed.uri.contains(&proposed.secret) && proposed.uri.contains("issuer=Tidings"));
        // Shown is not in use.
        sign_in(None).await.unwrap();
        assert!(matches!(totp::confirm(hub, &who, "000000").await, Err(Error::Invalid(_))));
        let code = app(&proposed.secret, office.hub.now());
        let recovery = totp::confirm(hub, &who, &code).await.unwrap();
        assert_eq!(recovery.len(), 10);
        let refused = |result: Result<accounts::SignedIn, Error>, given: bool| match result {
            Err(Error::SecondFactor { given: found }) => assert_eq!(found, given),
            other => panic!("{other:?}"),
        };
        refused(sign_in(None).await, false);
        // The code that confirmed is used up, and so is each later one.
        refused(sign_in(Some(&code)).await, true);
        office.clock.advance_ms(30_000);
        let code = app(&proposed.secret, office.hub.now());
        let who = sign_in(Some(&code)).await.unwrap();
        assert!(who.totp);
        refused(sign_in(Some(&code)).await, true);
        assert!(matches!(totp::propose(hub, &who).await, Err(Error::Conflict(_))));
        // A recovery code works once.
        sign_in(Some(&recovery[3].to_uppercase())).await.unwrap();
        refused(sign_in(Some(&recovery[3])).await, true);
        assert_eq!(totp::codes_left(hub, who.user).await.unwrap(), 9);
        let wrong = accounts::sign_in(hub, mail, "wrong".to_owned(), Some(&recovery[4]), "x").await;
        assert!(matches!(wrong, Err(Error::Unauthenticated)), "the password comes first");
        // It is taken away by a code alone, or by whoever runs the hub.
        assert!(matches!(totp::remove(hub, &who, "123456").await, Err(Error::Invalid(_))));
        totp::reset(hub, mail).await.unwrap();
        sign_in(None).await.unwrap();
        let said: Vec<String> =
            office.entries().await.into_iter().map(|one| one.entry.action).collect();
        assert!(
            said.contains(&"totp.create".to_owned()) && said.contains(&"totp.reset".to_owned())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_sealed_at_rest() {
    let office = Office::on(Engine::Sqlite).await;
    let password = Some(PASSWORD.to_owned());
    accounts::create_user(&office.ctx, "ann@example.com", "editor", password).await.unwrap();
    let sign_in =
        accounts::sign_in(&office.hub, "ann@example.com", PASSWORD.to_owned(), None, "here");
    let who = sign_in.await.unwrap();
    let proposed = totp::propose(&office.hub, &who).await.unwrap();
    let code = app(&proposed.secret, office.hub.now());
    totp::confirm(&office.hub, &who, &code).await.unwrap();
    // Another master key opens nothing, so what is kept is not the secret.
    let store = Store::open(&office.home).await.unwrap();
    let stranger = hub(store, &office.folder, [8; 32], &office.clock);
    office.clock.advance_ms(30_000);
    let code = app(&proposed.secret, office.hub.now());
    let mail = "ann@example.com";
    let other = accounts::sign_in(&stranger, mail, PASSWORD.to_owned(), Some(&code), "here").await;
    assert!(matches!(other, Err(Error::Internal(_))), "{other:?}");
    accounts::sign_in(&office.hub, mail, PASSWORD.to_owned(), Some(&code), "here").await.unwrap();
}
