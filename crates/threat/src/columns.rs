//! Per-row state as columns, so that it can be compacted, moved, saved and loaded together.
//!
//! State that follows the rows of a running attack (points, momenta, step counters) lists its columns once; selecting
//! rows, appending new ones, saving and loading all use that list.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};

use crate::batch::{Batch, host, index};

/// One per-row column.
#[derive(Debug)]
pub enum Column<'a> {
    /// `[rows, features]` on the device.
    Matrix(&'a mut Tensor<2>),
    /// `[rows]` on the device.
    Vector(&'a mut Tensor<1>),
    /// Counters, indices and keys on the host.
    Count(&'a mut Vec<u64>),
    /// `f64` values on the host.
    Real(&'a mut Vec<f64>),
}

/// State that consists of columns, each with a unique name.
pub trait Columns {
    /// Returns every column, always in the same order.
    fn columns(&mut self) -> Vec<(String, Column<'_>)>;
}

impl Columns for () {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        Vec::new()
    }
}

impl Columns for Batch {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        let names: Vec<String> = self.modalities().iter().map(|m| m.name.clone()).collect();
        names
            .into_iter()
            .zip(self.blocks_mut().iter_mut().map(Column::Matrix))
            .collect()
    }
}

impl<C: Columns> Columns for Vec<C> {
    fn columns(&mut self) -> Vec<(String, Column<'_>)> {
        self.iter_mut()
            .enumerate()
            .flat_map(|(i, c)| prefixed(&i.to_string(), c))
            .collect()
    }
}

/// Returns the columns of a part, with `prefix` before their names.
pub fn prefixed<'a>(prefix: &str, part: &'a mut impl Columns) -> Vec<(String, Column<'a>)> {
    part.columns()
        .into_iter()
        .map(|(name, c)| (format!("{prefix}.{name}"), c))
        .collect()
}

/// Keeps the rows at `keep`, in that order.
pub fn select(state: &mut impl Columns, keep: &[usize]) {
    let mut on_device = None;
    for (_, column) in state.columns() {
        match column {
            Column::Matrix(t) => {
                let i = on_device.get_or_insert_with(|| index(keep, &t.device()));
                *t = t.clone().select(0, i.clone());
            }
            Column::Vector(t) => {
                let i = on_device.get_or_insert_with(|| index(keep, &t.device()));
                *t = t.clone().select(0, i.clone());
            }
            Column::Count(v) => *v = keep.iter().map(|i| v[*i]).collect(),
            Column::Real(v) => *v = keep.iter().map(|i| v[*i]).collect(),
        }
    }
}

/// Appends the rows of `fresh`, which has the same columns.
pub fn append<C: Columns>(state: &mut C, fresh: &mut C) {
    for ((_, a), (_, b)) in state.columns().into_iter().zip(fresh.columns()) {
        match (a, b) {
            (Column::Matrix(a), Column::Matrix(b)) => {
                *a = Tensor::cat(vec![a.clone(), b.clone()], 0);
            }
            (Column::Vector(a), Column::Vector(b)) => {
                *a = Tensor::cat(vec![a.clone(), b.clone()], 0);
            }
            (Column::Count(a), Column::Count(b)) => a.append(b),
            (Column::Real(a), Column::Real(b)) => a.append(b),
            // The list of columns is a constant of the type.
            (a, b) => unreachable!("columns {a:?} and {b:?} of one state differ in kind"),
        }
    }
}

/// A column saved on the host.
#[derive(Debug, Clone, PartialEq)]
pub enum Saved {
    /// Shape and values of a matrix or vector.
    Float(Vec<usize>, Vec<f32>),
    /// Counters.
    Count(Vec<u64>),
    /// `f64` values.
    Real(Vec<f64>),
}

/// Error of loading a saved state that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("saved state: column `{column}` {problem}")]
pub struct LoadError {
    /// The column's name.
    pub column: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Copies every column to the host, by name.
pub fn save(state: &mut impl Columns) -> BTreeMap<String, Saved> {
    let saved = |column| match column {
        Column::Matrix(t) => Saved::Float(t.dims().to_vec(), host(t)),
        Column::Vector(t) => Saved::Float(t.dims().to_vec(), host(t)),
        Column::Count(v) => Saved::Count(v.clone()),
        Column::Real(v) => Saved::Real(v.clone()),
    };
    state
        .columns()
        .into_iter()
        .map(|(name, c)| (name, saved(c)))
        .collect()
}

/// Replaces the rows of `state` with saved columns of the same type of state.
pub fn load(
    state: &mut impl Columns,
    saved: &BTreeMap<String, Saved>,
    device: &Device,
) -> Result<(), LoadError> {
    for (name, column) in state.columns() {
        let error = |problem| LoadError {
            column: name.clone(),
            problem,
        };
        let value = saved.get(&name).ok_or_else(|| error("is missing"))?;
        match (column, value) {
            (Column::Matrix(t), Saved::Float(shape, v)) => {
                let [n, f] = shape[..] else {
                    return Err(error("is not a matrix"));
                };
                if f != t.dims()[1] || n * f != v.len() {
                    return Err(error("has another number of features"));
                }
                *t = Tensor::from_data(TensorData::new(v.clone(), [n, f]), device);
            }
            (Column::Vector(t), Saved::Float(shape, v)) => {
                if shape[..] != [v.len()] {
                    return Err(error("is not a vector"));
                }
                *t = Tensor::from_data(TensorData::new(v.clone(), [v.len()]), device);
            }
            (Column::Count(t), Saved::Count(v)) => t.clone_from(v),
            (Column::Real(t), Saved::Real(v)) => t.clone_from(v),
            _ => return Err(error("is of another kind")),
        }
    }
    Ok(())
}
