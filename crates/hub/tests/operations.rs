//! What whoever runs a hub does with it, by the real binary: the doctor, the master key, checksums and
//! storage, and TLS.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rcgen::{CertificateParams, KeyPair};
use tidings_testkit::database;

struct Home {
    folder: tempfile::TempDir,
    /// PostgreSQL instead of the folder.
    database: Option<String>,
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().expect("a folder"), database: None }
    }

    async fn on_postgres() -> Home {
        Home { database: Some(database::fresh().await), ..Home::new() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn key(&self) -> PathBuf {
        self.data().join("master.key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
        command.args(arguments).arg("--data-dir").arg(self.data());
        for name in ["DATABASE_URL", "MASTER_KEY_FILE", "CONFIG", "SMTP_URL", "PUBLIC_URL"] {
            command.env_remove(format!("TIDINGS_{name}"));
        }
        if let Some(url) = &self.database {
            command.env("TIDINGS_DATABASE_URL", url);
        }
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run the program")
    }

    /// What a command printed, or what it said against it.
    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let done = self.output(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(text(&done.stdout) + &text(&done.stderr)),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// A workspace with a signing key, which is a sealed secret, and customers.
    fn fill(&self) {
        self.run(&["workspace", "create", "Shop"]).expect("a workspace");
        self.run(&["dkim", "create", "shop.example", "--workspace", "shop"]).expect("a key");
        let file = self.folder.path().join("people.csv");
        fs::write(&file, "email,name\nann@example.com,Änn\nbob@example.com,Bob\n").expect("write");
        self.run(&["import", &self.path("people.csv"), "--workspace", "shop"]).expect("imported");
    }
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "expected {part:?} in:\n{text}");
    }
}

/// A hub that is up; it ends with the test.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Running {
    fn start(home: &Home, more: &[&str]) -> Running {
        Running::on("127.0.0.1:0", home, more).0
    }

    /// One that listens there, and what it has said until it was ready.
    fn on(listen: &str, home: &Home, more: &[&str]) -> (Running, String) {
        let arguments = [&["serve", "--listen", listen], more].concat();
        let mut child =
            home.command(&arguments).stderr(Stdio::piped()).spawn().expect("run the program");
        let lines = BufReader::new(child.stderr.take().expect("its errors")).lines();
        let mut running = Running { child, lines };
        let said = running.wait_for("\"ready\"");
        (running, said)
    }

    /// Waits for a line of the log and gives what came before it; a test that waits in vain is ended
    /// by its runner.
    fn wait_for(&mut self, part: &str) -> String {
        let mut said = String::new();
        for line in &mut self.lines {
            let line = line.expect("a line");
            if line.contains(part) {
                return said;
            }
            said.push_str(&line);
            said.push('\n');
        }
        panic!("the hub ended without saying {part}");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("run kill").success());
    }

    fn stop(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_wrong_and_exits_by_it() {
    for home in [Home::new(), Home::on_postgres().await] {
        let public = ["--public-url", "https://hub.example", "--offline"];
        let doctor = |more: &[&str]| {
            let done = home.output(&[&["doctor"], more].concat());
            (done.status.code(), String::from_utf8(done.stdout).expect("text"))
        };
        // A hub that never ran is no fault, and asking changes nothing.
        let (code, text) = doctor(&public);
        assert_eq!(code, Some(1), "{text}");
        says(&text, &["warn  data folder", "there is none yet"]);
        assert!(!home.data().exists(), "nothing was made");

        home.run(&["workspace", "create", "Shop"]).expect("a workspace");
        let relay = ["--smtp-url", "smtp://127.0.0.1:1"];
        let (_, text) = doctor(&[&public[..], &relay].concat());
        says(&text, &["ok    migrations", "ok    master key", "ok    clock", "ok    writing"]);
        assert!(!text.contains("fail"), "{text}");
        let (_, text) = doctor(&public);
        says(&text, &["warn  relay", "there is none, so no mail leaves"]);
        // Nobody answers where the relay should be.
        let (code, text) = doctor(&relay);
        assert_eq!(code, Some(2), "{text}");
        says(&text, &["fail  relay", "connect to 127.0.0.1:1", "warn  public address"]);
        assert!(!text.contains("that of smtp_url answers"));

        let (code, json) = doctor(&[&public[..], &["--json"]].concat());
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let states = ["ok", "warn", "fail"];
        assert_eq!(json["state"], states[code.expect("a code") as usize]);
        assert!(json["checks"].as_array().expect("a list").len() > 8);

        // A key that is gone, and one that is another's.
        let kept = fs::read(home.key()).expect("the key");
        fs::remove_file(home.key()).expect("removed");
        let (code, text) = doctor(&public);
        assert_eq!(code, Some(2), "{text}");
        says(&text, &["fail  master key", "is not there"]);
        fs::write(home.key(), [9; 32]).expect("written");
        let (code, text) = doctor(&public);
        assert_eq!(code, Some(2), "{text}");
        says(&text, &["fail  master key", "but the secrets of this hub are sealed with the key"]);
        fs::write(home.key(), kept).expect("written");
        let refused = home.output(&["doctor", "--roles", "none"]);
        assert!(!refused.status.success());
    }
    let home = Home::new();
    let wrong = home.output(&["doctor", "--trusted-proxies", "proxy.example"]);
    assert_eq!(wrong.status.code(), Some(2));
    says(&String::from_utf8_lossy(&wrong.stdout), &["fail  settings", "no address or network"]);
}

/// Row 68: what is set up so that others could listen is said where it is started and where somebody
/// asks; what cannot be meant is refused. Nothing has a password that was not chosen or made up.
#[test]
fn row_68_a_hub_that_is_set_up_unsafely_says_so() {
    let home = Home::new();
    home.run(&["workspace", "create", "Shop"]).expect("a workspace");
    let (running, said) = Running::on("0.0.0.0:0", &home, &[]);
    says(&said, &["plain HTTP beyond this machine"]);
    running.stop();
    let open = ["--listen", "0.0.0.0:8080"];
    let doctor = |more: &[&str]| {
        let done = home.output(&[&["doctor", "--offline"], more].concat());
        String::from_utf8(done.stdout).expect("text")
    };
    says(&doctor(&open), &["warn  listener", "passwords and tokens travel in the clear"]);
    let behind = [&open[..], &["--trusted-proxies", "127.0.0.1"]].concat();
    says(&doctor(&behind), &["ok    listener"]);
    for wrong in [
        &["--trusted-proxies", "proxy.example"][..],
        &["--tls-cert", "nothing.pem"],
        &["--roles", "none"],
        &["--smtp-url", "ftp://127.0.0.1"],
    ] {
        let refused = home.output(&[&["serve", "--listen", "127.0.0.1:0"], wrong].concat());
        assert!(!refused.status.success(), "{wrong:?}");
    }
}

#[test]
fn the_master_key_is_changed_while_the_hub_runs() {
    let home = Home::new();
    home.fill();
    let before = home.run(&["key", "show"]).expect("shown");
    // The hub's root and the signing key.
    says(&before, &["seals; 2 secrets"]);
    let old = fs::read(home.key()).expect("the key");
    let mut hub = Running::start(&home, &[]);
    let said = home.run(&["key", "rotate"]).expect("rotated");
    says(&said, &["2 secrets were sealed with the key"]);
    hub.wait_for("the key file has changed");
    let after = home.run(&["key", "show"]).expect("shown");
    says(&after, &["seals; 2 secrets"]);
    assert_eq!(after.lines().count(), 2, "the old key is gone: {after}");
    assert_ne!(before, after);
    hub.stop();
    Running::start(&home, &[]).stop();

    // The old key opens nothing any more, and a missing one is not made anew.
    let new = fs::read(home.key()).expect("the key");
    fs::write(home.key(), &old).expect("written");
    let why = home.run(&["serve"]).expect_err("refused");
    says(&why, &["holds the master key", "are sealed with the key"]);
    fs::remove_file(home.key()).expect("removed");
    let why = home.run(&["serve"]).expect_err("refused");
    says(&why, &["the master key is missing"]);
    assert!(!home.key().exists());
    fs::write(home.key(), "garbage").expect("written");
    says(&home.run(&["serve"]).expect_err("refused"), &["is no key file: line 1"]);

    // A rotation that was cut short after its first step goes on: the file holds both keys.
    fs::write(home.key(), &new).expect("written");
    let line = home.run(&["key", "make"]).expect("a line");
    fs::write(home.key(), format!("{line}{}", String::from_utf8_lossy(&new))).expect("written");
    says(&home.run(&["key", "rotate"]).expect("rotated"), &["2 secrets were sealed"]);

    // What is lost is said before it is given up.
    fs::remove_file(home.key()).expect("removed");
    says(&home.run(&["key", "lost"]).expect_err("refused"), &["give --yes"]);
    says(&home.run(&["key", "lost", "--yes"]).expect("given up"), &["1 secrets are lost"]);
    says(&home.run(&["key", "show"]).expect("shown"), &["is not here; 1 secrets"]);
    Running::start(&home, &[]).stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_between_engines_has_equal_checksums() {
    let homes =
        [(Home::new(), Home::on_postgres().await), (Home::on_postgres().await, Home::new())];
    for (at, (from, to)) in homes.into_iter().enumerate() {
        from.fill();
        let archive = from.path("all.tidings");
        from.run(&["backup", &archive]).expect("written");
        let sums = from.run(&["checksum"]).expect("summed");
        says(&sums, &["system users 0 ", "w1 customers 2 ", "w1 dkim_keys 1 "]);
        let file = from.path("sums");
        fs::write(&file, &sums).expect("written");
        to.run(&["restore", &archive]).expect("restored");
        let said = to.run(&["checksum", "--against", &file]).expect("equal");
        says(&said, &["are equal"]);
        let one = to.run(&["checksum", "--workspace", "shop"]).expect("summed");
        assert!(one.lines().count() > 20 && one.lines().all(|line| line.starts_with("w1 ")));

        // One value more, and it shows which table it is in.
        fs::copy(from.key(), to.key()).expect("the key goes along");
        fs::write(from.path("more.csv"), "email,name\nann@example.com,Anna\n").expect("write");
        to.run(&["import", &from.path("more.csv"), "--workspace", "shop"]).expect("imported");
        let why = to.run(&["checksum", "--against", &file]).expect_err("they differ");
        says(&why, &["w1 customers: 2 rows on both sides, some of them differ"]);
        assert!(!why.contains("w1 dkim_keys"), "{at}: {why}");
        fs::write(&file, "nonsense").expect("written");
        says(&to.run(&["checksum", "--against", &file]).expect_err("refused"), &["expected lines"]);
        // Without its key the moved hub does not start, rather than make a new one.
        fs::remove_file(to.key()).expect("removed");
        says(&to.run(&["serve"]).expect_err("refused"), &["the master key is missing"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_is_shown_by_table() {
    for home in [Home::new(), Home::on_postgres().await] {
        home.fill();
        let text = home.run(&["storage", "--workspace", "shop"]).expect("measured");
        says(&text, &["table", "rows/day", "customers", "all"]);
        let row = text.lines().find(|line| line.starts_with("customers ")).expect("a line");
        assert_eq!(row.split_whitespace().nth(1), Some("2"), "{row}");
        let json = home.run(&["storage", "--workspace", "shop", "--kept", "--json"]).expect("kept");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let tables = json["tables"].as_array().expect("a list");
        let customers = tables.iter().find(|one| one["name"] == "customers").expect("it is there");
        assert_eq!((&customers["rows"], &customers["bytes_per_day"]), (&2.into(), &().into()));
        assert!(customers["bytes"].as_i64().expect("a number") >= 4_096);
        home.run(&["storage", "--workspace", "nobody"]).expect_err("there is none");
    }
}

fn put_certificate(folder: &Path, year: i32) {
    let mut wish = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    wish.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let made = wish.self_signed(&key).expect("a certificate");
    fs::write(folder.join("key.pem"), key.serialize_pem()).expect("write");
    fs::write(folder.join("cert.pem"), made.pem()).expect("write");
}

#[test]
fn certificates_are_refused_at_the_start_and_renewed_at_a_signal() {
    let home = Home::new();
    let folder = home.folder.path().to_owned();
    let (cert, key) = (home.path("cert.pem"), home.path("key.pem"));
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let refused = |home: &Home| {
        home.run(&[&["serve", "--listen", "127.0.0.1:0"], &tls[..]].concat()).expect_err("refused")
    };
    says(&refused(&home), &["serve TLS: read ", "cert.pem: No such file"]);
    put_certificate(&folder, 2001);
    says(&refused(&home), &["ended on 2001-01-01T00:00:00Z; renew it"]);
    put_certificate(&folder, 2090);
    let kept = fs::read(&key).expect("the key");
    put_certificate(&folder, 2091);
    fs::write(&key, kept).expect("write");
    says(&refused(&home), &["key.pem is not the key of "]);

    put_certificate(&folder, 2090);
    let mut hub = Running::start(&home, &tls);
    put_certificate(&folder, 2092);
    hub.signal("-HUP");
    hub.wait_for("a renewed certificate is served");
    hub.stop();
    // Without TLS the same signal ends nothing.
    let hub = Running::start(&home, &[]);
    hub.signal("-HUP");
    hub.stop();
}
