//! Finds which arrays of an archive are inputs and which are labels, by common names.

use crate::npz::is_fact;

/// Roles of an archive's arrays.
#[derive(Debug, PartialEq)]
pub(crate) struct Roles<'a> {
    /// Names of the inputs.
    pub(crate) inputs: Vec<&'a str>,
    /// Name of the labels.
    pub(crate) labels: Option<&'a str>,
    /// Whether the names differ from the documented ones, so that the choice must be noted.
    pub(crate) guessed: bool,
}

/// Returns the roles; `Err` if the names allow more than one reading.
///
/// With the documented names, labels are `y` and every other array that does not describe the samples is an input.
/// Otherwise one array has a name of labels, such as `labels` or `y_test`, and the inputs belong to the same split; or
/// the two arrays are `arr_0` and `arr_1`.
pub(crate) fn roles<'a>(names: &[&'a str]) -> Result<Roles<'a>, ()> {
    let data: Vec<&str> = names.iter().copied().filter(|n| !is_fact(n)).collect();
    let labels: Vec<&str> = data.iter().copied().filter(|n| names_labels(n)).collect();
    let inputs: Vec<&str> = data.iter().copied().filter(|n| !names_labels(n)).collect();
    let contract = names.contains(&"y");
    if contract || labels.is_empty() {
        let positional = |n: &&str| {
            n.strip_prefix("arr_")
                .is_some_and(|k| k.parse::<u32>().is_ok())
        };
        let positions = inputs.iter().filter(|n| positional(n)).count();
        return match inputs[..] {
            ["arr_0", "arr_1"] | ["arr_1", "arr_0"] if !contract => Ok(Roles {
                inputs: vec!["arr_0"],
                labels: Some("arr_1"),
                guessed: true,
            }),
            _ if positions > 1 || (contract && !labels.is_empty() && inputs.len() > 1) => Err(()),
            _ => Ok(Roles {
                inputs: data,
                labels: contract.then_some("y"),
                guessed: false,
            }),
        };
    }
    match labels[..] {
        [only] if !inputs.is_empty() && inputs.iter().all(|n| split(n) == split(only)) => {
            Ok(Roles {
                inputs,
                labels: Some(only),
                guessed: true,
            })
        }
        _ => Err(()),
    }
}

/// Whether a name other than `y` is a common name of labels.
fn names_labels(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let base = lower.replace(split(name), "");
    let base = base.trim_matches(['_', '-']);
    let labels = matches!(
        base,
        "y" | "label" | "labels" | "target" | "targets" | "class" | "classes"
    );
    labels && name != "y"
}

/// Returns `test` for `x_test`; an empty text if the name states no split.
fn split(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    ["train", "test", "valid", "val"]
        .into_iter()
        .find(|s| {
            let at = name.strip_prefix(s).or_else(|| name.strip_suffix(s));
            at.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(['_', '-']) || rest.ends_with(['_', '-'])
            })
        })
        .unwrap_or("")
}

/// Returns possible names of the labels' file beside an array's file: `y_test` for `x_test`, `labels` for `images`.
pub(crate) fn labels_beside(stem: &str) -> Vec<String> {
    const PAIRS: [(&str, &[&str]); 8] = [
        ("x", &["y"]),
        ("X", &["y", "Y"]),
        ("images", &["labels"]),
        ("image", &["label", "labels"]),
        ("data", &["labels", "targets", "target"]),
        ("inputs", &["targets", "labels"]),
        ("features", &["labels", "targets"]),
        ("samples", &["labels"]),
    ];
    let separator = |c: Option<char>| c.is_none_or(|c| "_-.".contains(c));
    let mut found = Vec::new();
    for (word, others) in PAIRS {
        for (at, _) in stem.match_indices(word) {
            let (before, after) = (&stem[..at], &stem[at + word.len()..]);
            if separator(before.chars().last()) && separator(after.chars().next()) {
                found.extend(others.iter().map(|o| format!("{before}{o}{after}")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(names: &[&'static str]) -> Result<(Vec<&'static str>, Option<&'static str>), ()> {
        roles(names).map(|r| (r.inputs, r.labels))
    }

    #[test]
    fn common_names_have_one_reading() {
        for (names, x, y) in [
            (&["x", "y"][..], "x", Some("y")),
            (&["X", "y"], "X", Some("y")),
            (&["x_test", "y_test"], "x_test", Some("y_test")),
            (&["y_train", "X_train"], "X_train", Some("y_train")),
            (&["images", "labels"], "images", Some("labels")),
            (
                &["test_images", "test_labels"],
                "test_images",
                Some("test_labels"),
            ),
            (&["data", "target", "id"], "data", Some("target")),
            (&["arr_1", "arr_0"], "arr_0", Some("arr_1")),
            (&["arr_0"], "arr_0", None),
            (&["X", "Y"], "X", Some("Y")),
            (&["pixels"], "pixels", None),
        ] {
            assert_eq!(both(names), Ok((vec![x], y)), "{names:?}");
        }
        let two = both(&["image", "sound", "labels"]);
        assert_eq!(two, Ok((vec!["image", "sound"], Some("labels"))));
        assert_eq!(both(&["a", "b"]), Ok((vec!["a", "b"], None)));
    }

    #[test]
    fn ambiguous_names_are_refused() {
        for names in [
            &["x_train", "y_train", "x_test", "y_test"][..],
            &["x_test", "y_train"],
            &["x", "y", "x_test", "y_test"],
            &["x", "labels", "targets"],
            &["labels"],
            &["arr_0", "arr_1", "arr_2"],
        ] {
            assert_eq!(both(names), Err(()), "{names:?}");
        }
    }

    #[test]
    fn labels_files_are_named_after_their_inputs() {
        assert!(labels_beside("x_test").contains(&"y_test".to_owned()));
        assert!(labels_beside("X_test").contains(&"y_test".to_owned()));
        assert!(labels_beside("cifar_images").contains(&"cifar_labels".to_owned()));
        assert!(labels_beside("train-x").contains(&"train-y".to_owned()));
        for stem in ["exact", "max", "pixels", "y_test"] {
            assert_eq!(labels_beside(stem), [""; 0], "{stem}");
        }
    }
}
