//! The serial ports of this machine, by the names that stay when cables are moved where there are such.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The names under which drivers make serial ports: USB adapters and modems, and those of SoCs. A PC's `ttyS` ports are
/// there whether or not the machine has them.
const DRIVERS: [&str; 7] = ["ttyUSB", "ttyACM", "ttyAMA", "ttymxc", "ttySC", "ttyO", "ttySTM"];

/// Returns the ports in a folder of devices, usually `/dev`: each once, in the order of their names.
pub(super) fn find(dev: &Path) -> Vec<PathBuf> {
    let by_id = entries(&dev.join("serial/by-id"));
    let same = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let known: BTreeSet<PathBuf> = by_id.iter().map(same).collect();
    let plain = entries(dev)
        .into_iter()
        .filter(|path| is_port(path) && !known.contains(&same(path)));
    by_id.iter().cloned().chain(plain).collect()
}

fn is_port(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let number = DRIVERS.into_iter().find_map(|driver| name.strip_prefix(driver));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A folder that is not there, or may not be read, has no ports.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_port_is_found_once_and_by_the_name_that_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dev = folder.path();
        fs::create_dir_all(dev.join("serial/by-id")).unwrap();
        for name in [
            "ttyUSB0", "ttyAMA0", "ttyACM1", "tty1", "ttyUSBx", "ttyS0", "null",
        ] {
            fs::write(dev.join(name), "").unwrap();
        }
        symlink("../../ttyUSB0", dev.join("serial/by-id/usb-FTDI-port0")).unwrap();
        let names: Vec<PathBuf> = find(dev)
            .iter()
            .map(|path| path.strip_prefix(dev).unwrap().to_owned())
            .collect();
        let expected = ["serial/by-id/usb-FTDI-port0", "ttyACM1", "ttyAMA0"];
        assert_eq!(names, expected.map(PathBuf::from));
        assert_eq!(find(&dev.join("none")), Vec::<PathBuf>::new());
    }
}
