use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use proofmark_domain::{Bounds, ClassOrder, Kind, Modality, ReadFacts, SampleId, hex, hint};
use sha2::{Digest, Sha256};

use super::decode::{self, Head};
use super::size::{Pixels, Side};
use super::{Color, Images};
use crate::dataset::Parts;
use crate::source::Source;
use crate::{Classes, Column, DataError, Dataset, Options, Units};

/// Maximum number of nested folders below a class folder.
const MAX_DEPTH: usize = 8;
/// Maximum size of one file in bytes.
const LARGEST: u64 = 1 << 28;

/// Reads a folder: every file for the digest and its header, and the pixels of the selected rows only.
///
/// Samples are in the order of their ids, the paths below the folder; the digest covers the id, length and bytes of
/// each.
pub(crate) fn read(folder: &Path, options: &Options) -> Result<Dataset, DataError> {
    let mut listing = Listing::of(folder)?;
    listing.images.sort_by(|a, b| a.id.cmp(&b.id));
    let mut reading = ReadFacts::default();
    let labels = labels(&listing, options.classes.as_ref(), &mut reading)?;
    reading.notes.extend(listing.notes());

    let mut digest = Sha256::new();
    let mut heads = Vec::with_capacity(listing.images.len());
    for image in &listing.images {
        let source = image.open()?;
        heads.push(decode::head(&source.bytes).map_err(|e| image.wrong(e))?);
        digest.update(image.id.as_bytes());
        digest.update([0]);
        digest.update((source.bytes.len() as u64).to_le_bytes());
        digest.update(&source.bytes);
    }
    let format = Format::agreed(&listing.images, &heads, options)?;
    reading.notes.extend(turned(&listing.images, &heads));
    reading.units.insert("x".to_owned(), format.units.clone());
    reading.transforms = transforms(&options.images);

    let ids: Vec<SampleId> = listing
        .images
        .iter()
        .map(|i| SampleId::Name(i.id.clone()))
        .collect();
    let file = folder.display().to_string();
    let (rows, ranks) = options.select.choose(&file, &ids, Some(&labels))?;
    let bounds = format.bounds(&file, options)?;
    let shape = vec![
        format.channels,
        format.side.height as usize,
        format.side.width as usize,
    ];
    let features: usize = shape.iter().product();
    let sizes = rows.iter().map(|row| listing.images[*row].size()).sum();
    let mut values = room(&file, rows.len(), features, sizes)?;
    for row in &rows {
        let (image, head) = (&listing.images[*row], &heads[*row]);
        let source = image.open()?;
        let pixels = decode::pixels(&source.bytes, head).map_err(|e| image.wrong(e))?;
        let pixels = format
            .fitted(pixels, &options.images)
            .map_err(|e| image.wrong(e))?;
        let divisor = match options.units {
            Some(Units::Raw) => 1.0,
            _ if head.bits == 16 => 65_535.0,
            _ => 255.0,
        };
        // Channels are the outermost axis in data units.
        for c in 0..format.channels {
            let plane = pixels.values.iter().skip(c).step_by(format.channels);
            values.extend(plane.map(|v| f32::from(*v) / divisor));
        }
    }
    let modality = Modality {
        name: "x".to_owned(),
        kind: Kind::Image,
        shape,
        bounds,
    };
    let place = |row: usize, feature: usize| format!("{}, feature {feature}", ids[rows[row]]);
    let mut column = Column::checked(&file, modality, values, place, "")?;
    column.whole = format.whole;
    let labels = rows.iter().map(|row| labels[*row]).collect();
    let name = folder
        .file_name()
        .map_or_else(|| file.clone(), |n| n.to_string_lossy().into_owned());
    let set = Dataset::assemble(
        &file,
        Parts {
            sha256: hex(&digest.finalize()),
            ids: Some(rows.iter().map(|row| ids[*row].clone()).collect()),
            ..Parts::of_one(&name, &[], column, Some(labels), reading)
        },
    )?;
    Ok(Dataset {
        total: ids.len(),
        rank: ranks,
        ..set
    })
}

/// Returns every image of a folder, including those behind links; none if the folder cannot be read.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let listing = Listing::of(folder).unwrap_or_default();
    listing.images.into_iter().map(|i| i.path).collect()
}

/// One image file.
struct Image {
    /// Path below the folder, separated by `/`.
    id: String,
    path: PathBuf,
    class: String,
}

impl Image {
    fn size(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |m| m.len())
    }

    fn open(&self) -> Result<Source, DataError> {
        let size = self.size();
        if size > LARGEST {
            return Err(self.wrong(format!("has {size} bytes; expected at most {LARGEST}")));
        }
        Source::read(&self.path)
    }

    fn wrong(&self, problem: String) -> DataError {
        wrong(&self.path, problem)
    }
}

fn wrong(path: &Path, problem: String) -> DataError {
    DataError::Corrupt {
        file: path.display().to_string(),
        part: "image".to_owned(),
        problem,
    }
}

/// Contents of a folder.
#[derive(Default)]
struct Listing {
    classes: BTreeSet<String>,
    images: Vec<Image>,
    /// Skipped files, by path below the folder, without hidden ones.
    others: Vec<String>,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self, DataError> {
        let mut listing = Self::default();
        let mut loose = None;
        for (name, path) in entries(folder)? {
            if path.is_dir() {
                listing.classes.insert(name.clone());
                listing.walk(&path, &name, &name, 0)?;
            } else if kind(&path) == FileKind::Image {
                loose = loose.or(Some(path));
            } else {
                listing.others.push(name);
            }
        }
        let split = |name: &String| {
            let names = ["train", "test", "val", "valid", "validation"];
            names.contains(&name.to_ascii_lowercase().as_str())
        };
        let problem = if listing.classes.is_empty() {
            "has no sub-folders; expected one per class, with its images inside".to_owned()
        } else if listing.classes.iter().all(split) {
            let names: Vec<&str> = listing.classes.iter().map(String::as_str).collect();
            format!(
                "has the sub-folders {}, which are parts of a set and no classes; give one of them",
                names.join(", ")
            )
        } else if let Some(path) = loose {
            format!(
                "has the image {} beside its class folders; expected every image in one of them",
                path.display()
            )
        } else if listing.images.is_empty() {
            "has no .png, .jpg or .jpeg files in its sub-folders".to_owned()
        } else {
            return Ok(listing);
        };
        Err(DataError::Corrupt {
            file: folder.display().to_string(),
            part: "folder".to_owned(),
            problem,
        })
    }

    /// Adds everything below one class folder.
    fn walk(
        &mut self,
        folder: &Path,
        class: &str,
        id: &str,
        depth: usize,
    ) -> Result<(), DataError> {
        if depth > MAX_DEPTH {
            return Err(wrong(
                folder,
                format!(
                    "lies more than {MAX_DEPTH} folders deep; expected images in class folders"
                ),
            ));
        }
        for (name, path) in entries(folder)? {
            let id = format!("{id}/{name}");
            if path.is_dir() {
                self.walk(&path, class, &id, depth + 1)?;
                continue;
            }
            match kind(&path) {
                FileKind::Image => self.images.push(Image {
                    id,
                    path,
                    class: class.to_owned(),
                }),
                FileKind::OtherImage => {
                    return Err(wrong(
                        &path,
                        "is no PNG or JPEG by its name; convert it, or move it away".to_owned(),
                    ));
                }
                FileKind::Other => self.others.push(id),
            }
        }
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(first) = self.others.first() {
            let more = match self.others.len() {
                1 => String::new(),
                n => format!(" and {} more", n - 1),
            };
            notes.push(format!("no images, passed over: {first}{more}"));
        }
        let used: BTreeSet<&str> = self.images.iter().map(|i| i.class.as_str()).collect();
        let empty: Vec<&str> = self
            .classes
            .iter()
            .map(String::as_str)
            .filter(|c| !used.contains(c))
            .collect();
        if !empty.is_empty() {
            notes.push(format!("classes without images: {}", empty.join(", ")));
        }
        notes
    }
}

/// Returns the entries of a folder, sorted by name, without hidden files and files of the operating system.
fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, DataError> {
    let failed = |source| DataError::Read {
        file: folder.display().to_string(),
        source,
    };
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .and_then(OsStr::to_str)
            .ok_or_else(|| wrong(&path, "has a name that is not UTF-8; rename it".to_owned()))?;
        let system = ["Thumbs.db", "desktop.ini", "__MACOSX"].contains(&name);
        if !name.starts_with('.') && !system {
            all.push((name.to_owned(), path));
        }
    }
    all.sort();
    Ok(all)
}

#[derive(PartialEq)]
enum FileKind {
    Image,
    /// Image in a format that is not read.
    OtherImage,
    Other,
}

fn kind(path: &Path) -> FileKind {
    let ending = path.extension().unwrap_or_default().to_string_lossy();
    match ending.to_ascii_lowercase().as_str() {
        "png" | "jpg" | "jpeg" | "jpe" | "jfif" => FileKind::Image,
        "webp" | "gif" | "bmp" | "tif" | "tiff" | "avif" | "heic" | "heif" | "ppm" | "pgm"
        | "jp2" | "j2k" | "jxl" | "exr" | "tga" | "ico" | "dcm" | "svg" => FileKind::OtherImage,
        _ => FileKind::Other,
    }
}

/// Returns the label of each image, from the names of the class folders.
fn labels(
    listing: &Listing,
    classes: Option<&Classes>,
    reading: &mut ReadFacts,
) -> Result<Vec<usize>, DataError> {
    let names: Vec<&String> = listing.classes.iter().collect();
    let first = |name: &str| listing.images.iter().find(|i| i.class == name);
    let refuse = |name: &str, problem: String| {
        let path = first(name).map_or_else(|| PathBuf::from(name), |i| i.path.clone());
        Err(DataError::Corrupt {
            file: path.parent().unwrap_or(&path).display().to_string(),
            part: "class folder".to_owned(),
            problem,
        })
    };
    let numbers: Option<Vec<i64>> = names.iter().map(|n| n.parse().ok()).collect();
    let (map, order) = match (classes, numbers) {
        (Some(Classes::Stated(map)), _) => {
            if let Some(name) = names.iter().find(|n| !map.contains_key(**n)) {
                let hint = hint(name, map.keys().map(String::as_str));
                return refuse(name, format!("is none of the classes stated{hint}"));
            }
            (map.clone(), ClassOrder::Stated)
        }
        (Some(Classes::Numeric), Some(numbers)) => {
            let mut pairs: Vec<(i64, &String)> = numbers.into_iter().zip(names).collect();
            pairs.sort_unstable();
            let map = pairs.into_iter().zip(0..).map(|((_, n), i)| (n.clone(), i));
            (map.collect(), ClassOrder::Numeric)
        }
        (Some(Classes::Numeric), None) => {
            let name = names.iter().find(|n| n.parse::<i64>().is_err());
            let name = name.map_or("", |n| n.as_str());
            return refuse(name, "is no number, as `--classes numeric` says".to_owned());
        }
        (None, Some(numbers)) if !numbers.is_sorted() => {
            return refuse(
                names[0],
                format!(
                    "is a number, and the order of the numbers as text is {}, … : say `--classes sorted` for that order (torchvision's and Keras's), or `--classes numeric`",
                    names
                        .iter()
                        .take(4)
                        .map(|n| n.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            );
        }
        (None | Some(Classes::Sorted), _) => {
            let map: BTreeMap<String, usize> = names.into_iter().cloned().zip(0..).collect();
            (map, ClassOrder::Sorted)
        }
    };
    let labels = listing.images.iter().map(|i| map[&i.class]).collect();
    (reading.classes, reading.class_order) = (map, Some(order));
    Ok(labels)
}

/// Returns a note if files state an EXIF orientation other than 1.
fn turned(images: &[Image], heads: &[Head]) -> Option<String> {
    let mut all = images.iter().zip(heads).filter(|(_, h)| h.orientation != 1);
    let first = all.next()?;
    let count = all.count() + 1;
    let state = if count == 1 {
        "1 file states one".to_owned()
    } else {
        format!("{count} files state one")
    };
    Some(format!(
        "EXIF orientation is not applied, as Pillow and torchvision do not: {state}, such as {} ({})",
        first.0.id, first.1.orientation
    ))
}

/// Format shared by all images of a set.
struct Format {
    channels: usize,
    side: Side,
    units: String,
    /// Largest value that can be stored.
    most: f32,
    /// Type of the pixels if they are kept as stored.
    whole: Option<&'static str>,
}

impl Format {
    /// Returns the format of all images; an error that names two files if they differ.
    fn agreed(images: &[Image], heads: &[Head], options: &Options) -> Result<Self, DataError> {
        let (Some(first), Some(image)) = (heads.first(), images.first()) else {
            return Err(DataError::Empty {
                file: String::new(),
            });
        };
        let stated = &options.images;
        let channels = match stated.color {
            Some(Color::Gray) => 1,
            Some(Color::Rgb) => 3,
            None => first.channels,
        };
        let side = |head: &Head| {
            let side = stated.resize.map_or(head.side, |r| r.of(head.side));
            stated.crop.unwrap_or(side)
        };
        let bits: BTreeSet<u8> = heads.iter().map(|h| h.bits).collect();
        let raw = options.units == Some(Units::Raw);
        for (other, head) in images.iter().zip(heads) {
            if stated.color.is_none() && head.channels != channels {
                let word = |n| if n == 1 { "grey" } else { "in colour" };
                return Err(other.wrong(format!(
                    "is {} and {} is {}; expected one kind: say `--color rgb` or `--color gray` to convert all",
                    word(head.channels),
                    image.id,
                    word(channels)
                )));
            }
            if side(head) != side(first) {
                let becomes = |head: &Head| {
                    if stated.resize.is_some() {
                        format!("{} after resizing", side(head))
                    } else {
                        side(head).to_string()
                    }
                };
                return Err(other.wrong(format!(
                    "is {} (height x width) and {} is {}; expected one size: add `--resize` and `--crop` as the model was trained, such as `--resize 256 --crop 224`",
                    becomes(head),
                    image.id,
                    becomes(first)
                )));
            }
            if head.bits != first.bits && raw {
                return Err(other.wrong(format!(
                    "has {} bits and {} has {}; expected as many for `--units raw`",
                    head.bits, image.id, first.bits
                )));
            }
            if stated.resize.is_some() && head.bits == 16 {
                return Err(other.wrong(
                    "has 16 bits, and `--resize` is for 8-bit images; resize it beforehand"
                        .to_owned(),
                ));
            }
            let resized = stated.resize.map_or(head.side, |r| r.of(head.side));
            let widest = channels.max(head.channels) as u64;
            let size = u64::from(resized.height) * u64::from(resized.width) * widest;
            if size > decode::MOST {
                return Err(other.wrong(format!(
                    "would become {resized}; expected at most {} bytes",
                    decode::MOST
                )));
            }
            if let Some(crop) = stated.crop
                && (crop.height > resized.height || crop.width > resized.width)
            {
                return Err(other.wrong(format!(
                    "is {resized} (height x width), smaller than `--crop {crop}`; add a larger `--resize`"
                )));
            }
        }
        let units: Vec<String> = bits
            .iter()
            .map(|bits| match (raw, bits) {
                (true, bits) => format!("uint{bits} as stored"),
                (false, 16) => "uint16 / 65535".to_owned(),
                (false, _) => "uint8 / 255".to_owned(),
            })
            .collect();
        Ok(Self {
            channels,
            side: side(first),
            units: units.join(", "),
            most: if first.bits == 16 { 65_535.0 } else { 255.0 },
            whole: raw.then_some(if first.bits == 16 { "uint16" } else { "uint8" }),
        })
    }

    fn bounds(&self, file: &str, options: &Options) -> Result<Bounds, DataError> {
        let raw = options.units == Some(Units::Raw);
        let own = Bounds::uniform(0.0, if raw { self.most } else { 1.0 });
        let own = own.map_err(|source| DataError::Bounds {
            file: file.to_owned(),
            source,
        })?;
        match options.bounds_of("x") {
            Some(stated) if stated != own && !raw => Err(DataError::BoundsFit {
                file: file.to_owned(),
                array: "x".to_owned(),
                problem: format!(
                    "begin {},{}, but pixels are scaled to 0,1; leave the bounds out, or keep the numbers as they are with `--units raw`",
                    stated.low(0),
                    stated.high(0)
                ),
            }),
            Some(stated) => Ok(stated),
            None => Ok(own),
        }
    }

    /// Converts an image to this format: colours, then size, then crop.
    fn fitted(&self, pixels: Pixels, stated: &Images) -> Result<Pixels, String> {
        let mut pixels = recoloured(pixels, self.channels);
        if let Some(resize) = stated.resize {
            let to = resize.of(pixels.side);
            pixels = pixels.resized(to);
        }
        match stated.crop {
            None => Ok(pixels),
            Some(crop) => pixels
                .cropped(crop)
                .ok_or_else(|| format!("is smaller than the crop {crop}")),
        }
    }
}

/// Describes the transforms of every image, for reports.
fn transforms(stated: &Images) -> Vec<String> {
    let color = stated.color.map(|c| match c {
        Color::Gray => "to grey".to_owned(),
        Color::Rgb => "to rgb".to_owned(),
    });
    let resize = stated
        .resize
        .map(|r| format!("resize {r} (bilinear, antialiased)"));
    let crop = stated.crop.map(|c| format!("crop {c} (centre)"));
    color.into_iter().chain(resize).chain(crop).collect()
}

fn recoloured(pixels: Pixels, channels: usize) -> Pixels {
    let values = match (pixels.channels, channels) {
        (1, 3) => pixels.values.iter().flat_map(|v| [*v; 3]).collect(),
        (3, 1) => {
            // Pillow's weights: 0.299, 0.587 and 0.114 in 16 bits.
            let (rgb, _) = pixels.values.as_chunks::<3>();
            let gray = |[r, g, b]: &[u16; 3]| {
                let [r, g, b] = [r, g, b].map(|v| u64::from(*v));
                ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u16
            };
            rgb.iter().map(gray).collect()
        }
        _ => pixels.values,
    };
    Pixels {
        channels,
        values,
        ..pixels
    }
}

/// Allocates memory for the values of a set before the first image is decoded. `size` is the total size of the files.
fn room(file: &str, rows: usize, features: usize, size: u64) -> Result<Vec<f32>, DataError> {
    // These limits allow a large PNG of one colour or an enlarged thumbnail; no photographs exceed them.
    const ALWAYS: u64 = 1 << 28;
    const FACTOR: u64 = 1000;
    let declared = rows as u128 * features as u128 * size_of::<f32>() as u128;
    let allowed = ALWAYS.saturating_add(size.saturating_mul(FACTOR));
    if declared > u128::from(allowed) {
        return Err(DataError::TooLarge {
            file: file.to_owned(),
            part: format!("{rows} images of {features} values"),
            declared,
            allowed,
            size,
        });
    }
    let mut values = Vec::new();
    if values.try_reserve_exact(rows * features).is_ok() {
        return Ok(values);
    }
    Err(DataError::Corrupt {
        file: file.to_owned(),
        part: "folder".to_owned(),
        problem: format!(
            "{rows} images of {features} values do not fit into memory; take fewer (`--limit`) or smaller ones (`--resize`)"
        ),
    })
}
