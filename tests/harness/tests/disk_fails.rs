//! The disk fails under single calls. What could not be written is not answered for, the program
//! ends, and the next start knows everything that was.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use tidings_harness::api::Api;
use tidings_harness::run::Run;
use tidings_harness::world::World;

/// A disk that fails from the moment on that its switch is there.
struct FailingDisk {
    library: PathBuf,
    switch: PathBuf,
}

impl FailingDisk {
    fn new(folder: &Path) -> FailingDisk {
        let library = folder.join("failing_disk.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg("failing_disk.c")
            .status()
            .expect("run the C compiler");
        assert!(compiled.success(), "failing_disk.c does not compile");
        FailingDisk { library, switch: folder.join("the disk fails") }
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("LD_PRELOAD", self.library.clone()), ("FAILING_DISK", self.switch.clone())]
    }

    fn break_down(&self) {
        std::fs::write(&self.switch, "").expect("switch the fault on");
    }

    fn mend(&self) {
        std::fs::remove_file(&self.switch).expect("switch the fault off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_ends_the_program_and_loses_nothing_that_was_answered() {
    let mut run = Run::start("disk fails").await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = FailingDisk::new(folder.path());
    let mut world = World::on_sqlite_with(disk.environment()).await;
    let api = world.api();
    let calls = tokio::spawn(call_until_refused(api.clone()));
    tokio::time::sleep(run.millis(300, 900)).await;

    disk.break_down();

    let status = world.program().until_ended().await;
    assert!(!status.success(), "it ended as if all were well: {status}");
    let log = world.program().log_tail();
    assert!(log.contains("start again to go on"), "{log}");
    let answered = calls.await.expect("the caller ends");
    disk.mend();
    world.program().start().await;
    let mut lost = Vec::new();
    for at in 0..answered {
        let customer = api.call("GET", &format!("/v1/customers/external_id:d{at}"), None).await;
        if !customer.is_ok_and(|answer| answer.status == 200) {
            lost.push(at);
        }
    }
    run.say(&format!("{answered} calls were answered before the disk failed; lost: {lost:?}"));
    assert!(answered > 0, "no call was answered before the disk failed");
    assert!(lost.is_empty(), "answered for, but not there: {lost:?}");
}

/// Makes one customer after the other until the program no longer says yes; gives how many it did.
async fn call_until_refused(api: Api) -> u64 {
    let mut answered = 0;
    loop {
        let body = json!({"external_id": format!("d{answered}")});
        match api.call("POST", "/v1/customers", Some(&body)).await {
            Ok(answer) if answer.status < 300 => answered += 1,
            Ok(answer) => {
                assert_eq!(answer.status, 503, "{answer:?}");
                return answered;
            }
            // The program is gone.
            Err(_) => return answered,
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
