use std::path::PathBuf;

use clap::Args;
use proofmark::data::{Arrays, Classes, Color, Delimiter, Images, Options, Resize, Side, Units};
use proofmark::domain::{Bounds, Kind};

use crate::failure::Failure;

/// What may be said of a data set beyond its name.
#[derive(Debug, Args, Default)]
pub(crate) struct Data {
    /// Lowest and highest value the data may take, MOD=LO,HI for one of several arrays; default: what the file states,
    /// 0,1 for pixels
    #[arg(
        long,
        value_name = "[MOD=]LO,HI",
        allow_hyphen_values = true,
        help_heading = "Data"
    )]
    bounds: Vec<String>,
    /// What the numbers are, where the shape does not say it: image, audio or table, MOD=KIND for one of several arrays;
    /// default: `[n, features]` are a table, more axes an image, scaled 16-bit numbers sound
    #[arg(long, value_name = "[MOD=]KIND", help_heading = "Data")]
    kind: Vec<String>,
    /// Class names in the order of the model's outputs, or NAME=INDEX,…, or sorted or numeric for the order of those
    /// that occur; default: labels are indices
    #[arg(
        long,
        value_name = "NAME,…",
        allow_hyphen_values = true,
        help_heading = "Data"
    )]
    classes: Option<String>,
    /// Which arrays of an .npz file are inputs and labels; default: `x` and `y`, or names such as `x_test` and `y_test`
    #[arg(long, value_name = "X[,Y]", help_heading = "Data")]
    arrays: Option<String>,
    /// File with the labels of an IDX or .npy file; default: the one beside it (`y_test.npy` for `x_test.npy`)
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    labels_file: Option<PathBuf>,
    /// Column of a CSV file that holds the labels; default: `label` or `y`
    #[arg(long, value_name = "COL", help_heading = "Data")]
    label_column: Option<String>,
    /// Character between the cells of a CSV file, such as ';' or '\\t'; default: ,
    #[arg(long, value_name = "CHAR", help_heading = "Data")]
    delimiter: Option<Delimiter>,
    /// Whole numbers raw (as stored) or scaled (uint8 / 255, uint16 / 65535, int16 / 32768); default: images of uint8
    /// are scaled, all else is raw within stated bounds
    #[arg(long, value_name = "UNITS", help_heading = "Data")]
    units: Option<Units>,
    /// Resize the images of a folder: N for the shorter side, or height x width (bilinear, as Pillow does); default: as they are
    #[arg(long, value_name = "N|HxW", help_heading = "Data")]
    resize: Option<Resize>,
    /// Take the middle of each image of a folder, N or height x width, after resizing; default: all of it
    #[arg(long, value_name = "N|HxW", help_heading = "Data")]
    crop: Option<Side>,
    /// Channels of the images of a folder: gray or rgb; default: those of the files, which must agree
    #[arg(long, value_name = "COLOR", help_heading = "Data")]
    color: Option<Color>,
}

impl Data {
    /// The same for the library.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        let mut options = Options {
            label_column: self.label_column.clone(),
            labels: self.labels_file.clone(),
            delimiter: self.delimiter.unwrap_or_default(),
            units: self.units,
            images: Images {
                color: self.color,
                resize: self.resize,
                crop: self.crop,
            },
            ..Options::default()
        };
        for text in &self.bounds {
            let twice = match text.split_once('=') {
                Some((array, pair)) => {
                    let bounds = bounds(text, pair)?;
                    options
                        .array_bounds
                        .insert(array.to_owned(), bounds)
                        .is_some()
                }
                None => options.bounds.replace(bounds(text, text)?).is_some(),
            };
            if twice {
                return Err(Failure(format!(
                    "--bounds {text}: given twice for the same array"
                )));
            }
        }
        for text in &self.kind {
            let (array, kind) = match text.split_once('=') {
                Some((array, kind)) => (Some(array), kind),
                None => (None, text.as_str()),
            };
            let kind: Kind = kind.parse().map_err(|e| Failure(format!("--{e}")))?;
            let twice = match array {
                Some(array) => options.array_kinds.insert(array.to_owned(), kind).is_some(),
                None => options.kind.replace(kind).is_some(),
            };
            if twice {
                return Err(Failure(format!(
                    "--kind {text}: given twice for the same array"
                )));
            }
        }
        if let Some(text) = &self.classes {
            let classes: Classes = text.parse().map_err(|e| Failure(format!("--{e}")))?;
            options.classes = Some(classes);
        }
        if let Some(text) = &self.arrays {
            let arrays = Arrays::named(text.split(',')).map_err(|e| Failure(format!("--{e}")))?;
            options.arrays = Some(arrays);
        }
        Ok(options)
    }
}

fn bounds(given: &str, pair: &str) -> Result<Bounds, Failure> {
    let expected = || {
        Failure(format!(
            "--bounds {given}; expected two numbers, such as 0,1"
        ))
    };
    let (low, high) = pair.split_once(',').ok_or_else(expected)?;
    let (Ok(low), Ok(high)) = (low.trim().parse(), high.trim().parse()) else {
        return Err(expected());
    };
    Bounds::uniform(low, high).map_err(|e| Failure(format!("--bounds: {e}")))
}
