//! The unit of systemd that stands in the repository: well-formed, and in step with the program.

use std::collections::BTreeMap;
use std::process::Command;

const UNIT: &str = include_str!("../../../packaging/tidings.service");

/// Options by section; an option may be given more than once only where that adds to it.
fn parsed() -> BTreeMap<String, Vec<(String, String)>> {
    let mut sections: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let mut at = String::new();
    for line in UNIT.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(section) => at = section.to_owned(),
            None => {
                let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
                assert_eq!((name.trim(), value.trim()), (name, value), "blanks in {line}");
                let options = sections.entry(at.clone()).or_default();
                let is_twice = options.iter().any(|(one, _)| one == name);
                assert!(!is_twice || name == "SystemCallFilter", "{name} is given twice");
                options.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    sections
}

fn service(name: &str) -> String {
    let sections = parsed();
    let found = sections["Service"].iter().find(|(one, _)| one == name);
    found.unwrap_or_else(|| panic!("{name} is missing")).1.clone()
}

#[test]
fn it_starts_the_program_as_the_program_is() {
    let sections: Vec<String> = parsed().into_keys().collect();
    assert_eq!(sections, ["Install", "Service", "Unit"]);
    let start = service("ExecStart");
    let words: Vec<&str> = start.split(' ').collect();
    assert!(words[0].starts_with('/') && words[0].ends_with("/tidings"), "{start}");
    // Each flag and command in it is one that the program knows.
    let help = Command::new(env!("CARGO_BIN_EXE_tidings")).args([words[1], "--help"]).output();
    let help = help.expect("run the program");
    assert!(help.status.success(), "{start}");
    let help = String::from_utf8(help.stdout).expect("text");
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(help.contains(*flag), "{flag}");
    }
    // The folder that it is given is the one that systemd makes, for it alone.
    assert_eq!(service("Environment"), "TIDINGS_DATA_DIR=/var/lib/tidings");
    assert_eq!(
        (service("StateDirectory"), service("StateDirectoryMode")),
        ("tidings".into(), "0700".into())
    );
    let config = words.last().expect("a word");
    assert!(config.starts_with(&format!("/etc/{}/", service("ConfigurationDirectory"))));
    let stop: u32 = service("TimeoutStopSec").parse().expect("seconds");
    assert!(stop > 30, "the hub is given the time that it takes");
}

#[test]
fn it_is_closed_in() {
    for (name, value) in [
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", "CAP_NET_BIND_SERVICE"),
        ("RestrictNamespaces", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("UMask", "0077"),
    ] {
        assert_eq!(service(name), value, "{name}");
    }
    assert_ne!(service("User"), "root");
    assert!(!service("RestrictAddressFamilies").contains("AF_PACKET"));
}
