//! Reads the markers of a JPEG file before anything is decoded.

/// Frame header of a JPEG file.
pub(super) struct Frame {
    pub(super) height: u32,
    pub(super) width: u32,
    /// Number of components: 1 for grey, 3 for colours, 4 for inks.
    pub(super) components: u8,
}

/// Returns the frame header; `None` if there is none before the pixels.
pub(super) fn frame(bytes: &[u8]) -> Option<Frame> {
    segments(bytes).find_map(|(marker, body)| {
        // C4, C8 and CC are not frame markers.
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        match body {
            [_, h1, h0, w1, w0, components, ..] if is_frame => Some(Frame {
                height: u16::from_be_bytes([*h1, *h0]).into(),
                width: u16::from_be_bytes([*w1, *w0]).into(),
                components: *components,
            }),
            _ => None,
        }
    })
}

/// Whether the file contains its end marker: a decoder may fill in missing data.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let scan = segments(bytes).find(|(marker, _)| *marker == 0xda);
    scan.is_some_and(|(_, body)| {
        let at = body.as_ptr() as usize - bytes.as_ptr() as usize;
        bytes[at..].windows(2).any(|w| w == [0xff, 0xd9])
    })
}

/// Returns the EXIF orientation, 1 to 8, from a TIFF structure; 1 if none is stated.
pub(super) fn orientation(exif: &[u8]) -> u16 {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    stated_orientation(exif)
        .filter(|o| (1..=8).contains(o))
        .unwrap_or(1)
}

fn stated_orientation(tiff: &[u8]) -> Option<u16> {
    const TAG: u16 = 0x0112;
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let bytes: [u8; 4] = tiff.get(4..8)?.try_into().ok()?;
    let directory = if big {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    } as usize;
    let count = usize::from(short(directory)?);
    (0..count)
        .map(|i| directory + 2 + 12 * i)
        .find(|at| short(*at) == Some(TAG))
        .and_then(|at| short(at + 8))
}

/// Returns the segments before the first pixels: marker and body.
fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut at = 2;
    let mut ended = !bytes.starts_with(&[0xff, 0xd8]);
    std::iter::from_fn(move || {
        if ended {
            return None;
        }
        // Fill bytes and stray bytes may precede a marker.
        while *bytes.get(at)? != 0xff
            || matches!(bytes.get(at + 1)?, 0x00 | 0xff | 0x01 | 0xd0..=0xd8)
        {
            at += 1;
        }
        let marker = *bytes.get(at + 1)?;
        let length: [u8; 2] = bytes.get(at + 2..at + 4)?.try_into().ok()?;
        let end = at + 2 + usize::from(u16::from_be_bytes(length));
        let body = bytes.get(at + 4..end)?;
        at = end;
        ended = marker == 0xda;
        Some((marker, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_in_both_byte_orders() {
        let little = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0";
        let big = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x08\0\0";
        assert_eq!((orientation(little), orientation(big)), (6, 8));
        for cut in 0..little.len() {
            assert!(matches!(orientation(&little[..cut]), 1 | 6));
        }
        assert_eq!(orientation(b"II\x2a\0\xff\xff\xff\xff"), 1);
    }
}
