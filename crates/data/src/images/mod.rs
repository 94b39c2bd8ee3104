//! Folders of images: one sub-folder per class, PNG or JPEG files inside.

mod decode;
mod folder;
mod jpeg;
mod png;
mod size;

pub(crate) use folder::{files, read};
pub use size::{Resize, Side};

/// Transforms of every image of a folder, applied in this order. Default: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Images {
    /// Channels to convert to. Default: those of the files, which must agree.
    pub color: Option<Color>,
    /// Resize, bilinear with antialiasing as in Pillow and torchvision.
    pub resize: Option<Resize>,
    /// Centre crop: height and width.
    pub crop: Option<Side>,
}

/// Channels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown_color)]
pub enum Color {
    /// One channel: `0.299 R + 0.587 G + 0.114 B` of colours.
    Gray,
    /// Three channels: grey is repeated three times.
    Rgb,
}

fn unknown_color(text: &str) -> String {
    format!("color `{text}`; expected gray or rgb")
}
