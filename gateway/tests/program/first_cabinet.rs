//! The tutorial `docs/first-cabinet.md`: its commands, one after the other in one shell, and what they must print.
//!
//! Ports and folders are others than in the text. A line counts as the same when it is so without numbers, times and
//! widths of columns. A line `…` stands for any lines, and `…` at the end of a line for any rest of it. What only looks
//! is asked again until it shows what the text shows: a device is not there at once.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::site::PATIENCE;

const TUTORIAL: &str = include_str!("../../docs/first-cabinet.md");

/// Where the text takes place.
const HOME: &str = "/home/ana";

/// What ends the output of a command.
const END: &str = "-- end of the output --";

/// A command of the text and what it prints there.
#[derive(Debug)]
struct Step {
    command: String,
    output: Vec<String>,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if let (true, Some(command)) = (is_console, line.strip_prefix("$ ")) {
            steps.push(Step {
                command: command.to_owned(),
                output: Vec::new(),
            });
        } else if is_console {
            let step = steps.last_mut().expect("output stands behind a command");
            step.output.push(line.to_owned());
        }
    }
    steps
}

/// A shell in a folder of its own.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    folder: TempDir,
    /// What stands in the text, and what is used in its place.
    places: Vec<(String, String)>,
}

impl Shell {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(folder.path()).unwrap();
        symlink(env!("CARGO_BIN_EXE_ucifi-gateway"), home.join("ucifi-gateway")).unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut child = Command::new("bash")
            .args(["--noprofile", "--norc"])
            .current_dir(&home)
            .env("PATH", format!("{}:{path}", home.display()))
            .env_remove("UCIFI_CONFIG")
            .env_remove("UCIFI_LOG")
            .env_remove("UCIFI_SOCKET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(b"exec 2>&1\n").unwrap();
        Self {
            input,
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            places: places(&home),
            folder,
        }
    }

    /// Runs a command and returns the lines that it prints.
    fn run(&mut self, command: &str) -> Vec<String> {
        let command = self
            .places
            .iter()
            .fold(command.to_owned(), |command, (text, here)| {
                command.replace(text, here)
            });
        writeln!(self.input, "{command}\necho '{END}'").unwrap();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                self.output.read_line(&mut line).unwrap(),
                0,
                "the shell ended at {command}"
            );
            if line.trim_end() == END {
                return lines;
            }
            lines.push(line.trim_end().to_owned());
        }
    }

    /// Runs a command until it prints what it must: once, unless it only looks.
    fn check(&mut self, step: &Step) {
        let home = fs::canonicalize(self.folder.path()).unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            let printed = self.run(&step.command);
            let is_same = is_shown(&step.output, &printed, &home);
            if is_same {
                return;
            }
            assert!(
                only_looks(&step.command) && Instant::now() < end,
                "$ {}\n--- the text has\n{}\n--- it printed\n{}",
                step.command,
                step.output.join("\n"),
                printed.join("\n")
            );
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Everything that it has started; it may all have ended.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            kill_process_group(group, Signal::KILL).ok();
        }
        self.child.wait().ok();
    }
}

/// Ports that nobody has, and the folder.
fn places(home: &Path) -> Vec<(String, String)> {
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let udp = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = |text: &str, here: String| (text.to_owned(), here);
    vec![
        place("127.0.0.1:5683", udp().to_string()),
        place("127.0.0.1:1700", udp().to_string()),
        place("127.0.0.1:1883", tcp().to_string()),
        place(HOME, home.display().to_string()),
    ]
}

fn only_looks(command: &str) -> bool {
    let looks = ["status", "devices", "read", "doctor", "trace"];
    let mut words = command.split_whitespace();
    match words.next() {
        Some("ucifi-gateway") => words.next().is_some_and(|word| looks.contains(&word)),
        Some("grep" | "cat" | "tail") => true,
        Some(_) | None => false,
    }
}

/// Says whether what was printed is what the text shows, line by line.
fn is_shown(text: &[String], printed: &[String], home: &Path) -> bool {
    let printed: Vec<String> = printed
        .iter()
        .map(|line| plain(&line.replace(&home.display().to_string(), HOME)))
        .filter(|line| !line.is_empty())
        .collect();
    let mut rest = printed.as_slice();
    let mut may_skip = false;
    for line in text.iter().filter(|line| !line.trim().is_empty()) {
        if line.trim() == "…" {
            may_skip = true;
            continue;
        }
        let found = match may_skip {
            true => rest.iter().position(|printed| is_same(line, printed)),
            false => rest.first().filter(|printed| is_same(line, printed)).map(|_| 0),
        };
        let Some(found) = found else { return false };
        rest = rest.get(found + 1..).unwrap_or_default();
        may_skip = false;
    }
    may_skip || rest.is_empty()
}

fn is_same(text: &str, printed: &str) -> bool {
    match text.strip_suffix('…') {
        Some(beginning) => printed.starts_with(&plain(beginning)),
        None => plain(text) == printed,
    }
}

/// Returns a line without what is another each time: numbers, keys, the units of ages, the widths of columns.
fn plain(line: &str) -> String {
    let words: Vec<String> = line.split_whitespace().map(plain_word).collect();
    let mut line = words.join(" ");
    for unit in ["ms", "min", "h"] {
        line = line.replace(&format!("# {unit}"), "# s");
    }
    line
}

fn plain_word(word: &str) -> String {
    let is_hex = word.len() >= 4 && word.chars().all(|c| c.is_ascii_hexdigit());
    if is_hex && word.contains(|c: char| c.is_ascii_digit()) {
        return "#".to_owned();
    }
    let mut plain = String::new();
    for part in word.chars() {
        let is_inside = matches!(part, '.' | ':' | '-') && plain.ends_with('#');
        match part {
            _ if part.is_ascii_digit() && plain.ends_with('#') => {}
            _ if part.is_ascii_digit() => plain.push('#'),
            // Of 127.0.0.1:1883 and 12:30:01.5 one mark is left.
            _ if is_inside => {}
            _ => plain.push(part),
        }
    }
    plain
}

#[test]
fn the_commands_of_the_tutorial_print_what_it_shows() {
    let steps = steps(TUTORIAL);
    assert!(steps.len() > 20, "{steps:?}");
    let mut shell = Shell::start();
    for step in &steps {
        shell.check(step);
    }
}

#[test]
fn the_tutorial_is_linked_where_a_reader_begins() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains("(gateway/docs/first-cabinet.md)"));
}

#[test]
fn what_is_compared_are_words_and_not_numbers() {
    let home = Path::new("/tmp/x");
    let lines = |text: &[&str]| -> Vec<String> { text.iter().map(|line| (*line).to_owned()).collect() };
    let rows: [(&[&str], &[&str], bool); 8] = [
        (&["ok  lamp-1  0.3 s"], &["ok    lamp-2  12 min"], true),
        (&["ok  lamp-1  0.3 s"], &["fail  lamp-1  0.3 s"], false),
        (&["a", "…", "c"], &["a", "b", "b", "c"], true),
        (&["a", "…", "c"], &["a", "b"], false),
        (&["a"], &["a", "b"], false),
        (&["port 26, …"], &["port 23, 01FE12"], true),
        (&["/home/ana/etc 0200AB"], &["/tmp/x/etc 99FF"], true),
        (&["12:30:01.5 sent"], &["7:00:00.123 sent"], true),
    ];
    for (text, printed, expected) in rows {
        assert_eq!(
            is_shown(&lines(text), &lines(printed), home),
            expected,
            "{text:?} {printed:?}"
        );
    }
}
