use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Id of a sample within the full set, fixed before any limit, range or shard.
///
/// It is the value of the `id` column or array if the set has one, else the relative path, else the row in the source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleId {
    /// Row in the source, from 0.
    Row(u64),
    /// Name that the data set gives.
    Name(String),
}

impl SampleId {
    /// Returns the key of this sample's random streams: the number of a row, or the 64-bit FNV-1a hash of a name.
    pub fn key(&self) -> u64 {
        match self {
            Self::Row(row) => *row,
            Self::Name(name) => name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
                (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
            }),
        }
    }
}

impl fmt::Display for SampleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => row.fmt(f),
            Self::Name(name) => f.pad(name),
        }
    }
}

impl Serialize for SampleId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Row(row) => s.serialize_u64(*row),
            Self::Name(name) => s.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for SampleId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = SampleId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sample id: a row number or a name")
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<SampleId, E> {
                Ok(SampleId::Row(v))
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<SampleId, E> {
                Ok(SampleId::Name(v.to_owned()))
            }
        }
        d.deserialize_any(Id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_round_trip_and_keys() {
        for id in [SampleId::Row(7), SampleId::Name("cats/1.png".into())] {
            let text = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<SampleId>(&text).unwrap(), id);
        }
        assert_eq!(SampleId::Row(7).key(), 7);
        // FNV-1a test vector.
        assert_eq!(SampleId::Name("a".into()).key(), 0xaf63_dc4c_8601_ec8c);
    }
}
