//! Runs the binary, with temporary folders for its files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Temporary folder, removed on drop.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path as an argument.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("writable");
        path.display().to_string()
    }

    /// Returns the sorted names of everything in the folder, including hidden files.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.0.path())
            .expect("readable")
            .map(|e| {
                e.expect("readable")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }
}

/// Returns the root of the repository, where the example policies are.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
    command.args(arguments).current_dir(root());
    command
}

/// Result of a run: exit code, standard output, standard error.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

pub(crate) fn run(arguments: &[&str]) -> Ran {
    let Output {
        status,
        stdout,
        stderr,
    } = command(arguments).output().expect("the binary runs");
    Ran {
        code: status.code().expect("not killed"),
        out: String::from_utf8(stdout).expect("UTF-8"),
        err: String::from_utf8(stderr).expect("UTF-8"),
    }
}

/// Runs `attack digits-robust --data DATA` with default attack, norm and epsilon; `more` is appended and may replace
/// them.
pub(crate) fn attack(data: &str, more: &[&str]) -> Ran {
    let mut arguments = vec!["attack", "digits-robust", "--data", data];
    if !more.contains(&"--attack") {
        arguments.extend(["--attack", "fgsm"]);
    }
    if !more.contains(&"--norm") {
        arguments.extend(["--norm", "linf"]);
    }
    if !more
        .iter()
        .any(|m| m.starts_with("--eps") || *m == "--per-sample-eps")
    {
        arguments.extend(["--eps", "0.1"]);
    }
    arguments.extend(more);
    run(&arguments)
}
