//! Secrets: keys and passwords, which stand in files of their own and are never shown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ucifi_profiles::document::Item;

use crate::limits::SECRET_BYTES;

/// A secret; what prints it prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a secret.
    pub const fn new(secret: T) -> Self {
        Self(secret)
    }

    /// Returns the secret, for whoever needs it to speak to somebody.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The files of secrets that a configuration names, as they were when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The folder of the configuration: for what the environment names.
    folder: PathBuf,
    /// Where systemd puts the credentials of a service, where it does.
    credentials: Option<PathBuf>,
    read: RefCell<BTreeMap<PathBuf, Result<Content, String>>>,
}

/// What stands in a file of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    text: Secret<String>,
    /// Whether everybody on the machine may read it.
    is_open: bool,
}

impl Secrets {
    /// Returns the files of secrets of a configuration, none read yet.
    pub fn new(config: &Path, credentials: Option<PathBuf>) -> Self {
        Self {
            folder: config.parent().unwrap_or(Path::new("")).to_owned(),
            credentials,
            read: RefCell::default(),
        }
    }

    /// Returns the secret in the file that an option names, without the line end after it.
    pub(super) fn read(&self, item: Item<'_>) -> Option<Secret<String>> {
        let path = self.find(item)?;
        let mut read = self.read.borrow_mut();
        let content = read.entry(path.clone()).or_insert_with(|| content_of(&path));
        match content {
            Ok(content) => {
                if content.is_open {
                    let help = format!("chmod o= {}", path.display());
                    item.warn(format!("everybody may read {}", path.display()), help);
                }
                Some(content.text.clone())
            }
            Err(reason) => item.error_with_help(
                format!("{}: {reason}", path.display()),
                "a bare name is looked for among the credentials of the systemd unit (LoadCredential=) first, then \
                 beside the file that names it",
            ),
        }
    }

    /// A bare name is a credential, if there is one of that name; all else is meant from the file that says it.
    fn find(&self, item: Item<'_>) -> Option<PathBuf> {
        let named = item.string()?;
        if named.is_empty() {
            return item.error(format!("{} names no file", item.key()));
        }
        if let Some(credentials) = self.credentials.as_ref().filter(|_| !named.contains('/')) {
            let credential = credentials.join(named);
            if credential.exists() {
                return Some(credential);
            }
        }
        let place = item.place();
        let file = Path::new(&*place.file);
        let folder = match file.parent() {
            // The file may be one that is only about to be written; what the environment says has no folder.
            Some(folder) if folder.is_dir() => folder,
            Some(_) | None => &self.folder,
        };
        Some(folder.join(named))
    }
}

fn content_of(path: &Path) -> Result<Content, String> {
    let file = fs::File::open(path).map_err(|e| format!("cannot open: {e}"))?;
    let mode = file.metadata().map_or(0, |about| about.permissions().mode());
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| format!("cannot read: {e}"))?;
    if bytes.len() as u64 > SECRET_BYTES {
        return Err(format!("longer than {SECRET_BYTES} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "no UTF-8 text".to_owned())?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(Content {
        text: Secret::new(text.to_owned()),
        is_open: mode & 0o004 != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let shown = format!("{:?}", Secret::new("hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_line_end_is_no_part_of_a_secret_and_a_blank_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        for (written, secret) in [("a b \n", "a b "), ("ab", "ab"), ("ab\r\n", "ab")] {
            fs::write(&path, written).unwrap();
            assert_eq!(content_of(&path).unwrap().text.reveal(), secret);
        }
        fs::write(&path, "\n").unwrap();
        assert_eq!(content_of(&path).unwrap_err(), "is empty");
    }

    #[test]
    fn a_file_beyond_the_bound_holds_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let longest = usize::try_from(SECRET_BYTES).unwrap();
        fs::write(&path, vec![b'x'; longest]).unwrap();
        assert!(content_of(&path).is_ok());
        fs::write(&path, vec![b'x'; longest + 1]).unwrap();
        assert!(content_of(&path).unwrap_err().contains("longer than"));
    }
}
