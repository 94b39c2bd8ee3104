use std::io;

use proofmark_domain::BoundsError;

/// An error in a data file, or in a request about one.
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
        /// Name or path that was given.
        given: String,
        /// Nearest name, if there is one.
        hint: String,
        /// Shipped names.
        shipped: String,
    },
    /// A file that cannot be read.
    #[error("{file}: cannot be read: {source}")]
    Read {
        /// The path as given.
        file: String,
        /// Cause.
        source: io::Error,
    },
    /// A file whose name has an unknown ending.
    #[error(
        "{file}: unknown kind of data file{hint}; expected a folder of images or a name ending in .npz, .npy, .csv, .bin (CIFAR), .idx or -ubyte (the last two also with .gz)"
    )]
    Format {
        /// The path as given.
        file: String,
        /// Nearest ending, if there is one.
        hint: String,
    },
    /// A file that violates its format: truncated, damaged or of another kind.
    #[error("{file}: {part}: {problem}")]
    Corrupt {
        /// The path as given.
        file: String,
        /// Part of the file.
        part: String,
        /// The problem, and what was expected.
        problem: String,
    },
    /// A file that states a larger size than it can hold.
    #[error(
        "{file}: {part} announces {declared} bytes; expected at most {allowed} from a file of {size} bytes: it is damaged or made to exhaust memory"
    )]
    TooLarge {
        /// The path as given.
        file: String,
        /// Part of the file.
        part: String,
        /// Stated number of bytes.
        declared: u128,
        /// Maximum number of bytes allowed.
        allowed: u64,
        /// Size of the file.
        size: u64,
    },
    /// An array of the wrong element type.
    #[error("{file}: array `{array}` has dtype {dtype}; expected {expected}")]
    Dtype {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Element type as the file states it.
        dtype: String,
        /// Accepted types.
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
        /// Accepted shapes.
        expected: String,
    },
    /// Something required that the file does not have.
    #[error("{file}: has no {what}; it has {has}")]
    Missing {
        /// The path as given.
        file: String,
        /// What is missing.
        what: String,
        /// What the file has instead.
        has: String,
    },
    /// Data that needs bounds and has none.
    #[error(
        "{file}: `{array}` holds {values} and states no bounds; add `--bounds LO,HI`, the least and greatest value it may take (in a policy `bounds = [LO, HI]` under [[data]]){also}"
    )]
    NoBounds {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Description of its type and range.
        values: String,
        /// Another way to state bounds, if the format has one.
        also: &'static str,
    },
    /// Whole numbers that could be pixels, sound or features.
    #[error(
        "{file}: `{array}` holds {values}, and does not say what they are; add `--bounds LO,HI` to keep features as they are, within these bounds, or `--units scaled` to divide them by {scale}, as pixels and sound are (in a policy `bounds = [LO, HI]` or `units = \"scaled\"` under [[data]]){also}"
    )]
    NoUnits {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// Description of its type, shape and range.
        values: String,
        /// Divisor of `scaled`.
        scale: f32,
        /// Another way to state bounds, if the format has one.
        also: &'static str,
    },
    /// Data of a type that `scaled` does not support.
    #[error(
        "{file}: `{array}` holds {dtype} values, and `--units scaled` knows uint8 and uint16 (pixels) and int16 (sound); leave it out, and state what the model wants with `--scale`"
    )]
    Scale {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// `NumPy`'s name of the element type.
        dtype: String,
    },
    /// Arrays whose names do not determine which are inputs and which are labels.
    #[error(
        "{file}: holds {has}: which are the inputs and which the labels? `--arrays INPUTS,LABELS` names them (in a policy `arrays = [\"INPUTS\", \"LABELS\"]` under [[data]]), as does storing only `x` and `y`"
    )]
    Arrays {
        /// The path as given.
        file: String,
        /// Arrays in the file.
        has: String,
    },
    /// An option that does not apply to this kind of file.
    #[error(
        "{file}: {option} is only for {only}; leave it out (in a policy, the field of that name)"
    )]
    Option {
        /// The path as given.
        file: String,
        /// The option.
        option: &'static str,
        /// Data that the option applies to.
        only: &'static str,
    },
    /// Invalid bounds.
    #[error("{file}: {source}")]
    Bounds {
        /// The path as given.
        file: String,
        /// Cause.
        source: BoundsError,
    },
    /// Bounds that do not fit their data.
    #[error("{file}: the bounds stated for `{array}` {problem}")]
    BoundsFit {
        /// The path as given.
        file: String,
        /// Name of the array.
        array: String,
        /// The mismatch.
        problem: String,
    },
    /// A value that is not allowed.
    #[error("{file}: {at}: {value}; expected {expected}")]
    Value {
        /// The path as given.
        file: String,
        /// Name of the array or column, and the row and feature or the line.
        at: String,
        /// The value.
        value: String,
        /// Accepted values.
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
        /// Largest label allowed.
        most: usize,
        /// Classes of the model.
        classes: usize,
        /// Likely reason, if there is a sign of one.
        hint: &'static str,
    },
    /// Class names in an order derived from those that occur, whose number differs from the model's classes.
    #[error(
        "{file}: has {named} class names and the model {classes} classes: which are they? `--classes {first}=INDEX,…` gives each name the index of its output (in a policy `classes = [\"{first}=INDEX\", …]` under [[data]])"
    )]
    Classes {
        /// Name of the set.
        file: String,
        /// Number of names.
        named: usize,
        /// One of the names.
        first: String,
        /// Classes of the model.
        classes: usize,
    },
    /// Two arrays with different numbers of rows.
    #[error(
        "{file}: `{first}` has {first_len} rows and `{second}` has {second_len}; expected as many of each"
    )]
    Length {
        /// The path as given.
        file: String,
        /// First array.
        first: String,
        /// Number of its rows.
        first_len: usize,
        /// Second array.
        second: String,
        /// Number of its rows.
        second_len: usize,
    },
    /// Two samples with the same id.
    #[error("{file}: rows {first} and {second} both have the id `{id}`; expected distinct ids")]
    DuplicateId {
        /// The path as given.
        file: String,
        /// The id.
        id: String,
        /// First row with the id.
        first: usize,
        /// Second row with the id.
        second: usize,
    },
    /// No samples.
    #[error("{file}: holds no samples; expected at least one")]
    Empty {
        /// The path as given.
        file: String,
    },
    /// A range that is empty or not within the set.
    #[error(
        "{file}: has no rows {start}..{end}; expected a range that is not empty within 0..{rows}"
    )]
    Range {
        /// Name of the set.
        file: String,
        /// First row requested.
        start: usize,
        /// Row after the last one requested.
        end: usize,
        /// Number of rows in the set.
        rows: usize,
    },
    /// A file that cannot be written; nothing is left behind.
    #[error("{file}: cannot be written: {source}")]
    Write {
        /// The path as given.
        file: String,
        /// Cause.
        source: io::Error,
    },
}
