//! Formats outputs for people.

use proofmark::onnx::{Array, Data};

/// Maximum number of rows shown.
const ROWS: usize = 20;
/// Maximum number of values shown per row.
const VALUES: usize = 16;

/// Formats one output: its type and shape, then its values, one line per row along the first axis.
pub(crate) fn lines(name: &str, array: &Array) -> Vec<String> {
    let mut lines = vec![format!("{name}: {} {:?}", array.dtype(), array.shape())];
    let cells = cells(array.data());
    let rows = if array.shape().len() > 1 {
        array.shape()[0]
    } else {
        1
    };
    let width = cells.len() / rows.max(1);
    if width == 0 {
        return lines;
    }
    for (row, values) in cells.chunks(width).enumerate().take(ROWS) {
        let more = if width > VALUES { " …" } else { "" };
        let values = values[..width.min(VALUES)].join(" ");
        let row = if rows > 1 || array.shape().len() > 1 {
            format!("{row}: ")
        } else {
            String::new()
        };
        lines.push(format!("  {row}{values}{more}"));
    }
    if rows > ROWS || width > VALUES {
        lines.push("  … (--out FILE writes all)".to_owned());
    }
    lines
}

/// Formats each number with as many digits as identify it.
fn cells(data: &Data) -> Vec<String> {
    macro_rules! each {
        ($v:expr, $show:expr) => {
            $v.iter().map($show).collect()
        };
    }
    match data {
        Data::Bool(v) => each!(v, ToString::to_string),
        Data::I8(v) => each!(v, ToString::to_string),
        Data::I16(v) => each!(v, ToString::to_string),
        Data::I32(v) => each!(v, ToString::to_string),
        Data::I64(v) => each!(v, ToString::to_string),
        Data::U8(v) => each!(v, ToString::to_string),
        Data::U16(v) => each!(v, ToString::to_string),
        Data::U32(v) => each!(v, ToString::to_string),
        Data::U64(v) => each!(v, ToString::to_string),
        Data::F16(v) => each!(v, |x| format!("{:?}", x.to_f32())),
        Data::BF16(v) => each!(v, |x| format!("{:?}", x.to_f32())),
        Data::F32(v) => each!(v, |x| format!("{x:?}")),
        Data::F64(v) => each!(v, |x| format!("{x:?}")),
        Data::Text(v) => v.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shape: &[usize], data: impl Into<Data>) -> String {
        let array = Array::try_new(shape, data).expect("a shape");
        lines("y", &array).join("\n")
    }

    #[test]
    fn a_line_per_row_and_no_more_than_fit() {
        let text = shown(&[2, 2], vec![1.5_f32, -2.0, 1e-12, f32::INFINITY]);
        assert_eq!(text, "y: float32 [2, 2]\n  0: 1.5 -2.0\n  1: 1e-12 inf");
        assert_eq!(shown(&[3], vec![1_i64, 2, 3]), "y: int64 [3]\n  1 2 3");
        assert_eq!(shown(&[0, 4], Vec::<f32>::new()), "y: float32 [0, 4]");
        let long = shown(&[21, 17], vec![true; 21 * 17]);
        assert_eq!(long.lines().count(), 1 + ROWS + 1);
        assert_eq!(
            long.lines().nth(1).map(|l| l.matches("true").count()),
            Some(VALUES)
        );
        assert!(long.ends_with("(--out FILE writes all)"), "{long}");
    }
}
