use std::fmt;

/// Element types that can be read and computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    BF16,
    F32,
    F64,
    Text,
}

impl DType {
    /// Converts the number used in an ONNX file; the error names the type.
    pub fn from_onnx(number: i32) -> Result<Self, String> {
        Ok(match number {
            1 => Self::F32,
            2 => Self::U8,
            3 => Self::I8,
            4 => Self::U16,
            5 => Self::I16,
            6 => Self::I32,
            7 => Self::I64,
            8 => Self::Text,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            12 => Self::U32,
            13 => Self::U64,
            16 => Self::BF16,
            other => {
                let name = match other {
                    14 => "complex64",
                    15 => "complex128",
                    17 => "float8e4m3fn",
                    18 => "float8e4m3fnuz",
                    19 => "float8e5m2",
                    20 => "float8e5m2fnuz",
                    21 => "uint4",
                    22 => "int4",
                    23 => "float4e2m1",
                    24 => "float8e8m0",
                    _ => return Err(format!("element type {other} is not one of ONNX's")),
                };
                return Err(format!("element type {name} is not supported"));
            }
        })
    }

    /// Name of the type in `NumPy`'s spelling (`float32`, `int64`, ...).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::I8 => "int8",
            Self::I16 => "int16",
            Self::I32 => "int32",
            Self::I64 => "int64",
            Self::U8 => "uint8",
            Self::U16 => "uint16",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::Text => "string",
        }
    }

    /// Bytes of one element in a file; `None` for strings.
    pub const fn size(self) -> Option<usize> {
        Some(match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::BF16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
            Self::Text => return None,
        })
    }

    /// Whether it is a floating-point type.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// Whether it is an integer type (booleans are not).
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, Self::Bool | Self::Text)
    }

    /// Smallest and largest value of an integer type, as `f64`; booleans are 0 and 1. `None` for other types.
    pub const fn range(self) -> Option<(f64, f64)> {
        Some(match self {
            Self::Bool => (0.0, 1.0),
            Self::I8 => (-128.0, 127.0),
            Self::I16 => (-32768.0, 32767.0),
            Self::I32 => (i32::MIN as f64, i32::MAX as f64),
            Self::I64 => (i64::MIN as f64, i64::MAX as f64),
            Self::U8 => (0.0, 255.0),
            Self::U16 => (0.0, 65535.0),
            Self::U32 => (0.0, u32::MAX as f64),
            Self::U64 => (0.0, u64::MAX as f64),
            _ => return None,
        })
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
