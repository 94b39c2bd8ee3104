//! Options of a data set, each defined once for the command line and for policies.

use std::path::PathBuf;

use proofmark_domain::Bounds;
use proofmark_domain::option::{Form, Given, OptionEntry};

use crate::{Arrays, Classes, Options};

const HEADING: &str = "Data";

/// Sets a field, or passes the error on.
fn put<T>(place: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *place = Some(value?);
    Ok(())
}

fn bounds(given: &Given) -> Result<Bounds, String> {
    match given.numbers().as_deref() {
        Ok([low, high]) => Bounds::uniform(*low as f32, *high as f32).map_err(|e| e.to_string()),
        _ => Err("expected two finite numbers, such as 0,1".to_owned()),
    }
}

/// Reads names in the order of the classes, or a word for their order.
fn classes(given: &Given) -> Result<Classes, String> {
    match given {
        Given::List(_) => Classes::listed(given.texts()?.iter().map(String::as_str)),
        // A policy states names as a list.
        Given::Text(_) => given.word(&[("sorted", Classes::Sorted), ("numeric", Classes::Numeric)]),
        _ => given.parsed(),
    }
}

use Form::{Many, One};

impl proofmark_domain::option::Options for Options {
    const ALL: &'static [OptionEntry<Self>] = &[
        OptionEntry::<Self>::new(
            Many,
            HEADING,
            "bounds",
            "[MOD=]LO,HI",
            "Lowest and highest value the data may take, MOD=LO,HI for one of several arrays; default: what the file \
             states, 0,1 for pixels",
            |o, g| {
                let (all, named) = g.one_or_by_name()?;
                if let Some(all) = all {
                    o.bounds = Some(bounds(&all)?);
                }
                for (array, given) in named {
                    let bounds = bounds(&given).map_err(|e| format!("{array}: {e}"))?;
                    o.array_bounds.insert(array, bounds);
                }
                Ok(())
            },
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            Many,
            HEADING,
            "kind",
            "[MOD=]KIND",
            "Kind of the data, if its shape does not determine it: image, audio or table, MOD=KIND for one of several \
             arrays; default: `[n, features]` is a table, more axes an image, scaled 16-bit numbers audio",
            |o, g| {
                let (all, named) = g.one_or_by_name()?;
                if let Some(all) = all {
                    o.kind = Some(all.parsed()?);
                }
                for (array, given) in named {
                    o.array_kinds.insert(array, given.parsed()?);
                }
                Ok(())
            },
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "classes",
            "NAME,…",
            "Class names in the order of the model's outputs, or NAME=INDEX,…, or sorted or numeric for the order of \
             the names that occur; default: labels are indices",
            |o, g| put(&mut o.classes, classes(g)),
        )
        .with_hyphens(),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "arrays",
            "X[,Y]",
            "Which arrays of an .npz file are inputs and labels; default: `x` and `y`, or names such as `x_test` and \
             `y_test`",
            |o, g| {
                let names = g.names()?;
                put(
                    &mut o.arrays,
                    Arrays::named(names.iter().map(String::as_str)),
                )
            },
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "labels_file",
            "FILE",
            "File with the labels of an IDX or .npy file; default: the one beside it (`y_test.npy` for `x_test.npy`)",
            |o, g| put(&mut o.labels, g.text().map(PathBuf::from)),
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "label_column",
            "COL",
            "Column of a CSV file that holds the labels, or the columns of targets, separated by commas, for a criterion \
             about numbers or several labels; default: `label` or `y`, and `target` for numbers",
            |o, g| put(&mut o.label_column, g.text()),
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "delimiter",
            "CHAR",
            "Character between the cells of a CSV file, such as ';' or '\\t'; default: ,",
            |o, g| {
                o.delimiter = g.parsed()?;
                Ok(())
            },
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "units",
            "UNITS",
            "Whole numbers raw (as stored) or scaled (uint8 / 255, uint16 / 65535, int16 / 32768); default: images of \
             uint8 are scaled, all else is raw within stated bounds",
            |o, g| put(&mut o.units, g.parsed()),
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "resize",
            "N|HxW",
            "Resize the images of a folder: N for the shorter side, or height x width (bilinear, as Pillow does); \
             default: as they are",
            |o, g| put(&mut o.images.resize, g.parsed_number_or_text()),
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "crop",
            "N|HxW",
            "Crop the centre of each image of a folder, N or height x width, after resizing; default: the whole image",
            |o, g| put(&mut o.images.crop, g.parsed_number_or_text()),
        ),
        OptionEntry::<Self>::new(
            One,
            HEADING,
            "color",
            "COLOR",
            "Channels of the images of a folder: gray or rgb; default: those of the files, which must agree",
            |o, g| put(&mut o.images.color, g.parsed()),
        ),
    ];
}
