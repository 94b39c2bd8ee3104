//! Ctrl-C and SIGTERM leave nothing half-written.
#![cfg(unix)]

use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Folder, command};

#[test]
fn an_interrupted_run_exits_130_and_leaves_no_file() {
    for signal in ["INT", "TERM"] {
        let folder = Folder::new();
        let out = folder.path("report.json").display().to_string();
        let save = folder.path("adversarials.npz").display().to_string();
        let mut child = command(&[
            "attack",
            "digits-robust",
            "--data",
            "digits",
            "--attack",
            "pgd",
            "--steps",
            "1000000",
            "--norm",
            "linf",
            "--eps",
            "0.01",
            "--out",
            &out,
            "--save",
            &save,
        ])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
        std::thread::sleep(Duration::from_secs(2));
        let killed = std::process::Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(killed.success());
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(130), "SIG{signal}");
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}
