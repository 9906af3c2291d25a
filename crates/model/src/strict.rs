//! Checks of the file formats beyond those of serde.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Reads what a variant without fields has beside its tag: nothing.
///
/// # Errors
///
/// An unknown field.
pub(crate) fn no_fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Nothing {}
    Nothing::deserialize(deserializer).map(drop)
}

/// Reads a map, each key of which occurs once.
///
/// # Errors
///
/// A key that occurs twice.
pub(crate) fn distinct_keys<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Distinct<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Distinct<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, T>()? {
                if all.contains_key(&key) {
                    return Err(A::Error::custom(format!("{key:?} occurs twice")));
                }
                all.insert(key, value);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_map(Distinct(PhantomData))
}

#[cfg(test)]
mod tests {
    use crate::{Encoding, Placement, Preprocessing};

    #[test]
    fn kinds_without_fields_have_none() {
        assert_eq!(
            serde_json::from_str::<Preprocessing>(r#"{"kind":"none"}"#).unwrap(),
            Preprocessing::None
        );
        for (text, kind) in
            [(r#"{"kind":"f16"}"#, Encoding::F16), (r#"{"kind":"sparse"}"#, Encoding::Sparse)]
        {
            assert_eq!(serde_json::from_str::<Encoding>(text).unwrap(), kind);
        }
        assert!(serde_json::from_str::<Preprocessing>(r#"{"kind":"none","scale":1}"#).is_err());
        assert!(serde_json::from_str::<Placement>(r#"{"kind":"as-is","side":1}"#).is_err());
        assert!(serde_json::from_str::<Encoding>(r#"{"kind":"bf16","group":1}"#).is_err());
    }
}
