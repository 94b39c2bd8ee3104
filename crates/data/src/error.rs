use std::io;

use proofmark_domain::BoundsError;

/// What is wrong with a data file, or with what was asked of it.
///
/// Every message names the file, the field, what it holds and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Neither a shipped set nor a file.
    #[error(
        "unknown data set `{given}`{hint}; expected a shipped set ({shipped}), the path of an .npz, .npy, .csv, IDX or CIFAR file, or a folder with a sub-folder of PNG or JPEG files per class"
    )]
    Unknown {
        /// What was asked for.
        given: String,
        /// The nearest name, if any is near.
        hint: String,
        /// The shipped names.
        shipped: String,
    },
    /// A file that cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Read {
        /// The path as given.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file whose name ends in nothing we know.
    #[error(
        "{file}: unknown kind of data file{hint}; expected a folder of images or a name ending in .npz, .npy, .csv, .bin (CIFAR), .idx or -ubyte (the last two also with .gz)"
    )]
    Format {
        /// The path as given.
        file: String,
        /// The nearest ending, if any is near.
        hint: String,
    },
    /// A file that breaks the rules of its format: truncated, damaged or something else altogether.
    #[error("{file}: {part}: {problem}")]
    Corrupt {
        /// The path as given.
        file: String,
        /// Which part of the file.
        part: String,
        /// What is wrong with it, and what was expected.
        problem: String,
    },
    /// A file that announces more than it can honestly hold.
    #[error(
        "{file}: {part} announces {declared} bytes; expected at most {allowed} from a file of {size} bytes: it is damaged or made to exhaust memory"
    )]
    TooLarge {
        /// The path as given.
        file: String,
        /// Which part of the file.
        part: String,
        /// The bytes it announces.
        declared: u128,
        /// The most that would have been read.
        allowed: u64,
        /// The size of the file.
        size: u64,
    },
    /// An array of numbers of the wrong type.
    #[error("{file}: array `{array}` has dtype {dtype}; expected {expected}")]
    Dtype {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Its type as the file writes it.
        dtype: String,
        /// The types that would do.
        expected: &'static str,
    },
    /// An array of the wrong shape.
    #[error("{file}: array `{array}` has shape {shape:?}; expected {expected}")]
    Shape {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The shapes that would do.
        expected: String,
    },
    /// Something the file must have and has not.
    #[error("{file}: has no {what}; it has {has}")]
    Missing {
        /// The path as given.
        file: String,
        /// What is missing.
        what: String,
        /// What there is instead.
        has: String,
    },
    /// Data that need bounds and have none.
    #[error(
        "{file}: `{array}` holds {values} and states no bounds; add `--bounds LO,HI`, the least and greatest value it may take (in a policy `bounds = [LO, HI]` under [[data]]){also}"
    )]
    NoBounds {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Its type and range, in words.
        values: String,
        /// Another way to state them, where the format has one.
        also: &'static str,
    },
    /// Whole numbers that may be pixels, sound or features.
    #[error(
        "{file}: `{array}` holds {values}, and does not say what they are; add `--bounds LO,HI` to keep features as they are, within these bounds, or `--units scaled` to divide them by {scale}, as pixels and sound are (in a policy `bounds = [LO, HI]` or `units = \"scaled\"` under [[data]]){also}"
    )]
    NoUnits {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Its type, shape and range, in words.
        values: String,
        /// What `scaled` divides by.
        scale: f32,
        /// Another way to state bounds, where the format has one.
        also: &'static str,
    },
    /// Data that cannot be scaled as asked.
    #[error(
        "{file}: `{array}` holds {dtype} values, and `--units scaled` knows uint8 and uint16 (pixels) and int16 (sound); leave it out, and state what the model wants with `--scale`"
    )]
    Scale {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// `NumPy`'s name of its type.
        dtype: String,
    },
    /// Arrays whose names leave open which are inputs and which labels.
    #[error(
        "{file}: holds {has}: which are the inputs and which the labels? `--arrays INPUTS,LABELS` names them (in a policy `arrays = [\"INPUTS\", \"LABELS\"]` under [[data]]), as does storing only `x` and `y`"
    )]
    Arrays {
        /// The path as given.
        file: String,
        /// The arrays there are.
        has: String,
    },
    /// Something was stated that has no meaning for this kind of file.
    #[error(
        "{file}: {option} is only for {only}; leave it out (in a policy, the field of that name)"
    )]
    Option {
        /// The path as given.
        file: String,
        /// What was stated.
        option: &'static str,
        /// Which data it is for.
        only: &'static str,
    },
    /// Bounds that are none.
    #[error("{file}: {source}")]
    Bounds {
        /// The path as given.
        file: String,
        /// Why.
        source: BoundsError,
    },
    /// Bounds that do not fit the data they are for.
    #[error("{file}: the bounds stated for `{array}` {problem}")]
    BoundsFit {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// What does not fit.
        problem: String,
    },
    /// One value that may not be there.
    #[error("{file}: {at}: {value}; expected {expected}")]
    Value {
        /// The path as given.
        file: String,
        /// Name of the array or column, and the row and feature or the line.
        at: String,
        /// The value.
        value: String,
        /// What would do.
        expected: String,
    },
    /// A label beyond the classes of the model.
    #[error(
        "{file}: sample {id} has label {label}; expected at most {most}, as the model has {classes} classes{hint}"
    )]
    Label {
        /// Name of the set.
        file: String,
        /// The sample.
        id: String,
        /// Its label.
        label: usize,
        /// The greatest label allowed.
        most: usize,
        /// Classes of the model.
        classes: usize,
        /// What may be the reason, where there is a sign of one.
        hint: &'static str,
    },
    /// Class names whose order follows from which of them occur, and they are not as many as the model has.
    #[error(
        "{file}: has {named} class names and the model {classes} classes: which are they? `--classes {first}=INDEX,…` gives each name the index of its output (in a policy `classes = [\"{first}=INDEX\", …]` under [[data]])"
    )]
    Classes {
        /// Name of the set.
        file: String,
        /// Names there are.
        named: usize,
        /// One of them.
        first: String,
        /// Classes of the model.
        classes: usize,
    },
    /// Two arrays that should have one entry per sample, and differ.
    #[error(
        "{file}: `{first}` has {first_len} rows and `{second}` has {second_len}; expected as many of each"
    )]
    Length {
        /// The path as given.
        file: String,
        /// One array.
        first: String,
        /// Its rows.
        first_len: usize,
        /// The other.
        second: String,
        /// Its rows.
        second_len: usize,
    },
    /// Two samples of the same name.
    #[error("{file}: rows {first} and {second} both have the id `{id}`; expected distinct ids")]
    DuplicateId {
        /// The path as given.
        file: String,
        /// The id.
        id: String,
        /// The row that has it first.
        first: usize,
        /// The row that has it again.
        second: usize,
    },
    /// No samples.
    #[error("{file}: holds no samples; expected at least one")]
    Empty {
        /// The path as given.
        file: String,
    },
    /// Rows that the set does not have.
    #[error(
        "{file}: has no rows {start}..{end}; expected a range that is not empty within 0..{rows}"
    )]
    Range {
        /// Name of the set.
        file: String,
        /// First row asked for.
        start: usize,
        /// The row after the last.
        end: usize,
        /// Rows there are.
        rows: usize,
    },
    /// A file that cannot be written; nothing is left behind.
    #[error("{file}: cannot be written: {source}")]
    Write {
        /// The path as given.
        file: String,
        /// Why.
        source: io::Error,
    },
}
