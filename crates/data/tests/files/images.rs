//! Folders of images. The .jpg files and the sums that images are compared with were made with Pillow.

use std::io::Write as _;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use proofmark_data::{Color, Images, Options, Rows, Selection, Side, open};
use proofmark_domain::{ClassOrder, Kind, SampleId, Seed};

use crate::make::*;

const JPEGS: [(&str, &[u8]); 5] = [
    ("rgb", include_bytes!("jpeg/rgb.jpg")),
    ("progressive", include_bytes!("jpeg/progressive.jpg")),
    ("turned", include_bytes!("jpeg/turned.jpg")),
    ("gray", include_bytes!("jpeg/gray.jpg")),
    ("cmyk", include_bytes!("jpeg/cmyk.jpg")),
];

fn jpeg(name: &str) -> &'static [u8] {
    JPEGS.iter().find(|j| j.0 == name).unwrap().1
}

/// Returns a PNG; `color` and `bits` as its header states them, rows not filtered.
fn png(width: u32, height: u32, color: u8, bits: u8, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(
        &mut bytes,
        b"IHDR",
        &[&sizes[..], &[bits, color, 0, 0, 0]].concat(),
    );
    if color == PALETTE {
        chunk(&mut bytes, b"PLTE", &[0, 0, 0, 51, 102, 255]);
    }
    let rows = data.chunks((data.len() / height as usize).max(1));
    let filtered: Vec<u8> = rows.flat_map(|r| [&[0], r].concat()).collect();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&filtered).unwrap();
    chunk(&mut bytes, b"IDAT", &zlib.finish().unwrap());
    chunk(&mut bytes, b"IEND", &[]);
    bytes
}

const GRAY: u8 = 0;
const RGB: u8 = 2;
const PALETTE: u8 = 3;
const GRAY_ALPHA: u8 = 4;
const RGB_ALPHA: u8 = 6;

fn chunk(bytes: &mut Vec<u8>, kind: &[u8], body: &[u8]) {
    bytes.extend((body.len() as u32).to_be_bytes());
    let start = bytes.len();
    bytes.extend(kind);
    bytes.extend(body);
    let mut crc = Crc::new();
    crc.update(&bytes[start..]);
    bytes.extend(crc.sum().to_be_bytes());
}

fn gray(pixels: &[u8]) -> Vec<u8> {
    png(2, 2, GRAY, 8, pixels)
}

fn rgb(width: u32, height: u32, data: &[u8]) -> Vec<u8> {
    png(width, height, RGB, 8, data)
}

fn folder(files: &[(&str, &[u8])]) -> Folder {
    let folder = Folder::new();
    for (name, bytes) in files {
        let path = folder.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        folder.put(name, bytes);
    }
    folder
}

fn spec(folder: &Folder) -> String {
    folder.path("").to_str().unwrap().to_owned()
}

fn refused(files: &[(&str, &[u8])], options: &Options) -> String {
    open(&spec(&folder(files)), options)
        .unwrap_err()
        .to_string()
}

fn with(images: Images) -> Options {
    let mut options = Options::default();
    options.images = images;
    options
}

#[test]
fn sub_folders_are_classes_sorted_by_name() {
    let files: [(&str, &[u8]); 5] = [
        ("dog/2.png", &gray(&[0, 51, 102, 255])),
        ("dog/1.PNG", &gray(&[255; 4])),
        ("cat/deep/x.png", &gray(&[51; 4])),
        ("cat/.hidden.png", b"nothing"),
        ("cat/notes.txt", b"words"),
    ];
    let folder = folder(&files);
    let set = open(&spec(&folder), &Options::default()).unwrap();
    let ids = ["cat/deep/x.png", "dog/1.PNG", "dog/2.png"];
    assert_eq!(set.ids, ids.map(|id| SampleId::Name(id.into())));
    assert_eq!(set.labels, Some(vec![0, 1, 1]));
    assert_eq!(
        set.read_as
            .classes
            .iter()
            .map(|(n, i)| (n.as_str(), *i))
            .collect::<Vec<_>>(),
        [("cat", 0), ("dog", 1)]
    );
    assert_eq!(set.read_as.class_order, Some(ClassOrder::Sorted));
    let column = &set.modalities[0];
    assert_eq!(
        (column.modality.kind, &column.modality.shape),
        (Kind::Image, &vec![1, 2, 2])
    );
    assert_eq!(column.values.row(2).to_vec(), [0.0, 0.2, 0.4, 1.0]);
    assert_eq!(set.read_as.units["x"], "uint8 / 255");
    assert_says(&set.read_as.notes.join(""), &["passed over: cat/notes.txt"]);
    let unscaled = open(&spec(&folder), &raw()).unwrap();
    assert_eq!(
        unscaled.modalities[0].values.row(2).to_vec(),
        [0.0, 51.0, 102.0, 255.0]
    );
    assert_eq!(unscaled.modalities[0].modality.bounds.high(0), 255.0);
    // The digest covers names and bytes.
    std::fs::rename(folder.path("dog/2.png"), folder.path("dog/3.png")).unwrap();
    assert_ne!(
        open(&spec(&folder), &Options::default()).unwrap().sha256,
        set.sha256
    );
    // Other orders are stated.
    let mut options = classes("dog,cat");
    options.bounds = None;
    let set = open(&spec(&folder), &options).unwrap();
    assert_eq!(set.labels, Some(vec![1, 0, 0]));
    let message = open(&spec(&folder), &classes("dog,cow"))
        .unwrap_err()
        .to_string();
    assert_says(&message, &["cat", "none of the classes stated"]);
}

#[test]
fn numeric_folder_names_need_a_stated_order() {
    let pixel: &[u8] = &gray(&[0; 4]);
    let files = [("2/a.png", pixel), ("10/a.png", pixel), ("1/a.png", pixel)];
    let message = refused(&files, &Options::default());
    assert_says(
        &message,
        &["--classes sorted", "--classes numeric", "1, 10, 2"],
    );
    let folder = folder(&files);
    for (list, expected) in [("sorted", [0, 1, 2]), ("numeric", [0, 2, 1])] {
        let mut options = classes(list);
        options.bounds = None;
        // Rows are 1/, 10/, 2/.
        assert_eq!(
            open(&spec(&folder), &options).unwrap().labels,
            Some(expected.to_vec())
        );
    }
}

#[test]
fn folders_of_another_shape_are_refused() {
    let pixel: &[u8] = &gray(&[0; 4]);
    for (files, words) in [
        (
            vec![("a.png", pixel)],
            vec!["no sub-folders", "one per class"],
        ),
        (
            vec![("a.png", pixel), ("c/b.png", pixel)],
            vec!["a.png", "beside its class folders"],
        ),
        (
            vec![("train/b.png", pixel), ("test/b.png", pixel)],
            vec!["test, train", "parts of a set"],
        ),
        (vec![("c/b.txt", pixel)], vec!["no .png, .jpg or .jpeg"]),
        (vec![("c/b.webp", pixel)], vec!["b.webp", "convert it"]),
        (
            vec![("c/b.png", b"RIFF0000WEBPVP8 ".as_slice())],
            vec!["b.png", "but WebP"],
        ),
        (vec![("c/b.png", b"")], vec!["b.png", "empty"]),
        (
            vec![("a/b/c/d/e/f/g/h/i/j/k.png", pixel)],
            vec!["folders deep"],
        ),
    ] {
        assert_says(&refused(&files, &Options::default()), &words);
    }
    let empty = folder(&[("c/b.png", pixel)]);
    std::fs::create_dir(empty.path("d")).unwrap();
    let set = open(&spec(&empty), &Options::default()).unwrap();
    assert_eq!(set.read_as.classes["d"], 1);
    assert_says(&set.read_as.notes.join(""), &["classes without images: d"]);
}

#[test]
fn different_sizes_or_colours_name_both_files() {
    let small: &[u8] = &rgb(1, 1, &[1, 2, 3]);
    let wide: &[u8] = &rgb(2, 1, &[0; 6]);
    let grey: &[u8] = &png(1, 1, GRAY, 8, &[9]);
    let message = refused(
        &[("c/a.png", small), ("c/b.png", wide)],
        &Options::default(),
    );
    assert_says(
        &message,
        &["c/b.png", "is 1x2", "c/a.png is 1x1", "--resize", "--crop"],
    );
    let message = refused(
        &[("c/a.png", small), ("c/b.png", grey)],
        &Options::default(),
    );
    assert_says(
        &message,
        &["b.png", "grey", "c/a.png is in colour", "--color rgb"],
    );
    let both = folder(&[("c/a.png", small), ("c/b.png", grey)]);
    let to = |color| {
        with(Images {
            color: Some(color),
            ..Images::default()
        })
    };
    let set = open(&spec(&both), &to(Color::Rgb)).unwrap();
    let rows = |set: &proofmark_data::Dataset| {
        let rows = set.modalities[0].values.rows();
        rows.into_iter()
            .map(|r| {
                r.iter()
                    .map(|v| (v * 255.0).round() as u8)
                    .collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(rows(&set), [[1, 2, 3], [9, 9, 9]]);
    assert_eq!(set.read_as.transforms, ["to rgb"]);
    // 0.299 + 2 × 0.587 + 3 × 0.114 = 1.815.
    assert_eq!(
        rows(&open(&spec(&both), &to(Color::Gray)).unwrap()),
        [[2], [9]]
    );
    // Images must also agree after resizing.
    let short = with(Images {
        resize: Some("4".parse().unwrap()),
        ..Images::default()
    });
    let message = refused(&[("c/a.png", small), ("c/b.png", wide)], &short);
    assert_says(&message, &["4x8 after resizing", "4x4 after resizing"]);
    let crop = with(Images {
        crop: Some("3".parse().unwrap()),
        ..Images::default()
    });
    assert_says(
        &refused(&[("c/a.png", small)], &crop),
        &["1x1", "--crop 3x3"],
    );
}

/// Channels are planes; 16 bits, palettes and opaque alpha are read as the values that they show.
#[test]
fn every_kind_of_png_is_read() {
    let values = |bytes: &[u8]| {
        let folder = folder(&[("c/a.png", bytes)]);
        let set = open(&spec(&folder), &Options::default()).unwrap();
        let column = &set.modalities[0];
        (
            column.modality.shape.clone(),
            column.values.row(0).to_vec(),
            set.read_as.units["x"].clone(),
        )
    };
    let colours = values(&rgb(2, 1, &[255, 51, 0, 0, 51, 255]));
    assert_eq!(colours.0, [3, 1, 2]);
    assert_eq!(colours.1, [1.0, 0.0, 0.2, 0.2, 0.0, 1.0]);
    let deep = values(&png(1, 1, GRAY, 16, &[0x33, 0x33]));
    assert_eq!((deep.1, deep.2.as_str()), (vec![0.2], "uint16 / 65535"));
    let bits = values(&png(8, 1, GRAY, 1, &[0b1010_0000]));
    assert_eq!(bits.1[..3], [1.0, 0.0, 1.0]);
    let palette = values(&png(8, 1, PALETTE, 1, &[0b1000_0000]));
    assert_eq!(
        (palette.0, palette.1[0], palette.1[8]),
        (vec![3, 1, 8], 0.2, 0.4)
    );
    let opaque = values(&png(1, 1, RGB_ALPHA, 8, &[255, 0, 51, 255]));
    assert_eq!(opaque.1, [1.0, 0.0, 0.2]);
    let clear = png(1, 1, GRAY_ALPHA, 8, &[255, 254]);
    assert_says(
        &refused(&[("c/a.png", &clear)], &Options::default()),
        &["a.png", "transparent"],
    );
}

#[test]
fn every_kind_of_jpeg_is_read_or_refused() {
    // Pillow's sums; decoders may differ by one or two of 255 here and there.
    for (name, channels, sum) in [
        ("rgb", 3, 64_787.0),
        ("progressive", 3, 64_787.0),
        ("gray", 1, 22_566.0),
    ] {
        let folder = folder(&[("c/a.jpg", jpeg(name))]);
        let set = open(&spec(&folder), &Options::default()).unwrap();
        let column = &set.modalities[0];
        assert_eq!(column.modality.shape, [channels, 13, 20], "{name}");
        let own: f32 = column.values.iter().map(|v| v * 255.0).sum();
        let n = column.values.len() as f32;
        assert!((own - sum).abs() / n < 0.5, "{name}: {own} against {sum}");
    }
    let turned = folder(&[("c/a.jpg", jpeg("turned")), ("c/b.jpg", jpeg("rgb"))]);
    let set = open(&spec(&turned), &Options::default()).unwrap();
    assert_eq!(set.modalities[0].modality.shape, [3, 13, 20]);
    assert_eq!(
        set.modalities[0].values.row(0),
        set.modalities[0].values.row(1)
    );
    assert_says(
        &set.read_as.notes.join(""),
        &["EXIF orientation", "1 file states one", "c/a.jpg (6)"],
    );
    assert_says(
        &refused(&[("c/a.jpg", jpeg("cmyk"))], &Options::default()),
        &["a.jpg", "CMYK"],
    );
}

/// Sizes and sums are those of Pillow's `resize(…, BILINEAR)`, weighted by position, and of torchvision's centre crop.
#[test]
fn resizing_equals_pillow() {
    let mut pixels = Vec::new();
    for y in 0..13_usize {
        for x in 0..20_usize {
            pixels.extend((0..3).map(|c| ((x * 7 + y * 31 + c * 83) * (c + 1) % 256) as u8));
        }
    }
    let folder = folder(&[("c/a.png", &rgb(20, 13, &pixels))]);
    let run = |images: Images| {
        let mut options = raw();
        options.images = images;
        let set = open(&spec(&folder), &options).unwrap();
        let column = &set.modalities[0];
        let &[channels, height, width] = column.modality.shape.as_slice() else {
            panic!()
        };
        let planes = column.values.row(0).to_vec();
        let place = |i: usize| planes[i % channels * height * width + i / channels] as u64;
        let interleaved: Vec<u64> = (0..planes.len()).map(place).collect();
        (set, interleaved)
    };
    for (size, sum, weighted) in [
        ("6x9", 20_461, 1_692_237),
        ("13x7", 34_494, 3_993_794),
        ("5x20", 37_890, 4_058_855),
        ("40x31", 470_306, 58_902_140),
        ("1x1", 380, 760),
    ] {
        let resize = Some(size.parse().unwrap());
        let (set, values) = run(Images {
            resize,
            ..Images::default()
        });
        assert_eq!(values.iter().sum::<u64>(), sum, "{size}");
        let by_place = values.iter().zip(0_u64..).map(|(v, i)| v * (i % 251 + 1));
        assert_eq!(by_place.sum::<u64>(), weighted, "{size}");
        assert_says(
            &set.read_as.transforms.join(", "),
            &[&format!("resize {size}")],
        );
    }
    // The shorter side becomes 26 and the other stays in proportion.
    let (set, _) = run(Images {
        resize: Some("26".parse().unwrap()),
        ..Images::default()
    });
    assert_eq!(set.modalities[0].modality.shape, [3, 26, 40]);
    // 13 - 10 = 3 rows go 2 before and 1 after; 20 - 19 = 1 column goes after.
    let (_, cropped) = run(Images {
        crop: Some(Side {
            height: 10,
            width: 19,
        }),
        ..Images::default()
    });
    assert_eq!(cropped[0], u64::from(pixels[2 * 20 * 3]));
    assert_eq!(cropped.len(), 10 * 19 * 3);
}

#[test]
fn only_the_selected_rows_are_decoded() {
    let good: &[u8] = &gray(&[0; 4]);
    // The header is intact and the pixels are not.
    let mut broken = good.to_vec();
    broken[43] ^= 0xff;
    let folder = folder(&[("a/1.png", good), ("a/2.png", &broken), ("b/3.png", good)]);
    let rows = |rows| {
        let mut options = Options::default();
        options.select = Selection {
            seed: Seed(0),
            rows,
        };
        options
    };
    assert_says(
        &open(&spec(&folder), &rows(Rows::All))
            .unwrap_err()
            .to_string(),
        &["2.png", "damaged"],
    );
    let set = open(&spec(&folder), &rows(Rows::Range(2..3))).unwrap();
    assert_eq!((set.len(), set.total, set.labels), (1, 3, Some(vec![1])));
    assert!(open(&spec(&folder), &rows(Rows::Range(2..4))).is_err());
}

/// A limit given when opening equals the limit of the whole set.
#[test]
fn a_limit_takes_the_rows_of_the_whole_set() {
    let names: Vec<String> = (0..40)
        .map(|i| format!("{}/{i}.png", ["a", "b"][i % 2]))
        .collect();
    let pixels: Vec<Vec<u8>> = (0..40).map(|i| gray(&[i; 4])).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .zip(&pixels)
        .map(|(n, p)| (n.as_str(), p.as_slice()))
        .collect();
    let folder = folder(&files);
    let whole = open(&spec(&folder), &Options::default()).unwrap();
    for seed in [Seed(0), Seed(5)] {
        let mut options = Options::default();
        options.select = Selection {
            seed,
            rows: Rows::Limit(9),
        };
        let part = open(&spec(&folder), &options).unwrap();
        assert_eq!(part, whole.limit(9, seed));
    }
}

/// Any bytes give an answer or an error that names the file; a cut file is never accepted as whole.
#[test]
fn damaged_images_are_refused_or_read() {
    let deep = png(3, 2, RGB_ALPHA, 16, &[255; 48]);
    let all: Vec<(&str, &[u8])> = JPEGS[..4]
        .iter()
        .copied()
        .chain([("deep", deep.as_slice())])
        .collect();
    let folder = folder(&[("c/a.jpg", b"")]);
    let attempt = |bytes: &[u8]| {
        folder.put("c/a.jpg", bytes);
        let read = open(&spec(&folder), &Options::default());
        if let Err(e) = &read {
            assert_says(&e.to_string(), &[spec(&folder).trim_end_matches('/')]);
        }
        read.is_ok()
    };
    for (name, bytes) in all {
        assert!(attempt(bytes), "{name}");
        for length in 0..bytes.len() {
            let ends = name == "deep" && length + 12 >= bytes.len();
            assert!(ends || !attempt(&bytes[..length]), "{name} cut to {length}");
            let mut wrong = bytes.to_vec();
            wrong[length] ^= 1 << (length % 8);
            attempt(&wrong);
        }
    }
}

/// Valid checksums around damaged chunks: an answer or an error, never a panic.
#[test]
fn crafted_chunks_never_panic() {
    let kinds = [
        (GRAY, 1),
        (GRAY, 8),
        (RGB, 16),
        (PALETTE, 1),
        (GRAY_ALPHA, 8),
        (RGB_ALPHA, 16),
    ];
    let folder = folder(&[("c/a.png", b"")]);
    for (color, bits) in kinds {
        let whole = png(5, 3, color, bits, &[0x5a; 120]);
        for at in 8..whole.len() {
            for value in [0, 1, 7, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let mut sound = bytes[..8].to_vec();
                let mut rest = &bytes[8..];
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let length = u32::from_be_bytes(*length) as usize;
                    let Some((body, after)) = after.split_at_checked(length.saturating_add(4))
                    else {
                        break;
                    };
                    chunk(&mut sound, &body[..4], &body[4..]);
                    rest = after.get(4..).unwrap_or_default();
                }
                folder.put("c/a.png", &sound);
                if let Err(e) = open(&spec(&folder), &Options::default()) {
                    assert_says(&e.to_string(), &["c"]);
                }
            }
        }
    }
}

#[test]
fn images_that_would_exhaust_memory_are_refused_by_their_heads() {
    let bomb = |width: u32, height: u32| {
        let mut bytes = gray(&[0; 4]);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let mut crc = Crc::new();
        crc.update(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        bytes
    };
    let message = refused(&[("c/a.png", &bomb(60_000, 60_000))], &Options::default());
    assert_says(&message, &["a.png", "60000 by 60000", "at most"]);
    // One such image is accepted, two are not.
    let large = bomb(16_000, 16_000);
    let message = refused(
        &[("c/a.png", &large), ("c/b.png", &large)],
        &Options::default(),
    );
    assert_says(
        &message,
        &["2 images of 256000000 values", "exhaust memory"],
    );
    let mut jpeg = jpeg("gray").to_vec();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].fill(0xff);
    assert_says(
        &refused(&[("c/a.jpg", &jpeg)], &Options::default()),
        &["65535 by 65535"],
    );
    assert!("9000".parse::<Side>().is_err());
    let huge = with(Images {
        resize: Some("8192".parse().unwrap()),
        ..Images::default()
    });
    let thin = png(1000, 1, GRAY, 8, &[0; 1000]);
    assert_says(
        &refused(&[("c/a.png", &thin)], &huge),
        &["8192x8192000", "at most"],
    );
}

#[test]
fn sizes_are_checked() {
    for text in ["0", "x", "1x", "0x4", "-1", "1x2x3", ""] {
        assert!(text.parse::<Side>().is_err(), "{text}");
    }
    let images = Images {
        crop: Some("2".parse().unwrap()),
        ..Images::default()
    };
    let message = refusal("a.npy", &small_x(), &with(images));
    assert_says(&message, &["--crop", "a folder of images"]);
    assert!(open("nowhere/", &Options::default()).is_err());
}

/// Commands that write files check these inputs: each image, including those under a link.
#[test]
#[cfg(unix)]
fn the_files_of_a_folder_are_its_images() {
    let elsewhere = folder(&[("dog/1.png", &gray(&[0; 4]))]);
    let here = folder(&[("cat/0.png", &gray(&[0; 4])), ("cat/notes.txt", b"x")]);
    std::os::unix::fs::symlink(elsewhere.path("dog"), here.path("dog")).unwrap();
    let set = spec(&here);
    let found = proofmark_data::files(&set, &Options::default());
    let names = ["", "cat/0.png", "dog/1.png"].map(|n| here.path(n));
    assert_eq!(found, names);
}
