//! The texts that a configuration is made of.

use std::env;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use ucifi_profiles::document::{Diagnostic, Place};

use super::{Override, Secrets};
use crate::limits::{FILE_BYTES, FILES};

/// A file as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, for messages.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// Every text that a configuration is made of; equal sources that were read make equal configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `gateway.toml`, then `conf.d/*.toml` and `devices.d/*.toml`, each folder sorted by name.
    pub options: Vec<File>,
    /// `profiles.d/*.toml`, sorted.
    pub profiles: Vec<File>,
    /// `objects.d/*.xml`, sorted.
    pub objects: Vec<File>,
    /// What the environment overrides.
    pub overrides: Vec<Override>,
    /// The files of keys and passwords that these name.
    pub secrets: Secrets,
}

impl Sources {
    /// Reads the file at `path`, the folders beside it and the environment.
    ///
    /// # Errors
    /// Every file that cannot be read, and every variable that names no option.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut errors = Vec::new();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let mut options: Vec<File> = read_file(path).map_err(|e| errors.push(e)).into_iter().collect();
        for name in ["conf.d", "devices.d"] {
            options.extend(read_folder(&folder.join(name), "toml", &mut errors));
        }
        let profiles = read_folder(&folder.join("profiles.d"), "toml", &mut errors);
        let objects = read_folder(&folder.join("objects.d"), "xml", &mut errors);
        let overrides = Override::from_environment().unwrap_or_else(|bad| {
            errors.extend(
                bad.into_iter()
                    .map(|(variable, reason)| of_variable(&variable, reason)),
            );
            Vec::new()
        });
        if errors.is_empty() {
            Ok(Self {
                options,
                profiles,
                objects,
                overrides,
                secrets: Secrets::new(path, env::var_os("CREDENTIALS_DIRECTORY").map(Into::into)),
            })
        } else {
            Err(errors)
        }
    }
}

/// Reads the files of one folder beside the configuration.
///
/// # Errors
/// Every file that cannot be read.
pub(crate) fn beside(config: &Path, folder: &str, extension: &str) -> Result<Vec<File>, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let folder = config.parent().unwrap_or(Path::new("")).join(folder);
    let files = read_folder(&folder, extension, &mut errors);
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// Reads one file whole, within a bound.
///
/// # Errors
/// That it cannot be read, is too long, or is no UTF-8.
pub(crate) fn read_file(path: &Path) -> Result<File, Diagnostic> {
    let name = path.display().to_string();
    let fail = |reason: String| {
        Diagnostic::error(
            Place {
                file: name.as_str().into(),
                line: 1,
                column: 1,
            },
            reason,
        )
    };
    let file = fs::File::open(path).map_err(|e| fail(format!("cannot open: {e}")))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| fail(format!("cannot read: {e}")))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(fail(format!("longer than {FILE_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|e| fail(format!("no UTF-8 text: {e}")))?;
    Ok(File { name, text })
}

/// A folder that is not there is empty.
fn read_folder(folder: &Path, extension: &str, errors: &mut Vec<Diagnostic>) -> Vec<File> {
    let mut fail = |reason: String| {
        let place = Place {
            file: folder.display().to_string().into(),
            line: 1,
            column: 1,
        };
        errors.push(Diagnostic::error(place, reason));
        Vec::new()
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        // As good as empty it would silently take every device out of service.
        Err(error) => return fail(format!("cannot be read: {error}")),
    };
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = match paths {
        Ok(paths) => paths,
        Err::<_, std::io::Error>(error) => return fail(format!("cannot be read: {error}")),
    };
    paths.retain(|path| path.extension().is_some_and(|e| e == extension));
    paths.sort();
    if paths.len() > FILES {
        return fail(format!("more than {FILES} files"));
    }
    paths
        .iter()
        .filter_map(|path| read_file(path).map_err(|e| errors.push(e)).ok())
        .collect()
}

fn of_variable(variable: &str, reason: String) -> Diagnostic {
    Diagnostic::error(
        Place {
            file: variable.into(),
            line: 1,
            column: 1,
        },
        reason,
    )
    .with_help("as in UCIFI__GATEWAY__NAME or UCIFI__SERVER__<NAME>__URI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_read_is_an_error_and_one_that_is_not_there_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut errors = Vec::new();
        assert!(read_folder(&folder.path().join("none"), "toml", &mut errors).is_empty());
        assert!(errors.is_empty(), "{errors:?}");
        // No folder: reading it fails for root as well, which closed rights would not.
        let file = folder.path().join("devices.d");
        fs::write(&file, "").unwrap();
        assert!(read_folder(&file, "toml", &mut errors).is_empty());
        let said = errors.first().map(ToString::to_string).unwrap_or_default();
        assert!(
            said.contains("devices.d") && said.contains("cannot be read"),
            "{said}"
        );
    }

    #[test]
    fn a_file_beyond_the_bound_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        let file = fs::File::create(&path).unwrap();
        file.set_len(FILE_BYTES).unwrap();
        assert!(read_file(&path).is_ok());
        file.set_len(FILE_BYTES + 1).unwrap();
        assert!(read_file(&path).unwrap_err().message.contains("longer than"));
    }

    #[test]
    fn more_files_than_the_bound_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("devices.d");
        fs::create_dir(&name).unwrap();
        for number in 0..=FILES {
            fs::File::create(name.join(format!("{number}.toml"))).unwrap();
        }
        let errors = beside(&folder.path().join("gateway.toml"), "devices.d", "toml").unwrap_err();
        assert!(errors[0].message.contains("more than 4096 files"), "{errors:?}");
    }

    #[test]
    fn files_are_read_in_the_order_of_their_names_and_others_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("conf.d");
        fs::create_dir(&name).unwrap();
        for file in ["20-b.toml", "10-a.toml", "README", "old.toml~"] {
            fs::write(name.join(file), file).unwrap();
        }
        let files = beside(&folder.path().join("gateway.toml"), "conf.d", "toml").unwrap();
        let texts: Vec<&str> = files.iter().map(|file| file.text.as_str()).collect();
        assert_eq!(texts, ["10-a.toml", "20-b.toml"]);
    }

    #[test]
    fn a_text_that_is_no_utf_8_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, [b'#', 0xff]).unwrap();
        assert!(read_file(&path).unwrap_err().message.contains("no UTF-8"));
    }
}
