use proofmark_data::{Options, open};
use proofmark_domain::Kind;

use crate::make::*;

fn record(labels: &[u8], first: u8) -> Vec<u8> {
    let mut bytes = labels.to_vec();
    bytes.push(first);
    bytes.resize(labels.len() + 3072, 51);
    bytes
}

#[test]
fn both_sets_are_recognised_by_their_records() {
    for (labels, expected) in [(&[7u8][..], 7), (&[19u8, 99][..], 99)] {
        let folder = Folder::new();
        let bytes = [record(labels, 255), record(labels, 0)].concat();
        let set = open(&folder.put("test.bin", &bytes), &Options::default()).unwrap();
        assert_eq!(set.labels, Some(vec![expected; 2]));
        let column = &set.modalities[0];
        assert_eq!(column.modality.kind, Kind::Image);
        assert_eq!(column.modality.shape, [3, 32, 32]);
        assert_eq!(column.values.row(0).to_vec()[..2], [1.0, 0.2]);
        assert_eq!(column.values.row(1).to_vec()[..2], [0.0, 0.2]);
    }
}

#[test]
fn files_that_are_not_records_are_refused() {
    for bytes in [
        vec![0; 3072],
        record(&[10], 0),
        record(&[20, 0], 0),
        Vec::new(),
    ] {
        let folder = Folder::new();
        let error = open(&folder.put("test.bin", &bytes), &Options::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("test.bin"), "{text}");
        assert!(bytes.is_empty() || text.contains("3,073"), "{text}");
    }
}
