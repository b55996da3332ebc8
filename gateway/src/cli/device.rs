//! `device add`, `replace` and `remove`: one file in devices.d for each device, checked before it is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use ucifi_profiles::document::{Document, Place};

use super::arguments::{AddOptions, DeviceCommand, DeviceFields, ReplaceOptions};
use super::check::invalid;
use super::output::print;
use crate::config::{DEFAULT_PATH, DEFAULT_STATE_DIR, File, Sources, read};
use crate::exit::{ExitStatus, Failure};
use crate::limits::SECRET_BYTES;
use crate::runtime::rehearse;

pub(super) fn device(config: &Path, command: DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(mut options) => {
            options.fields.read_key()?;
            add(config, &options)
        }
        DeviceCommand::Replace(mut options) => {
            options.fields.read_key()?;
            replace(config, &options)
        }
        DeviceCommand::Remove { id } => remove(config, &id),
    }
}

fn add(config: &Path, options: &AddOptions) -> Result<(), Failure> {
    let file = file_of(config, &options.id)?;
    let sources = Sources::load(config).map_err(invalid)?;
    if let Some(place) = place_of(&sources, &options.id) {
        let message = format!(
            "{} is configured at {place} already: `device replace` puts another in its place",
            options.id
        );
        return Err(Failure::new(ExitStatus::Refused, message));
    }
    if let Some(there) = [file.clone(), key_file(&file)].iter().find(|path| path.exists()) {
        let message = format!(
            "{} is there already and stays as it is: take it away first",
            there.display()
        );
        return Err(Failure::new(ExitStatus::Refused, message));
    }
    let mut lines = vec![
        "[[device]]".to_owned(),
        line("id", &options.id),
        line("profile", &options.profile),
    ];
    lines.extend(options.fields.lines(&options.id));
    let text = lines.join("\n") + "\n";
    put(config, sources, &file, &text, &options.fields.key(&options.id))?;
    say(config, &format!("written: {}", file.display()))
}

fn replace(config: &Path, options: &ReplaceOptions) -> Result<(), Failure> {
    let mut sources = Sources::load(config).map_err(invalid)?;
    let file = own_file(config, &sources, &options.id)?;
    let name = file.display().to_string();
    let before = sources.options.iter().find(|known| known.name == name);
    let before = before.map(|known| known.text.clone()).unwrap_or_default();
    let text = options
        .fields
        .lines(&options.id)
        .into_iter()
        .fold(before, |text, line| with_line(&text, &line));
    sources.options.retain(|known| known.name != name);
    put(config, sources, &file, &text, &options.fields.key(&options.id))?;
    let kept = "it keeps its endpoint name and its place at every server";
    say(config, &format!("written: {}; {kept}", file.display()))
}

fn remove(config: &Path, id: &str) -> Result<(), Failure> {
    let sources = Sources::load(config).map_err(invalid)?;
    let file = own_file(config, &sources, id)?;
    fs::remove_file(&file).map_err(|error| cannot("remove", &file, &error))?;
    let key = key_file(&file);
    match fs::remove_file(&key) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot("remove", &key, &error)),
    }
    let kept = "what servers have not got of it yet stays in the buffer until they have";
    say(config, &format!("removed: {}; {kept}", file.display()))
}

impl DeviceFields {
    /// Reads the key from standard input, where that is wanted.
    fn read_key(&mut self) -> Result<(), Failure> {
        if self.app_key.as_deref() == Some("-") {
            let key = io::read_to_string(io::stdin().take(SECRET_BYTES));
            let key = key.map_err(|error| {
                Failure::new(
                    ExitStatus::Usage,
                    format!("cannot read the key from standard input: {error}"),
                )
            })?;
            self.app_key = Some(key.trim().to_owned());
        }
        Ok(())
    }

    /// Returns the options as lines of TOML.
    fn lines(&self, id: &str) -> Vec<String> {
        let key_file = self.app_key.as_ref().map(|_| format!("{id}.key"));
        let texts = [
            ("bus", &self.bus),
            ("broker", &self.broker),
            ("topic", &self.topic),
            ("dev_eui", &self.dev_eui),
            ("join_eui", &self.join_eui),
            ("app_key_file", &self.app_key_file.clone().or(key_file)),
            ("dev_addr", &self.dev_addr),
            ("nwk_s_key_file", &self.nwk_s_key_file),
            ("app_s_key_file", &self.app_s_key_file),
            ("label", &self.label),
            ("serial", &self.serial),
            ("endpoint", &self.endpoint),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(key, text)| Some(line(key, text.as_ref()?)));
        let unit = self.unit.map(|unit| format!("unit = {unit}"));
        texts.chain(unit).collect()
    }

    /// Returns the key that gets a file of its own, with the name of that file.
    fn key(&self, id: &str) -> Option<(String, &str)> {
        Some((format!("{id}.key"), self.app_key.as_deref()?))
    }
}

fn line(key: &str, text: &str) -> String {
    format!("{key} = {}", toml::Value::String(text.to_owned()))
}

/// Returns the text with this line in place of the one that has the same key, or after all others.
fn with_line(text: &str, line: &str) -> String {
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let wanted = key(line);
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|known| key(known) == wanted) {
        Some(place) => lines.splice(place..=place, [line]).for_each(drop),
        None => lines.push(line),
    }
    lines.join("\n") + "\n"
}

/// The file of a device; its id is a plain name, or it would lead elsewhere.
fn file_of(config: &Path, id: &str) -> Result<PathBuf, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.starts_with('.') || !id.chars().all(plain) {
        let message = format!("{id:?} is no id: 1 to 64 letters, digits, dashes, dots and underscores");
        return Err(Failure::new(ExitStatus::Usage, message));
    }
    let folder = config.parent().unwrap_or(Path::new("")).join("devices.d");
    Ok(folder.join(format!("{id}.toml")))
}

fn key_file(file: &Path) -> PathBuf {
    file.with_extension("key")
}

/// Returns the file that holds this device and nothing else.
fn own_file(config: &Path, sources: &Sources, id: &str) -> Result<PathBuf, Failure> {
    let file = file_of(config, id)?;
    let Some(place) = place_of(sources, id) else {
        let message = format!("there is no device {id:?} in the configuration");
        return Err(Failure::new(ExitStatus::NotFound, message));
    };
    let name = file.display().to_string();
    let known = sources.options.iter().find(|known| known.name == name);
    if *place.file == *name && known.is_some_and(|known| ids_in(known).len() == 1) {
        return Ok(file);
    }
    let message = format!("{id} stands at {place}, in a file that people have written: change it there");
    Err(Failure::new(ExitStatus::Refused, message))
}

fn place_of(sources: &Sources, id: &str) -> Option<Place> {
    let all = sources.options.iter().flat_map(ids_in);
    all.into_iter()
        .find(|(known, _)| known == id)
        .map(|(_, place)| place)
}

/// Returns the devices in a file; what is wrong with it is said by whoever checks it.
fn ids_in(file: &File) -> Vec<(String, Place)> {
    let Ok(document) = Document::parse(&file.name, &file.text) else {
        return Vec::new();
    };
    let tables = document.root().get("device").and_then(|item| item.tables());
    let ids = tables.unwrap_or_default();
    ids.iter()
        .filter_map(|table| {
            let item = table.get("id")?;
            Some((item.if_string()?.to_owned(), item.place()))
        })
        .collect()
}

/// Checks the whole with this file in it, and writes it. A key is written first, since the file refers to it, and is
/// taken away again where the whole is wrong.
fn put(
    config: &Path,
    mut sources: Sources,
    file: &Path,
    text: &str,
    key: &Option<(String, &str)>,
) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder).map_err(|error| cannot("make", folder, &error))?;
    let key_before = fs::read(key_file(file)).ok();
    if let Some((name, key)) = key {
        write(config, &folder.join(name), &format!("{key}\n"))?;
    }
    sources.options.push(File {
        name: file.display().to_string(),
        text: text.to_owned(),
    });
    if let Err(failure) = check(&sources) {
        if key.is_some() {
            match key_before {
                Some(bytes) => fs::write(key_file(file), bytes).ok(),
                None => fs::remove_file(key_file(file)).ok(),
            };
        }
        return Err(failure);
    }
    write(config, file, text)
}

fn check(sources: &Sources) -> Result<(), Failure> {
    let loaded = read(sources).map_err(invalid)?;
    rehearse(&loaded).map_err(|error| Failure::new(ExitStatus::Invalid, error.to_string()))
}

/// Puts a whole file in the place of the one before: who reads meanwhile finds one or the other. Who may read the
/// configuration may read it too.
fn write(config: &Path, file: &Path, text: &str) -> Result<(), Failure> {
    let new = file.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&new)
        .and_then(|mut opened| {
            opened.write_all(text.as_bytes())?;
            if let Ok(like) = fs::metadata(config) {
                // Whoever may not give it to that group is in it, or reads it all the same.
                chown(&new, None, Some(like.gid())).ok();
            }
            opened.sync_all()
        })
        .and_then(|()| fs::rename(&new, file));
    written.map_err(|error| cannot("write", file, &error))
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot {what} {}: {error}", path.display());
    Failure::new(ExitStatus::Failed, message)
}

/// Says what was done and what is left to do.
fn say(config: &Path, done: &str) -> Result<(), Failure> {
    let how = if config == Path::new(DEFAULT_PATH) {
        "systemctl reload ucifi-gateway".to_owned()
    } else {
        // The lock has the number of the process that holds it.
        format!("kill -HUP $(cat {})", lock_of(config).display())
    };
    print(&format!(
        "{done}\nnext: {how}, and it is in force; a gateway that starts later has it anyway\n"
    ))
}

fn lock_of(config: &Path) -> PathBuf {
    let loaded = Sources::load(config).and_then(|sources| read(&sources));
    let folder = loaded.map_or_else(
        |_| DEFAULT_STATE_DIR.into(),
        |loaded| loaded.configuration.gateway.state_dir,
    );
    folder.join("lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_the_place_of_the_one_with_its_key() {
        let text = "[[device]]\nid = \"a\"\n# unit = 3\nunit = 1\n";
        let changed = with_line(text, "unit = 7");
        assert_eq!(changed, "[[device]]\nid = \"a\"\n# unit = 3\nunit = 7\n");
        assert_eq!(
            with_line(&changed, "serial = \"x\""),
            format!("{changed}serial = \"x\"\n")
        );
    }

    #[test]
    fn an_id_does_not_lead_out_of_the_folder() {
        let config = Path::new("/etc/g/gateway.toml");
        for id in ["../x", "", ".x", "a/b", "a b"] {
            assert!(file_of(config, id).is_err(), "{id}");
        }
        assert_eq!(
            file_of(config, "lamp-1").unwrap(),
            Path::new("/etc/g/devices.d/lamp-1.toml")
        );
    }
}
