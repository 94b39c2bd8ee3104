//! Cuts arrays into rows along their first axis and joins them again.

use crate::array::{Array, Data, with_data};
use crate::node::OpResult;

impl Data {
    fn append(&mut self, other: &Self) -> OpResult<()> {
        macro_rules! same_type {
            ($($variant:ident),*) => {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => a.extend_from_slice(b),)*
                    (a, b) => return Err(format!("is {} and {} by turns", a.dtype(), b.dtype())),
                }
            };
        }
        same_type!(
            Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64, Text
        );
        Ok(())
    }
}

impl Array {
    /// Returns the rows from `start` to `end`; beyond the last row, that row is repeated.
    pub(crate) fn rows(&self, start: usize, end: usize) -> Self {
        let mut shape = self.shape().to_vec();
        let each = shape[1..].iter().product::<usize>();
        let last = shape[0] - 1;
        shape[0] = end - start;
        let from: Vec<usize> = (start..end)
            .flat_map(|row| (0..each).map(move |i| row.min(last) * each + i))
            .collect();
        self.pick(&from, shape)
    }

    /// Concatenates arrays along their first axis; scalars become a list.
    pub(crate) fn joined(parts: &[Self]) -> OpResult<Self> {
        let Some(first) = parts.first() else {
            return Err("has no rows".into());
        };
        let each = first.shape().get(1..).unwrap_or_default();
        let (mut rows, mut data) = (0, with_data!(first.data(), v => v[..0].to_vec().into()));
        for part in parts {
            if part.shape().len() != first.shape().len()
                || part.shape().get(1..).unwrap_or_default() != each
            {
                return Err(format!(
                    "has shape {:?} for some rows and {:?} for others",
                    first.shape(),
                    part.shape()
                ));
            }
            rows += part.shape().first().copied().unwrap_or(1);
            Data::append(&mut data, part.data())?;
        }
        let mut shape = vec![rows];
        shape.extend(each);
        Self::try_new(shape, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_the_parts_restores_the_array() {
        let all = Array::new([5, 2], (0..10).collect::<Vec<i64>>());
        let parts = [all.rows(0, 2), all.rows(2, 4), all.rows(4, 6)];
        assert_eq!(parts[2], Array::new([2, 2], vec![8i64, 9, 8, 9]));
        let cut = [parts[0].clone(), parts[1].clone(), parts[2].rows(0, 1)];
        assert_eq!(Array::joined(&cut), Ok(all));
    }

    #[test]
    fn scalars_join_to_a_list_and_mismatches_are_errors() {
        let one = |x: f32| Array::new([], vec![x]);
        let list = Array::joined(&[one(1.0), one(2.0)]);
        assert_eq!(list, Ok(Array::new([2], vec![1f32, 2.0])));
        let other = Array::new([], vec![true]);
        let text = Array::joined(&[one(1.0), other]).unwrap_err();
        assert!(text.contains("float32 and bool"), "{text}");
        let wide = Array::new([1, 2], vec![1f32; 2]);
        let narrow = Array::new([1, 3], vec![1f32; 3]);
        let text = Array::joined(&[wide, narrow]).unwrap_err();
        assert!(text.contains("[1, 2]") && text.contains("[1, 3]"), "{text}");
    }
}
