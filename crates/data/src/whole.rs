use std::fs::File;
use std::io;
use std::path::Path;

use crate::DataError;

/// Writes a file whole or not at all: into a temporary file beside it, renamed when complete.
pub fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), DataError> {
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let write = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".proofmark-").suffix(".tmp");
        // A temporary file is private by default; the finished file is an ordinary one.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut temporary = builder.tempfile_in(folder)?;
        fill(temporary.as_file_mut())?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|e| e.error)?;
        Ok(())
    };
    write().map_err(|source| DataError::Write {
        file: path.display().to_string(),
        source,
    })
}
