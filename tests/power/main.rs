//! Power cuts and full disks under a real file system: ext4 on a loop device, on a drive with a volatile write cache.
//!
//! Needs root, `/dev/fuse`, loop devices, `mount` and `mkfs.ext4`; the feature `power` builds the suite. Best started in
//! a mount namespace of its own, as `.ci/soak` does, so that nothing stays mounted whatever happens.
//! A virtual machine's page cache, ext4 and block layer are real here; the flash translation layer of a real drive is
//! not.

mod ballast;
mod cuts;
#[path = "../daemon/mod.rs"]
mod daemon;
mod drive;
mod full_disk;
mod keeper;
mod kept;
mod ledger;
mod load;
mod machine;
#[path = "../daemon/meters.rs"]
mod meters;
mod mount;
mod plain;
mod said;
mod writer;

fn from_environment(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a whole number"))
}
