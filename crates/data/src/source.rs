use std::io::Read as _;
use std::path::Path;

use proofmark_domain::hex;
use sha2::{Digest, Sha256};

use crate::DataError;

/// A file in memory, with its names in messages and reports.
pub(crate) struct Source {
    /// Path as given, for messages.
    pub(crate) file: String,
    /// Last component of the path, for reports, which hold no paths of the machine.
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, DataError> {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|source| DataError::Read {
            file: file.clone(),
            source,
        })?;
        let name = path
            .file_name()
            .map_or_else(|| file.clone(), |n| n.to_string_lossy().into_owned());
        refuse_pointer(&file, &bytes)?;
        Ok(Self { file, name, bytes })
    }

    /// Returns the maximum number of bytes to unpack from this file; a file with more is treated as a bomb.
    ///
    /// Deflate reaches a factor of about 1000 on zeros; images and sound stay far below 100. The constant admits small
    /// files of constant data.
    pub(crate) fn allowed(&self) -> u64 {
        const ALWAYS: u64 = 1 << 28;
        const FACTOR: u64 = 100;
        ALWAYS.saturating_add(FACTOR.saturating_mul(self.bytes.len() as u64))
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "takes texts, numbers and errors alike"
    )]
    pub(crate) fn corrupt(&self, part: impl Into<String>, problem: impl ToString) -> DataError {
        DataError::Corrupt {
            file: self.file.clone(),
            part: part.into(),
            problem: problem.to_string(),
        }
    }

    pub(crate) fn too_large(&self, part: impl Into<String>, declared: u128) -> DataError {
        DataError::TooLarge {
            file: self.file.clone(),
            part: part.into(),
            declared,
            allowed: self.allowed(),
            size: self.bytes.len() as u64,
        }
    }
}

/// Refuses a Git LFS pointer, which a repository holds in place of a file that was not downloaded.
pub(crate) fn refuse_pointer(file: &str, head: &[u8]) -> Result<(), DataError> {
    if !head.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Ok(());
    }
    Err(DataError::Corrupt {
        file: file.to_owned(),
        part: "content".to_owned(),
        problem: "is a Git LFS pointer (the file itself was not downloaded); run `git lfs pull` in its repository".to_owned(),
    })
}

/// Returns the SHA-256, in lower-case hex, of the given pieces, one after the other.
pub(crate) fn sha256(pieces: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hex(&hasher.finalize())
}

/// Returns the SHA-256 of a file in lower-case hex, without reading the whole file into memory.
pub fn sha256_of(path: &Path) -> Result<String, DataError> {
    let unreadable = |source| DataError::Read {
        file: path.display().to_string(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}
