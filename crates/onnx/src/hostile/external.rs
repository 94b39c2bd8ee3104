//! External data in places where it must not be read from.

use std::fs;

use prost::Message;

use super::{attempt, attempt_in, with_constant};
use crate::proto::{ModelProto, StringStringEntryProto, TensorProto};

/// Returns a model whose constant is external data described by `entries`.
pub(super) fn beside(entries: &[(&str, &str)]) -> ModelProto {
    with_constant(TensorProto {
        data_type: 1,
        dims: vec![2],
        data_location: 1,
        external_data: entries
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: (*key).into(),
                value: (*value).into(),
            })
            .collect(),
        ..Default::default()
    })
}

#[test]
fn external_data_outside_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("weights"), [0; 8]).unwrap();
    let try_it = |location: &str| {
        let bytes = beside(&[("location", location)]).encode_to_vec();
        attempt_in(bytes, Some(&folder))
    };
    assert_eq!(try_it("weights"), Ok(()));
    assert_eq!(try_it("./weights"), Ok(()));
    let absolute = root.path().join("secret").display().to_string();
    for location in [
        "../secret",
        "./../secret",
        "weights/../../secret",
        "../models/weights",
        "/etc/passwd",
        &absolute,
        "",
    ] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("leaves the model's folder"), "{problem}");
    }
    for location in [".", "none", "weights/none"] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("external data"), "{problem}");
    }
    let problem = attempt(beside(&[("location", "weights")]).encode_to_vec()).unwrap_err();
    assert!(problem.contains("no folder to look for it in"), "{problem}");
}

#[cfg(unix)]
#[test]
fn external_data_through_links() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("weights"), [0; 8]).unwrap();
    symlink(root.path().join("secret"), folder.join("file")).unwrap();
    symlink(root.path(), folder.join("up")).unwrap();
    symlink("/dev/zero", folder.join("zero")).unwrap();
    symlink(folder.join("weights"), folder.join("inside")).unwrap();
    symlink("around", folder.join("around")).unwrap();
    let try_it = |location: &str| {
        let bytes = beside(&[("location", location)]).encode_to_vec();
        attempt_in(bytes, Some(&folder))
    };
    assert_eq!(try_it("inside"), Ok(()));
    for location in ["file", "up/secret", "zero"] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("through a link"), "{problem}");
    }
    assert!(try_it("around").is_err());
}

#[test]
fn external_data_of_the_wrong_size() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("weights"), [0; 16]).unwrap();
    let try_it = |offset: &str, length: &str| {
        let mut entries = vec![("location", "weights")];
        if !offset.is_empty() {
            entries.push(("offset", offset));
        }
        if !length.is_empty() {
            entries.push(("length", length));
        }
        attempt_in(beside(&entries).encode_to_vec(), Some(root.path()))
    };
    assert_eq!(try_it("8", ""), Ok(()));
    assert_eq!(try_it("4", "8"), Ok(()));
    let most = u64::MAX.to_string();
    for (offset, length) in [
        ("", ""),
        ("9", ""),
        ("16", "8"),
        ("17", ""),
        ("0", "7"),
        ("0", "16"),
        ("-1", "8"),
        ("0", "-8"),
        ("x", "8"),
        (&most, "8"),
        ("0", &most),
        (&most, ""),
        ("99999999999999999999", "8"),
    ] {
        let problem = try_it(offset, length).unwrap_err();
        assert!(problem.contains("external data"), "{problem}");
    }
    let nowhere = attempt_in(beside(&[]).encode_to_vec(), Some(root.path())).unwrap_err();
    assert!(nowhere.contains("without a location"), "{nowhere}");
}
