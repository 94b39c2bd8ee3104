//! Folders of images: one sub-folder per class, PNG or JPEG files inside.

mod decode;
mod folder;
mod jpeg;
mod png;
mod size;

pub(crate) use folder::{files, read};
pub use size::{Resize, Side};

/// What is done to every image of a folder, in this order. Default: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Images {
    /// How many channels there are to be. Default: those of the files, which must agree.
    pub color: Option<Color>,
    /// Bilinear with antialiasing, as Pillow and torchvision resize.
    pub resize: Option<Resize>,
    /// The middle of the image: height and width.
    pub crop: Option<Side>,
}

/// The channels of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
#[strum(parse_err_ty = String, parse_err_fn = unknown_color)]
pub enum Color {
    /// One: colours by `0.299 R + 0.587 G + 0.114 B`.
    Gray,
    /// Three: grey three times.
    Rgb,
}

fn unknown_color(text: &str) -> String {
    format!("color `{text}`; expected gray or rgb")
}
