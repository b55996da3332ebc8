//! `buffer`: what waits on disk, shown, exported and dropped while no gateway runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lwm2m_client::{Path, Timestamp, Value};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use ucifi_core::buffer::{Batch, Commit, Log, Moment, PointClass, Record, Reply, Request, Stream};
use ucifi_gateway::store::{FileDisk, FolderLock, buffer_folder};

use crate::{code, path_of, program, run, stderr, stdout};

const HOUR_MS: i64 = 3_600_000;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration, and with a log that the gateway's own code wrote.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("state");
        let text = format!(
            r#"[gateway]
name = "cab-1"
state_dir = "{}"
control_socket = "{}"

[[server]]
name = "city"
uri = "coap://127.0.0.1"

[[bus]]
name = "rs485-1"
port = "/dev/ttyS0"

[[device]]
id = "meter"
profile = "eastron.sdm630"
bus = "rs485-1"
unit = 1
"#,
            path_of(&state_dir),
            path_of(&folder.path().join("control.sock"))
        );
        fs::write(folder.path().join("gateway.toml"), text).unwrap();
        Self { folder }
    }

    fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Puts readings into the buffer.
    fn store(&self, batches: Vec<Batch>) {
        fs::create_dir_all(self.state_dir()).unwrap();
        let disk = FileDisk::open(&buffer_folder(&self.state_dir())).unwrap();
        let (mut log, contents) = Log::open(disk, ucifi_core::buffer::Options::default()).unwrap();
        let replies = log.handle(Request::Commit(Commit {
            id: 1,
            next_seq: contents.next_seq + 1_000,
            wall: Some(now()),
            batches,
            ..Commit::default()
        }));
        let committed = Reply::Committed {
            id: 1,
            result: Ok(()),
        };
        assert_eq!(replies, [committed]);
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let config = self.folder.path().join("gateway.toml");
        run(&[arguments, &["--config", path_of(&config)]].concat())
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    }

    fn show(&self) -> Json {
        serde_json::from_str(&self.succeed(&["buffer", "--json"])).unwrap()
    }
}

/// A gateway that reaches neither its server nor its bus.
struct Daemon(Child);

impl Daemon {
    fn start(site: &Site) -> Self {
        let config = site.folder.path().join("gateway.toml");
        let daemon = program(&["run", "--config", path_of(&config), "--log", "off"])
            .spawn()
            .unwrap();
        let daemon = Self(daemon);
        let deadline = Instant::now() + PATIENCE;
        while code(&site.run(&["status"])) != 0 {
            assert!(Instant::now() < deadline, "the gateway does not answer");
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_unix_ms(since.as_millis().try_into().unwrap())
}

/// Two readings of a device, of three hours ago and of now.
fn readings(device: &str, class: PointClass, accounts: &[&str], first: u64) -> Batch {
    let record = |seq: u64, hours_ago: i64| Record {
        seq,
        path: Path::resource(3421, 0, 1),
        value: Value::Float(230.1 + hours_ago as f64),
        moment: Moment::Wall(Timestamp::from_unix_ms(now().unix_ms() - hours_ago * HOUR_MS)),
    };
    Batch {
        stream: Stream {
            device: device.into(),
            class,
        },
        accounts: accounts.iter().map(|account| Arc::from(*account)).collect(),
        records: vec![record(first, 3), record(first + 1, 0)],
    }
}

fn stored() -> Site {
    let site = Site::new();
    site.store(vec![
        readings("meter", PointClass::Measurement, &["backup", "city"], 10),
        readings("meter", PointClass::Billing, &["city"], 20),
        readings("gone", PointClass::Alarm, &["city"], 30),
    ]);
    site
}

#[test]
fn what_waits_is_shown_by_server_and_device() {
    let site = stored();
    let value = site.show();
    assert_eq!(value["total"]["readings"], 8, "{value}");
    let rows: Vec<Json> = value["waiting"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            json!([
                row["server"],
                row["device"],
                row["readings"],
                row["by_class"]["billing"]
            ])
        })
        .collect();
    let expected = [
        json!(["backup", "meter", 2, 0]),
        json!(["city", "gone", 2, 0]),
        json!(["city", "meter", 4, 2]),
    ];
    assert_eq!(rows, expected);
    assert!(value["live_bytes"].as_u64().unwrap() > 0, "{value}");
    let text = site.succeed(&["buffer", "show"]);
    assert!(
        text.starts_with("SERVER  DEVICE  ALARM  BILLING  MEASUREMENT"),
        "{text}"
    );
    assert!(text.contains("\nall "), "{text}");
}

#[test]
fn a_gateway_that_never_ran_has_nothing_waiting() {
    let site = Site::new();
    let text = site.succeed(&["buffer"]);
    assert!(
        text.starts_with("nothing waits in ") && text.contains("/state/buffer"),
        "{text}"
    );
    assert_eq!(site.show()["total"]["readings"], 0);
    assert_eq!(site.succeed(&["buffer", "export", "--csv"]).lines().count(), 1);
    let text = site.succeed(&["buffer", "drop", "--older-than", "1h"]);
    assert!(text.starts_with("dropped 0 readings"), "{text}");
    assert!(!site.state_dir().exists());
}

#[test]
fn readings_are_exported_once_for_each_server_they_are_owed_to() {
    let site = stored();
    let csv = site.succeed(&["buffer", "export", "--csv"]);
    let heading = "server,device,path,name,value,unit,time,class,seq,estimated";
    assert_eq!(csv.lines().next(), Some(heading));
    assert_eq!(csv.lines().count(), 9, "{csv}");
    let backup = site.succeed(&["buffer", "export", "--csv", "--server", "backup"]);
    let rows: Vec<&str> = backup.lines().skip(1).collect();
    assert_eq!(rows.len(), 2, "{backup}");
    assert!(
        rows[0].starts_with("backup,meter,/3421/0/1,Voltage,233.1,V,2"),
        "{backup}"
    );
    assert!(rows[0].ends_with("Z,measurement,10,false"), "{backup}");
    assert!(
        rows[1].starts_with("backup,meter,/3421/0/1,Voltage,230.1,V,2"),
        "{backup}"
    );
    let gone = site.succeed(&["buffer", "export", "--csv", "--device", "gone"]);
    assert_eq!(
        gone.lines().filter(|line| line.contains(",alarm,")).count(),
        2,
        "{gone}"
    );
}

#[test]
fn an_export_in_senml_is_one_pack() {
    let site = stored();
    let text = site.succeed(&["buffer", "export", "--senml", "--server", "city"]);
    let pack: Vec<Json> = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = pack.iter().filter_map(|record| record["bn"].as_str()).collect();
    assert_eq!(names, ["cab-1-gone", "cab-1-meter"]);
    assert_eq!(pack.len(), 6);
    let times: Vec<f64> = pack.iter().filter_map(|record| record["t"].as_f64()).collect();
    let since = now().unix_ms() as f64 / 1_000.0 - times[0];
    assert!((10_800.0..11_000.0).contains(&since), "{since}");
    assert_eq!(times.len(), 6);
}

#[test]
fn an_export_needs_a_format_and_has_one() {
    let site = Site::new();
    for arguments in [
        &["buffer", "export"][..],
        &["buffer", "export", "--csv", "--senml"],
        &["buffer", "--json", "export", "--csv"],
        &["buffer", "drop"],
        &["buffer", "drop", "--older-than", "1 month"],
    ] {
        assert_eq!(code(&site.run(arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn old_readings_are_dropped_without_a_gateway_and_stay_dropped() {
    let site = stored();
    let one = site.succeed(&["buffer", "drop", "--older-than", "2h", "--server", "backup"]);
    assert!(one.starts_with("dropped 1 reading measured before 2"), "{one}");
    assert_eq!(site.show()["total"]["readings"], 7);
    let all = site.succeed(&["buffer", "drop", "--older-than", "2h", "--json"]);
    assert_eq!(
        serde_json::from_str::<Json>(&all).unwrap(),
        json!({ "dropped": 3 })
    );
    let left = site.show();
    assert_eq!(left["total"]["readings"], 4, "{left}");
    assert!(
        left["total"]["oldest"].as_str() == left["waiting"][0]["oldest"].as_str(),
        "{left}"
    );
    let again = site.succeed(&["buffer", "drop", "--older-than", "2h"]);
    assert!(again.starts_with("dropped 0 readings"), "{again}");
}

#[test]
fn a_server_that_nobody_knows_is_not_found() {
    let site = stored();
    let output = site.run(&["buffer", "drop", "--older-than", "2h", "--server", "citty"]);
    assert_eq!(code(&output), 7);
    assert!(
        stderr(&output).contains("did you mean \"city\""),
        "{}",
        stderr(&output)
    );
    assert_eq!(site.show()["total"]["readings"], 8);
}

#[test]
fn a_buffer_that_somebody_uses_is_looked_at_and_not_changed() {
    let site = stored();
    let lock = FolderLock::take(&site.state_dir()).unwrap();
    assert_eq!(site.show()["total"]["readings"], 8);
    let output = site.run(&["buffer", "drop", "--older-than", "2h"]);
    assert_eq!(code(&output), 4, "{}", stderr(&output));
    drop(lock);
    assert_eq!(site.show()["total"]["readings"], 8);
}

#[test]
fn a_running_gateway_drops_what_it_is_asked_to() {
    let site = stored();
    let _daemon = Daemon::start(&site);
    let said = site.succeed(&[
        "buffer",
        "drop",
        "--older-than",
        "2h",
        "--server",
        "city",
        "--json",
    ]);
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!(said["dropped"], 3, "{said}");
    let left = site.show();
    assert_eq!(left["total"]["readings"], 5, "{left}");
}

#[test]
fn a_reader_who_has_enough_ends_an_export() {
    let site = Site::new();
    let mut batch = readings("meter", PointClass::Measurement, &["city"], 10);
    let one = batch.records[0].clone();
    let more = (100..4_100).map(|seq| Record { seq, ..one.clone() });
    batch.records.extend(more);
    site.store(vec![batch]);
    let config = site.folder.path().join("gateway.toml");
    let mut child = program(&["buffer", "export", "--csv", "--config", path_of(&config)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // Dropped with what it has read: the pipe is closed while most is still to come.
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("server,device,"), "{line}");
    let output = child.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn looking_changes_no_file() {
    let site = stored();
    let files = || {
        let folder = buffer_folder(&site.state_dir());
        let mut files: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    let before = files();
    site.show();
    site.succeed(&["buffer", "export", "--csv"]);
    assert!(files() == before);
}
