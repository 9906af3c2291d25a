//! The types that safetensors files have numbers of.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The type of a tensor's numbers, by its name in a safetensors file.
#[allow(missing_docs, non_camel_case_types, reason = "the names of the format")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dtype {
    BOOL,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E4M3FNUZ,
    F8_E5M2FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

impl Dtype {
    /// Bits of a number.
    pub fn bits(self) -> usize {
        match self {
            Self::F4 => 4,
            Self::F6_E2M3 | Self::F6_E3M2 => 6,
            Self::BOOL | Self::U8 | Self::I8 | Self::F8_E5M2 | Self::F8_E4M3 => 8,
            Self::F8_E8M0 | Self::F8_E4M3FNUZ | Self::F8_E5M2FNUZ => 8,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 16,
            Self::I32 | Self::U32 | Self::F32 => 32,
            Self::C64 | Self::F64 | Self::I64 | Self::U64 => 64,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_and_sizes_are_those_of_the_library() {
        let names = "BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ I16 \
                     U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64";
        for name in names.split(' ') {
            let json = format!("\"{name}\"");
            let theirs: safetensors::Dtype = serde_json::from_str(&json).unwrap();
            let ours: Dtype = serde_json::from_str(&json).unwrap();
            assert_eq!((ours.to_string(), ours.bits()), (theirs.to_string(), theirs.bitsize()));
            assert_eq!(serde_json::to_string(&ours).unwrap(), json);
        }
    }
}
