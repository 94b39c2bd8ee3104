//! Decodes one PNG or JPEG file: first its header, then its pixels.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::size::{Pixels, Side};
use super::{jpeg, png};

/// Maximum number of bytes of a decoded image.
pub(super) const MOST: u64 = 1 << 28;

use png::SIGNATURE as PNG;

/// Properties stated in the header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) side: Side,
    /// Number of channels without alpha, 1 or 3.
    pub(super) channels: usize,
    /// Bits per channel, 8 or 16.
    pub(super) bits: u8,
    /// EXIF orientation, 1 to 8.
    pub(super) orientation: u16,
}

impl Head {
    /// Returns the number of bytes of the decoded image, without alpha.
    pub(super) fn bytes(&self) -> u64 {
        let Side { height, width } = self.side;
        u64::from(height) * u64::from(width) * self.channels as u64 * u64::from(self.bits / 8)
    }
}

/// Reads and checks the header; the error says what is wrong with the file.
pub(super) fn head(bytes: &[u8]) -> Result<Head, String> {
    let head = if bytes.starts_with(PNG) {
        png::head(bytes)?
    } else if bytes.starts_with(&[0xff, 0xd8]) {
        let frame = jpeg::frame(bytes).ok_or("is a JPEG without a frame header: it is damaged")?;
        let channels = match frame.components {
            1 => 1,
            3 => 3,
            4 => return Err("is a CMYK JPEG; expected grey or RGB: convert it".to_owned()),
            n => return Err(format!("is a JPEG of {n} components; expected 1 or 3")),
        };
        if !jpeg::is_whole(bytes) {
            return Err("is truncated: the JPEG has no end".to_owned());
        }
        let mut decoder = jpeg_decoder(bytes, true);
        // Faults in the headers are reported when the pixels are decoded.
        let exif = decoder
            .decode_headers()
            .ok()
            .and_then(|()| decoder.exif().cloned());
        Head {
            side: Side {
                height: frame.height,
                width: frame.width,
            },
            channels,
            bits: 8,
            orientation: exif.map_or(1, |exif| jpeg::orientation(&exif)),
        }
    } else {
        return Err(format!("is no PNG or JPEG{}", other(bytes)));
    };
    let Side { height, width } = head.side;
    let size = head.bytes();
    if size == 0 || size > MOST {
        return Err(format!(
            "announces {width} by {height} pixels, {size} bytes; expected at least 1 and at most {MOST} bytes"
        ));
    }
    Ok(head)
}

/// Returns the pixels, without alpha, of a file whose header has been read.
pub(super) fn pixels(bytes: &[u8], head: &Head) -> Result<Pixels, String> {
    let values = if bytes.starts_with(PNG) {
        png::pixels(bytes, head)?
    } else {
        let decoded = jpeg_decoder(bytes, true).decode();
        // Extra bytes between headers are harmless; any other fault is an error.
        let decoded = match decoded {
            Err(e) if format!("{e:?}").contains("Extra bytes") => {
                jpeg_decoder(bytes, false).decode()
            }
            decoded => decoded,
        };
        let samples = decoded.map_err(|e| format!("is a damaged JPEG: {e:?}"))?;
        samples.into_iter().map(u16::from).collect()
    };
    let Side { height, width } = head.side;
    let expected = height as usize * width as usize * head.channels;
    if values.len() != expected {
        return Err(format!(
            "has {} samples; expected {expected}: it is damaged",
            values.len()
        ));
    }
    Ok(Pixels {
        side: head.side,
        channels: head.channels,
        values,
    })
}

fn jpeg_decoder(bytes: &[u8], strict: bool) -> JpegDecoder<ZCursor<&[u8]>> {
    let gray = jpeg::frame(bytes).is_some_and(|f| f.components == 1);
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_out_colorspace(if gray {
            ColorSpace::Luma
        } else {
            ColorSpace::RGB
        });
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// Returns words for an error about a file that is another kind of image.
fn other(bytes: &[u8]) -> &'static str {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at_8 = bytes.get(8..12).unwrap_or_default();
    match () {
        () if starts(b"RIFF") && at_8 == b"WEBP" => ", but WebP",
        () if starts(b"GIF8") => ", but GIF",
        () if starts(b"BM") => ", but BMP",
        () if starts(b"II*\0") || starts(b"MM\0*") => ", but TIFF",
        () if at_8 == b"avif" || at_8 == b"heic" => ", but AVIF or HEIC",
        () if bytes.is_empty() => ": it is empty",
        () => "",
    }
}
