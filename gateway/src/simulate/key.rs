//! The AppKey of a simulated device: in a file that the gateway reads too, never on a command line.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::exit::{ExitStatus, Failure};

/// Returns the key of a file; one that is not there is made, with a key that nobody has.
pub(super) fn app_key(file: &Path) -> Result<[u8; 16], Failure> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let key = crate::hex::bytes(text.trim()).and_then(|bytes| bytes.try_into().ok());
            key.ok_or_else(|| {
                let message = format!("{} is no file of a key: 32 hex digits", file.display());
                Failure::new(ExitStatus::Invalid, message)
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => made(file),
        Err(error) => Err(Failure::cannot(&format!("read {}", file.display()), &error)),
    }
}

fn made(file: &Path) -> Result<[u8; 16], Failure> {
    let mut key = [0; 16];
    OsRng
        .try_fill_bytes(&mut key)
        .map_err(|error| Failure::cannot("get random numbers", &error))?;
    let text = format!("{:032X}\n", u128::from_be_bytes(key));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| opened.write_all(text.as_bytes()))
        .map_err(|error| Failure::cannot(&format!("write {}", file.display()), &error))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_read_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.key");
        let key = app_key(&file).unwrap();
        assert_eq!(app_key(&file).unwrap(), key);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let other = app_key(&folder.path().join("other.key")).unwrap();
        assert_ne!(key, other);
    }

    #[test]
    fn what_is_no_key_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lamp.key");
        fs::write(&file, "00112233").unwrap();
        assert_eq!(app_key(&file).unwrap_err().status, ExitStatus::Invalid);
        assert_eq!(fs::read_to_string(&file).unwrap(), "00112233");
    }
}
