//! What becomes of the state when its files are damaged, cannot be written, or are gone.

use super::*;

struct Site {
    folder: tempfile::TempDir,
    now: Instant,
}

impl Site {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            now: Instant::now(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> State {
        State::open(self.path(), self.now)
    }

    /// Leaves a state with `a` = 1 in both places, and `b` = 2 in the database only, as a kill leaves it.
    fn fill(&self) {
        let mut state = self.open();
        state.apply(&[set("a", "1")], self.now).unwrap();
        state.handle_timeout(self.now + FIRST_COPY);
        state.apply(&[set("b", "2")], self.now).unwrap();
    }

    /// Overwrites every file of the database.
    fn destroy_database(&self) {
        for file in ["db", "conf"] {
            let path = self.path().join(DATABASE).join(file);
            let len = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
            fs::write(path, vec![0xA5; len]).unwrap();
        }
    }

    /// Makes the database unreachable as a failing disk does, until the value is dropped.
    fn break_database(&self) -> Broken {
        let (here, there) = (self.path().join(DATABASE), self.path().join("hidden"));
        fs::rename(&here, &there).unwrap();
        fs::write(&here, "").unwrap();
        Broken { here, there }
    }
}

struct Broken {
    here: PathBuf,
    there: PathBuf,
}

impl Drop for Broken {
    fn drop(&mut self) {
        fs::remove_file(&self.here).unwrap();
        fs::rename(&self.there, &self.here).unwrap();
    }
}

fn set(name: &str, value: &str) -> Change {
    Change {
        name: name.to_owned(),
        value: Some(value.as_bytes().to_vec()),
    }
}

fn remove(name: &str) -> Change {
    Change {
        name: name.to_owned(),
        value: None,
    }
}

fn saved(values: &[(&str, &str)], may_be_old: bool) -> Saved {
    let value = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
    Saved {
        values: values.iter().map(value).collect(),
        may_be_old,
    }
}

#[test]
fn a_first_start_has_nothing_and_nothing_that_may_be_old() {
    let site = Site::new();
    assert_eq!(site.open().saved(), saved(&[], false));
    assert_eq!(site.open().saved(), saved(&[], false));
}

#[test]
fn what_is_saved_outlives_a_kill_and_a_stop() {
    let site = Site::new();
    let mut state = site.open();
    state.apply(&[set("a", "1"), set("b", "2")], site.now).unwrap();
    state.apply(&[remove("a"), set("c", "")], site.now).unwrap();
    drop(state);
    let state = site.open();
    assert_eq!(state.saved(), saved(&[("b", "2"), ("c", "")], false));
    assert_eq!(state.failure(), None);
    state.close(true, site.now);
    assert_eq!(site.open().saved(), saved(&[("b", "2"), ("c", "")], false));
}

#[test]
fn a_destroyed_database_is_made_anew_from_the_copy_which_may_be_old_until_an_orderly_stop() {
    let site = Site::new();
    site.fill();
    site.destroy_database();
    assert_eq!(site.open().saved(), saved(&[("a", "1")], true));
    site.open().close(false, site.now);
    let mut state = site.open();
    assert_eq!(
        state.saved(),
        saved(&[("a", "1")], true),
        "killed before it was stopped"
    );
    state.apply(&[set("a", "9")], site.now).unwrap();
    state.close(true, site.now);
    assert_eq!(site.open().saved(), saved(&[("a", "9")], false));
    assert!(site.path().join("state.bad-1").exists());
}

#[test]
fn the_state_is_not_old_any_more_from_the_moment_that_the_numbers_are_counted_on_from_far_ahead() {
    let site = Site::new();
    site.fill();
    site.destroy_database();
    let mut state = site.open();
    let request = |name: &str, is_current| SaveRequest {
        id: 1,
        changes: vec![set(name, "9")],
        is_current,
    };
    state.save(&request("a", false), site.now).unwrap();
    assert!(state.saved().may_be_old, "others may be missing yet");
    let broken = site.break_database();
    state.database = None;
    state.save(&request("b", true), site.now).unwrap_err();
    assert!(
        !state.saved().may_be_old,
        "a reload goes on with what is in memory"
    );
    drop(broken);
    state.handle_timeout(site.now + RETRY);
    drop(state);
    assert_eq!(
        site.open().saved(),
        saved(&[("a", "9"), ("b", "9")], false),
        "after a kill"
    );
}

#[test]
fn a_request_that_is_refused_leaves_the_state_as_old_as_it_was() {
    let site = Site::new();
    site.fill();
    site.destroy_database();
    let mut state = site.open();
    let changes = vec![set("", "1")];
    let request = SaveRequest {
        id: 1,
        changes,
        is_current: true,
    };
    assert!(state.save(&request, site.now).is_err());
    assert!(state.saved().may_be_old);
}

#[test]
fn a_destroyed_database_and_a_destroyed_copy_are_a_start_from_nothing_that_is_known_as_such() {
    let site = Site::new();
    site.fill();
    site.destroy_database();
    for name in ["snapshot", "snapshot.1"] {
        fs::write(site.path().join(name), "garbage").unwrap();
    }
    let mut state = site.open();
    assert_eq!(state.saved(), saved(&[], true));
    state.apply(&[set("a", "1")], site.now).unwrap();
    drop(state);
    assert_eq!(site.open().saved(), saved(&[("a", "1")], true));
}

#[test]
fn a_database_that_is_gone_or_older_than_the_copy_gives_way_to_it() {
    let site = Site::new();
    site.open().apply(&[set("a", "1")], site.now).unwrap();
    let (now, old) = (site.path().join(DATABASE), site.path().join("old"));
    copy_folder(&now, &old);
    let mut state = site.open();
    state.apply(&[set("a", "2")], site.now).unwrap();
    state.close(true, site.now);
    for is_gone in [false, true] {
        fs::remove_dir_all(&now).unwrap();
        if !is_gone {
            copy_folder(&old, &now);
        }
        assert_eq!(site.open().saved(), saved(&[("a", "2")], true), "gone: {is_gone}");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn damaged_databases_are_kept_up_to_a_bound() {
    let site = Site::new();
    for _ in 0..=DAMAGED_DATABASES {
        site.fill();
        site.destroy_database();
        site.open();
    }
    let names = fs::read_dir(site.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let bad = names
        .filter(|name| name.to_string_lossy().contains(".bad-"))
        .count();
    assert_eq!(bad, DAMAGED_DATABASES as usize);
}

#[test]
fn a_disk_that_fails_is_no_damage_and_the_state_goes_on_in_memory_until_it_works() {
    let site = Site::new();
    site.fill();
    let broken = site.break_database();
    let mut state = site.open();
    assert_eq!(state.saved(), saved(&[("a", "1")], true));
    let refused = state.apply(&[set("c", "3")], site.now).unwrap_err();
    assert!(refused.starts_with("the state cannot be written: "), "{refused}");
    assert!(state.failure().is_some());
    drop(broken);
    assert_eq!(state.poll_timeout(), site.now + RETRY);
    state.handle_timeout(site.now + RETRY);
    assert_eq!(state.failure(), None);
    // What the database alone knew is not what the gateway has gone on with.
    let wanted = saved(&[("a", "1"), ("c", "3")], true);
    assert_eq!(state.saved(), wanted);
    drop(state);
    assert_eq!(site.open().saved(), wanted);
    assert!(!site.path().join("state.bad-1").exists());
}

#[test]
fn a_value_a_name_or_a_state_beyond_the_bound_is_refused_and_changes_nothing() {
    let site = Site::new();
    let mut state = site.open();
    let long = "n".repeat(STATE_NAME_BYTES + 1);
    let large = "v".repeat(MAX_VALUE_BYTES + 1);
    for change in [
        set("a", &large),
        set(&long, "1"),
        set("\0version", "1"),
        set("", "1"),
    ] {
        assert!(state.apply(&[set("b", "1"), change], site.now).is_err());
    }
    assert_eq!(state.saved(), saved(&[], false));
    assert_eq!(state.failure(), None);
    let value = "v".repeat(MAX_VALUE_BYTES);
    let many = STATE_BYTES / MAX_VALUE_BYTES;
    let changes: Vec<Change> = (0..many).map(|n| set(&format!("{n}"), &value)).collect();
    assert!(state.apply(&changes, site.now).is_err());
}

#[test]
fn a_full_state_takes_what_does_not_make_it_larger() {
    let site = Site::new();
    let mut state = site.open();
    let value = "v".repeat(MAX_VALUE_BYTES);
    let name = |n| format!("{n:04}");
    // As a later version with another bound may leave it.
    for n in 0..=STATE_BYTES / MAX_VALUE_BYTES {
        state.values.insert(name(n), value.clone().into_bytes());
    }
    let refused = state.apply(&[set("a", "1")], site.now).unwrap_err();
    assert!(refused.contains("at most"), "{refused}");
    for allowed in [
        vec![set(&name(0), &value.replace('v', "w"))],
        vec![set(&name(1), "shorter")],
        vec![remove(&name(2)), set("a", "1")],
        (0..100).map(|n| remove(&name(n))).collect(),
    ] {
        assert_eq!(state.check(&allowed), Ok(()));
    }
}

#[test]
fn a_copy_is_made_when_something_has_changed_and_not_more_often_than_every_few_minutes() {
    let site = Site::new();
    let mut state = site.open();
    let version = || snapshot::load(site.path()).map(|copy| copy.version);
    state.apply(&[set("a", "1")], site.now).unwrap();
    state.handle_timeout(site.now);
    assert_eq!(version(), None);
    state.handle_timeout(site.now + FIRST_COPY);
    assert_eq!(version(), Some(2));
    state.apply(&[set("a", "2")], site.now).unwrap();
    state.handle_timeout(site.now + FIRST_COPY + COPY / 2);
    assert_eq!(version(), Some(2));
    state.handle_timeout(site.now + FIRST_COPY + COPY);
    assert_eq!(version(), Some(3));
    fs::remove_file(site.path().join("snapshot")).unwrap();
    state.handle_timeout(site.now + FIRST_COPY + 2 * COPY);
    assert!(!site.path().join("snapshot").exists(), "nothing has changed");
    state.apply(&[set("a", "3")], site.now).unwrap();
    state.close(true, site.now);
    assert_eq!(version(), Some(4));
}

#[test]
fn space_is_kept_beside_the_state() {
    let site = Site::new();
    let state = site.open();
    assert!(site.path().join("reserve").exists());
    state.close(true, site.now);
}
