//! What the databases and the key say, and whom the hub needs: relays, tracking addresses.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use jiff::Timestamp as Now;
use tidings_domain::Timestamp;
use tidings_engine::{Ctx, Hub, relays, senders};
use tidings_store::health::{self, Health};

use super::{Report, Wishes, reach};
use crate::config::Config;
use crate::key_file::KeyFile;

/// PostgreSQL from this version on is what the hub is tested with.
const OLDEST_SERVER: i64 = 150_000;
/// The clocks of two machines may differ by so much.
const CLOCK_WARN_MS: i64 = 2_000;
const CLOCK_FAIL_MS: i64 = 30_000;
/// A job that is due for so long is taken by nobody.
const OVERDUE_SECS: i64 = 600;

pub async fn examine(config: &Config, wishes: Wishes, report: &mut Report) {
    let found = match health::examine(&config.home(), wishes.deep).await {
        Ok(found) => found,
        Err(error) => {
            let next = match config.database_url {
                Some(_) => {
                    "is the server up, and are address, name and password in database_url right?"
                }
                None => "see to the rights of the files; restore a backup where they are damaged",
            };
            report.fail("database", error.to_string(), next);
            return;
        }
    };
    let Some(found) = found else {
        let next =
            "`tidings serve` makes it; if this hub has data, correct data_dir or database_url";
        report.warn("database", "there is none yet", next);
        return;
    };
    engine(&found, report);
    clock(&found, report);
    if !databases(&found, report) {
        // What follows opens the store, which would change it.
        return;
    }
    if let Some(hub) = key(config, report).await {
        hub_at_work(&hub, wishes, report).await;
    }
}

fn engine(found: &Health, report: &mut Report) {
    if found.server_version.is_some_and(|version| version < OLDEST_SERVER) {
        let next = "use PostgreSQL 15 or newer, which the hub is tested with";
        report.warn("database", found.engine.clone(), next);
    } else {
        report.ok("database", format!("{}, {} databases", found.engine, found.databases.len()));
    }
    match found.checksums {
        Some((_, failures)) if failures > 0 => report.fail(
            "pages",
            format!("the server found {failures} damaged pages"),
            "look at its log and its disk; restore a backup",
        ),
        Some((false, _)) => report.warn(
            "pages",
            "the server keeps no checksums of its pages, so damage on the disk goes unseen",
            "stop it and run pg_checksums --enable",
        ),
        _ => {}
    }
}

fn clock(found: &Health, report: &mut Report) {
    let now = Timestamp::now();
    let newest = found.databases.iter().filter_map(|one| one.migrated_at).max();
    if let Some(newest) = newest.filter(|newest| now < newest.plus_secs(-60)) {
        let found = format!("this machine says {}, but it was {newest} here before", Now::now());
        report.fail("clock", found, "set the clock; run an NTP client");
        return;
    }
    let next = "run an NTP client on both machines";
    match found.clock_ahead_ms {
        Some(ahead) if ahead.abs() >= CLOCK_FAIL_MS => {
            report.fail("clock", format!("the server's is ahead by {ahead} ms"), next);
        }
        Some(ahead) if ahead.abs() >= CLOCK_WARN_MS => {
            report.warn("clock", format!("the server's is ahead by {ahead} ms"), next);
        }
        Some(_) => report.ok("clock", "this machine and the server agree"),
        None => report.ok("clock", Now::now().to_string()),
    }
}

/// Whether all databases are whole and of this version.
fn databases(found: &Health, report: &mut Report) -> bool {
    if found.is_unfinished {
        report.fail(
            "restore",
            "a restore into this database did not finish",
            "remove what it left, as `tidings serve` says, and restore again",
        );
        return false;
    }
    let mut is_current = true;
    for one in &found.databases {
        if one.unknown > 0 {
            let text = format!("{}: {} are of a newer version of Tidings", one.name, one.unknown);
            report.fail(
                "migrations",
                text,
                "install that version, or restore a backup from before it",
            );
            is_current = false;
        } else if !one.missing.is_empty() {
            let text = format!("{} lacks {}", one.name, one.missing.join(", "));
            report.warn(
                "migrations",
                text,
                "`tidings migrate`, or the next start of the hub, adds them",
            );
            is_current = false;
        }
        if let Some(fault) = &one.fault {
            let text = format!("{} is damaged: {}", one.name, fault.replace('\n', " "));
            report.fail("integrity", text, "stop the hub, look at the disk, and restore a backup");
        }
    }
    if is_current {
        report.ok("migrations", "all of this version");
    }
    is_current && found.databases.iter().all(|one| one.fault.is_none())
}

/// Opens the hub by its key.
async fn key(config: &Config, report: &mut Report) -> Option<Arc<Hub>> {
    let file = KeyFile::of(config);
    let ring = match file.read() {
        Ok(Some(ring)) => ring,
        Ok(None) => {
            let next = "put it back from where its copy is kept, or see tidings key lost";
            report.fail("master key", format!("{file} is not there"), next);
            return None;
        }
        Err(error) => {
            let next = "put it back from where its copy is kept; run this as the hub's user";
            report.fail("master key", format!("{error:#}"), next);
            return None;
        }
    };
    let hub = match crate::serve::open(config).await {
        Ok(hub) => hub,
        Err(error) => {
            report.fail("master key", format!("{error:#}"), "put the right key file in place");
            return None;
        }
    };
    let mode = std::fs::metadata(&file.path).map(|found| found.permissions().mode() & 0o077);
    if ring.keys().len() > 1 {
        let text = format!("{} seals; a rotation has not ended", ring.id());
        report.warn("master key", text, "`tidings key rotate` does what is left");
    } else if mode.is_ok_and(|others| others & 0o007 != 0) {
        let text = format!("everybody on this machine may read {file}");
        report.warn("master key", text, format!("chmod o-rwx {file}"));
    } else {
        report.ok("master key", format!("{} in {file}", ring.id()));
    }
    Some(hub)
}

async fn hub_at_work(hub: &Arc<Hub>, wishes: Wishes, report: &mut Report) {
    if hub.store.system.setting("sending_paused").await.ok().flatten().as_deref() == Some("true") {
        let next = "`tidings restore --resume-sending` lets it go on";
        report.warn("sending", "all sending is paused, as after a restore", next);
    }
    let mut has_relay = hub.settings.smtp_url.is_some();
    if !wishes.offline {
        own_relay(hub, report).await;
        tracking(&hub.settings.public_url, report).await;
    }
    let rows = match hub.store.system.workspaces().await {
        Ok(rows) => rows,
        Err(error) => {
            return report.fail("workspaces", error.to_string(), "see to the database");
        }
    };
    let count = rows.len();
    for row in rows {
        let looked = match hub.ctx(row.id).await {
            Ok(ctx) => workspace(&ctx, wishes, &mut has_relay, report).await,
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            let text = format!("{}: {error}", row.slug);
            report.fail("workspaces", text, "see to its database");
        }
    }
    report.ok("workspaces", format!("{count} looked at"));
    if !has_relay {
        let next = "set smtp_url, or add a relay under Settings, E-mail";
        report.warn("relay", "there is none, so no mail leaves", next);
    }
}

async fn own_relay(hub: &Arc<Hub>, report: &mut Report) {
    let next = "is smtp_url right, and does a firewall let this machine out?";
    match hub.mail_pool() {
        Ok(None) => {}
        Ok(Some(pool)) => match pool.probe().await {
            Ok(_) => report.ok("relay", "that of smtp_url answers"),
            Err(error) => report.fail("relay", format!("that of smtp_url: {error}"), next),
        },
        Err(error) => report.fail("relay", error.to_string(), next),
    }
}

/// One workspace's relays, tracking addresses and jobs.
async fn workspace(
    ctx: &Ctx,
    wishes: Wishes,
    has_relay: &mut bool,
    report: &mut Report,
) -> tidings_engine::Result<()> {
    let slug = &ctx.workspace.row.slug;
    for relay in relays::list(ctx).await?.into_iter().filter(|relay| relay.enabled) {
        *has_relay = true;
        if wishes.offline {
            continue;
        }
        let tried = relays::try_out(ctx, relay.id).await;
        let said = match tried {
            Ok(tried) if tried.works => {
                report.ok("relay", format!("{slug}: {} answers", relay.name));
                continue;
            }
            Ok(tried) => tried.message,
            Err(error) => error.to_string(),
        };
        let next = "test it under Settings, E-mail; is its password still right?";
        report.fail("relay", format!("{slug}: {}: {said}", relay.name), next);
    }
    for domain in senders::list(ctx).await? {
        if let Some(url) = domain.tracking_url.as_ref().filter(|_| !wishes.offline) {
            tracking(url, report).await;
        }
        if domain.keys.iter().all(|key| !key.active) {
            let text = format!("{slug}: mail of {} is not signed", domain.domain);
            report.warn("DKIM", text, "make a key: tidings dkim create");
        }
    }
    for (kind, subject, error) in ctx.workspace.failed_jobs().await? {
        let text = format!("{slug}: {kind} {subject} was given up: {error}");
        report.fail("jobs", text, "look at the alert in the console and at the log");
    }
    let now = Timestamp::now();
    if let Some(due) = ctx.workspace.next_due_job().await?
        && due.plus_secs(OVERDUE_SECS) < now
    {
        let minutes = now.ms_since(due) / 60_000;
        let text = format!("{slug}: one waits for {minutes} minutes");
        report.warn("jobs", text, "does a node with the role jobs run?");
    }
    let alerts = ctx.workspace.unread_alerts().await?;
    if alerts > 0 {
        let text = format!("{slug}: {alerts} not seen by anybody");
        report.warn("alerts", text, "look at them in the console");
    }
    Ok(())
}

/// Whether an address that stands in links leads to a hub.
async fn tracking(url: &str, report: &mut Report) {
    match reach::hub_at(url).await {
        Ok(()) => report.ok("links", format!("{url} leads to a hub")),
        Err(error) => report.warn(
            "links",
            format!("{url}: {error:#}"),
            "does the hub run, and do name, proxy and certificate lead to it from here?",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;
    use tidings_store::health::Database;

    fn database(name: &str) -> Database {
        Database {
            name: name.to_owned(),
            missing: Vec::new(),
            unknown: 0,
            migrated_at: Some(Timestamp(1_700_000_000_000_000)),
            fault: None,
        }
    }

    #[track_caller]
    fn check(health: &Health, goes_on: bool, expected: &[(&str, State)]) {
        let mut report = Report::default();
        engine(health, &mut report);
        clock(health, &mut report);
        assert_eq!(databases(health, &mut report), goes_on, "{report:?}");
        let found: Vec<_> = report
            .lines
            .iter()
            .filter(|line| line.state != State::Ok)
            .map(|line| (line.check, line.state))
            .collect();
        assert_eq!(found, expected);
        assert!(report.lines.iter().all(|line| line.state == State::Ok || !line.next.is_empty()));
    }

    #[test]
    fn every_fault_of_a_database_has_its_line() {
        let good = || Health { databases: vec![database("system")], ..Health::default() };
        check(&good(), true, &[]);
        check(&Health { is_unfinished: true, ..good() }, false, &[("restore", State::Fail)]);
        let newer = Database { unknown: 2, ..database("w1") };
        check(&Health { databases: vec![newer], ..good() }, false, &[("migrations", State::Fail)]);
        let older = Database { missing: vec!["people"], ..database("w1") };
        check(&Health { databases: vec![older], ..good() }, false, &[("migrations", State::Warn)]);
        let bad = Database { fault: Some("row 7 is missing".to_owned()), ..database("w1") };
        check(&Health { databases: vec![bad], ..good() }, false, &[("integrity", State::Fail)]);
        let ahead = Timestamp::now().plus_secs(3_600);
        let future = Database { migrated_at: Some(ahead), ..database("w1") };
        check(&Health { databases: vec![future], ..good() }, true, &[("clock", State::Fail)]);
        for (ahead, expected) in [
            (1_000, vec![]),
            (-5_000, vec![("clock", State::Warn)]),
            (60_000, vec![("clock", State::Fail)]),
        ] {
            check(&Health { clock_ahead_ms: Some(ahead), ..good() }, true, &expected);
        }
        check(
            &Health { server_version: Some(140_010), ..good() },
            true,
            &[("database", State::Warn)],
        );
        check(&Health { checksums: Some((false, 0)), ..good() }, true, &[("pages", State::Warn)]);
        check(&Health { checksums: Some((true, 3)), ..good() }, true, &[("pages", State::Fail)]);
    }
}
