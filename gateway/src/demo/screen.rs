//! The demo on a terminal, in a file, or as JSON.

use std::io::{IsTerminal, stdout};

use serde_json::json;

use super::cabinet::DEVICES;
use super::tally::Tally;
use super::view::{News, Seen, Switched, View};
use crate::cli::number;
use crate::cli::output::print;
use crate::cli::table::{Align, Table};
use crate::exit::Failure;
use crate::runtime::plain_json;

/// Messages shown on a terminal.
const SHOWN_MESSAGES: usize = 8;

/// How the demo is shown.
pub(super) struct Screen {
    kind: Kind,
    cabinet: String,
    server_uri: String,
    messages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One JSON object a line.
    Json,
    /// One line for each thing that happens.
    Lines,
    /// A page that is drawn anew.
    Page,
}

impl Screen {
    /// Chooses a page for a terminal, lines for anything else.
    pub(super) fn new(json: bool, cabinet: String, server_uri: &str) -> Self {
        let kind = match (json, stdout().is_terminal()) {
            (true, _) => Kind::Json,
            (false, true) => Kind::Page,
            (false, false) => Kind::Lines,
        };
        Self {
            kind,
            cabinet,
            server_uri: server_uri.to_owned(),
            messages: Vec::new(),
        }
    }

    /// Says what is connected to what.
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        match self.kind {
            Kind::Json => {
                line(&json!({ "event": "started", "cabinet": self.cabinet, "server": self.server_uri }))
            }
            Kind::Lines => print(&format!("{}\n", self.heading())),
            Kind::Page => Ok(()),
        }
    }

    /// Tells what is new.
    pub(super) fn tell(&mut self, news: &[News]) -> Result<(), Failure> {
        for one in news {
            match self.kind {
                Kind::Json => line(&json_of(one))?,
                Kind::Lines => print(&format!("{}\n", text_of(one)))?,
                Kind::Page => self.keep(one),
            }
        }
        Ok(())
    }

    /// Draws the page anew, where there is one.
    pub(super) fn draw(&self, view: &View) -> Result<(), Failure> {
        match self.kind {
            Kind::Json | Kind::Lines => Ok(()),
            Kind::Page => print(&format!("\x1b[H\x1b[2J{}", self.page(view))),
        }
    }

    /// Draws the counts anew where there is a page, for a server whose view is not ours.
    pub(super) fn draw_tally(&self, tally: &Tally) -> Result<(), Failure> {
        match self.kind {
            Kind::Json | Kind::Lines => Ok(()),
            Kind::Page => {
                let messages = self.messages.join("\n");
                print(&format!(
                    "\x1b[H\x1b[2J{}\n\n{}\n{messages}\n",
                    self.heading(),
                    tally.table()
                ))
            }
        }
    }

    /// Says how it ended; `view` is what the simulated server saw.
    pub(super) fn finish(
        &self,
        view: Option<&View>,
        tally: &Tally,
        outcome: &Result<(), String>,
    ) -> Result<(), Failure> {
        let seen = view.map(|view| {
            let clients: Vec<&str> = view.clients().collect();
            let values: usize = clients.iter().map(|client| view.values(client).count()).sum();
            (clients, values, view.switched().len())
        });
        if self.kind == Kind::Json {
            let mut finished = json!({
                "event": "finished",
                "ok": outcome.is_ok(),
                "reason": outcome.as_ref().err(),
                "totals": tally.total().json(),
            });
            if let Some((clients, values, switched)) = seen {
                finished["clients"] = json!(clients);
                finished["values"] = json!(values);
                finished["switched"] = json!(switched);
            }
            return line(&finished);
        }
        print(&format!("\n{}", tally.table()))?;
        match seen {
            None => Ok(()),
            Some((clients, values, switched)) => print(&format!(
                "\nthe server saw {} clients and {values} values; {switched} times a lamp or a relay was switched by an \
                 LwM2M Write, and each time the thing itself was seen to follow\n",
                clients.len()
            )),
        }
    }

    /// Says that it goes on.
    pub(super) fn go_on(&self) -> Result<(), Failure> {
        match self.kind {
            Kind::Json => Ok(()),
            Kind::Lines | Kind::Page => print("it goes on until it is interrupted\n"),
        }
    }

    fn keep(&mut self, news: &News) {
        match news {
            News::Value { .. } => {}
            News::Listed { .. }
            | News::State { .. }
            | News::Switched(_)
            | News::Away(_)
            | News::Back
            | News::Trouble(_) => {
                self.messages.push(text_of(news));
                let excess = self.messages.len().saturating_sub(SHOWN_MESSAGES);
                self.messages.drain(..excess);
            }
        }
    }

    fn heading(&self) -> String {
        format!(
            "{}\n  -> ucifi-gateway -> LwM2M server on {}",
            self.cabinet, self.server_uri
        )
    }

    fn page(&self, view: &View) -> String {
        let mut table = Table::new(&[
            ("device", Align::Left),
            ("link", Align::Left),
            ("values", Align::Right),
            ("of these", Align::Left),
            ("last", Align::Right),
        ]);
        for device in DEVICES {
            let endpoint = device.endpoint();
            let shown = device
                .shows
                .iter()
                .filter_map(|path| view.value(&endpoint, *path));
            let shown: Vec<String> = shown.map(text_of_value).collect();
            let last = view.values(&endpoint).map(|(_, seen)| seen.at.elapsed()).min();
            let last = last.map(|age| format!("{:.1} s ago", age.as_secs_f64()));
            table.row(vec![
                device.id.to_owned(),
                device.protocol.name().to_owned(),
                view.values(&endpoint).count().to_string(),
                shown.join(", "),
                last.unwrap_or_else(|| "not yet".to_owned()),
            ]);
        }
        format!(
            "{}\n\n{} s\n{table}\n{}\n",
            self.heading(),
            view.elapsed().as_secs(),
            self.messages.join("\n")
        )
    }
}

fn text_of_value(seen: &Seen) -> String {
    format!("{} {} {}", seen.name, shown(seen), number::unit(&seen.unit))
        .trim_end()
        .to_owned()
}

fn line(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

fn shown(seen: &Seen) -> String {
    number::of_value(&seen.value)
}

fn text_of(news: &News) -> String {
    match news {
        News::Listed { endpoint, instances } => {
            let instances: Vec<String> = instances.iter().map(ToString::to_string).collect();
            format!("registered  {endpoint}: {}", instances.join(" "))
        }
        News::Value { endpoint, path, seen } => format!(
            "value       {endpoint} {path} {} = {} {}",
            seen.name,
            shown(seen),
            number::unit(&seen.unit)
        )
        .trim_end()
        .to_owned(),
        News::Switched(Switched {
            device,
            level,
            answered_within,
        }) => format!(
            "switched    {} ({}) to {level} % by an LwM2M Write, answered after {} ms; seen at the device itself",
            device.id,
            device.protocol.name(),
            answered_within.as_millis()
        ),
        News::State { endpoint, state } => format!("{state:<11} {endpoint}"),
        News::Away(length) => format!(
            "outage      the server goes away for {} s; readings wait in the buffer",
            length.as_secs()
        ),
        News::Back => "outage      the server is back".to_owned(),
        News::Trouble(reason) => format!("trouble     {reason}"),
    }
}

fn json_of(news: &News) -> serde_json::Value {
    match news {
        News::Listed { endpoint, instances } => {
            let instances: Vec<String> = instances.iter().map(ToString::to_string).collect();
            json!({ "event": "registered", "endpoint": endpoint, "instances": instances })
        }
        News::Value { endpoint, path, seen } => json!({
            "event": "value",
            "endpoint": endpoint,
            "path": path.to_string(),
            "name": seen.name,
            "value": plain_json(&seen.value),
            "unit": seen.unit,
        }),
        News::Switched(Switched {
            device,
            level,
            answered_within,
        }) => json!({
            "event": "switched",
            "device": device.id,
            "protocol": device.protocol.name(),
            "level": level,
            "answered_ms": answered_within.as_secs_f64() * 1_000.0,
        }),
        News::State { endpoint, state } => {
            json!({ "event": "state", "endpoint": endpoint, "state": state })
        }
        News::Away(length) => json!({ "event": "outage", "away": true, "seconds": length.as_secs() }),
        News::Back => json!({ "event": "outage", "away": false }),
        News::Trouble(reason) => json!({ "event": "trouble", "reason": reason }),
    }
}
