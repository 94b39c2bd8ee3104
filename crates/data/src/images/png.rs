//! PNG: reads and checks the chunks before the pixels, then decodes the pixels.

use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::zune_core::result::DecodingResult;
use zune_png::PngDecoder;

use super::decode::Head;
use super::jpeg;
use super::size::Side;

/// First bytes of every PNG.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Reads the header from the chunks before the pixels.
pub(super) fn head(bytes: &[u8]) -> Result<Head, String> {
    const DAMAGED: &str = "is a damaged PNG: its header is cut off or no PNG header";
    let mut chunks = chunks(bytes);
    let Some((b"IHDR", &[w3, w2, w1, w0, h3, h2, h1, h0, bits, color, 0, 0, interlace])) =
        chunks.next()
    else {
        return Err(DAMAGED.to_owned());
    };
    let known = match color {
        0 => matches!(bits, 1 | 2 | 4 | 8 | 16),
        2 | 4 | 6 => matches!(bits, 8 | 16),
        3 => matches!(bits, 1 | 2 | 4 | 8),
        _ => false,
    };
    if !known || interlace > 1 {
        return Err(format!(
            "is a damaged PNG: no PNG has {bits} bits, colour type {color} and interlace {interlace}"
        ));
    }
    let mut orientation = 1;
    let mut palette = false;
    let mut pixels = false;
    for (kind, body) in chunks {
        match kind {
            b"IDAT" => {
                pixels = true;
                break;
            }
            b"PLTE" => palette = true,
            b"eXIf" => orientation = jpeg::orientation(body),
            b"acTL" => return Err("is animated; expected one picture".to_owned()),
            _ => {}
        }
    }
    if !pixels || (color == 3 && !palette) {
        return Err("is a damaged PNG: it has no pixels, or no palette for them".to_owned());
    }
    Ok(Head {
        side: Side {
            height: u32::from_be_bytes([h3, h2, h1, h0]),
            width: u32::from_be_bytes([w3, w2, w1, w0]),
        },
        channels: if matches!(color, 0 | 4) { 1 } else { 3 },
        bits: bits.max(8),
        orientation,
    })
}

/// Returns the samples without alpha: palettes as colours, bits as bytes.
pub(super) fn pixels(bytes: &[u8], head: &Head) -> Result<Vec<u16>, String> {
    let damaged = |e| format!("is a damaged PNG: {e:?}");
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .png_set_confirm_crc(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        // Alpha may double the size that the header states, and each row of each pass has one byte more.
        .inflate_set_limit(3 * head.bytes() as usize + (1 << 16));
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let (values, most) = match decoder.decode().map_err(damaged)? {
        DecodingResult::U8(values) => (values.into_iter().map(u16::from).collect(), 255),
        DecodingResult::U16(values) => (values, u16::MAX),
        _ => return Err("is a PNG of another depth; expected 8 or 16 bits".to_owned()),
    };
    match decoder.colorspace() {
        Some(ColorSpace::LumaA) => opaque::<2>(&values, most),
        Some(ColorSpace::RGBA) => opaque::<4>(&values, most),
        _ => Ok(values),
    }
}

/// Drops the alpha channel; an error if a pixel is not opaque.
fn opaque<const N: usize>(values: &[u16], most: u16) -> Result<Vec<u16>, String> {
    let (pixels, _) = values.as_chunks::<N>();
    if pixels.iter().any(|p| p[N - 1] != most) {
        return Err(
            "is transparent in places; expected opaque pixels: put it on a background".to_owned(),
        );
    }
    Ok(pixels.iter().flat_map(|p| &p[..N - 1]).copied().collect())
}

/// Returns the kind and body of each complete chunk.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk()?;
        let (kind, after) = after.split_first_chunk()?;
        let (body, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        rest = after.get(4..)?;
        Some((kind, body))
    })
}
