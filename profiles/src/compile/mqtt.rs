//! `[mqtt]` and `[[topic]]`: under which topics a device publishes, and what the messages mean.

use std::collections::BTreeMap;

use lwm2m_client::{Value, ValueType};
use ucifi_core::field::{PointId, Qos, Subscription, TopicId, TopicTemplate};
use ucifi_core::profile::Deadband;

use super::measure::{MEANING_KEYS, limit, refuse_beside_map};
use super::payload::Context;
use super::resource::{Target, Use, typed_value};
use super::{Draft, expanded, tables};
use crate::bytes::Endian;
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::instant::TimeFormat;
use crate::json::{JsonPath, JsonTime, LeafCondition, LeafMeaning};
use crate::limits::MAX_SOURCES;
use crate::message::{Availability, Form, JsonPoint, Source};

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// What holds for every topic of the device.
pub(super) struct Mqtt {
    pub(super) qos: Qos,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            qos: Qos::AtLeastOnce,
        }
    }
}

/// How the messages of a topic are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Json,
    Text,
    Bytes,
}

const WRITINGS: [(&str, Writing); 3] = [
    ("json", Writing::Json),
    ("text", Writing::Text),
    ("bytes", Writing::Bytes),
];

impl<'d> Draft<'d> {
    /// Reads `[mqtt]`.
    pub(super) fn mqtt(&mut self, table: &Table<'d>) {
        if let Some(qos) = table.get("qos").and_then(|item| qos(&item)) {
            self.mqtt.qos = qos;
        }
        if let Some(availability) = table.get("availability").and_then(|item| item.table()) {
            self.messages.availability = self.availability(&availability);
            availability.finish();
        }
        table.finish();
    }

    fn availability(&mut self, table: &Table<'d>) -> Option<Availability> {
        let template = table
            .require("topic")
            .and_then(|item| topic(&item, Scope::default()));
        let path = table.get("json").map(|item| item.parse::<JsonPath>());
        let word = |key: &str| table.require(key).and_then(|item| word_of(&item));
        let (online, offline) = (word("online"), word("offline"));
        Some(Availability {
            topic: self.subscribed(template?, self.mqtt.qos)?,
            path: match path {
                Some(path) => Some(path?),
                None => None,
            },
            online: online?,
            offline: offline?,
        })
    }

    /// Returns the number of a topic, which may be there already: the better of the two deliveries is asked for.
    fn subscribed(&mut self, topic: TopicTemplate, qos: Qos) -> Option<TopicId> {
        let topics = &mut self.messages.topics;
        let index = match topics.iter().position(|known| known.topic == topic) {
            Some(index) => index,
            None => {
                topics.push(Subscription { topic, qos });
                topics.len() - 1
            }
        };
        let known = topics.get_mut(index)?;
        known.qos = known.qos.max(qos);
        Some(TopicId(u16::try_from(index).ok()?))
    }

    /// Reads every `[[topic]]` of a table.
    pub(super) fn read_topics(&mut self, table: &Table<'d>, scope: Scope) {
        for table in tables(table, "topic") {
            if self.messages.sources.len() >= MAX_SOURCES {
                table.error::<()>(format!("a profile has at most {MAX_SOURCES} topics"));
                return;
            }
            self.topic(&table, scope);
        }
    }

    fn topic(&mut self, table: &Table<'d>, scope: Scope) {
        let template = table.require("topic").and_then(|item| topic(&item, scope));
        let qos = match table.get("qos") {
            Some(item) => qos(&item),
            None => Some(self.mqtt.qos),
        };
        let every_secs = table
            .get("every_secs")
            .and_then(|item| item.integer(0..=31_622_400_u64));
        let writing = match table.get("payload") {
            Some(item) => item.one_of(&WRITINGS),
            None => Some(Writing::Json),
        };
        let every_ms = every_secs.unwrap_or(0) * 1000;
        let form = match writing {
            Some(Writing::Json) => self.json_form(table, scope, every_ms),
            Some(Writing::Text) => Form::Text(self.text_points(table, scope, every_ms)),
            Some(Writing::Bytes) => {
                let context = Context {
                    scope,
                    endian: table.get("endian").and_then(|item| item.one_of(&Endian::WORDS)),
                    every_ms,
                };
                Form::Bytes(Box::new(self.payload(table, context)))
            }
            None => {
                table.accept(&["when", "time", "points"]);
                Form::Text(Vec::new())
            }
        };
        table.finish();
        if let Some(topic) = template.zip(qos).and_then(|(t, qos)| self.subscribed(t, qos)) {
            self.messages.sources.push(Source { topic, form });
        }
    }

    fn json_form(&mut self, table: &Table<'d>, scope: Scope, every_ms: u64) -> Form {
        let when = table
            .get("when")
            .and_then(|item| condition(&item.table()?, scope));
        let time = table.get("time").and_then(|item| time(&item.table()?, scope));
        let mut points = Vec::new();
        let table = table.get("points").and_then(|item| item.table());
        for item in table.map(|table| table.entries()).unwrap_or_default() {
            let Some(table) = item.table() else { continue };
            let path = table.require("json").and_then(|item| json_path(&item, scope));
            if let Some((point, meaning)) = self.leaf(&item, &table, scope, every_ms, false)
                && let Some(path) = path
            {
                points.push(JsonPoint { point, path, meaning });
            }
        }
        Form::Json { when, time, points }
    }

    fn text_points(&mut self, table: &Table<'d>, scope: Scope, every_ms: u64) -> Vec<(PointId, LeafMeaning)> {
        let table = table.get("points").and_then(|item| item.table());
        let mut points = Vec::new();
        for item in table.map(|table| table.entries()).unwrap_or_default() {
            if let Some(table) = item.table() {
                points.extend(self.leaf(&item, &table, scope, every_ms, true));
            }
        }
        points
    }

    fn leaf(
        &mut self,
        item: &Item<'d>,
        table: &Table<'d>,
        scope: Scope,
        every_ms: u64,
        is_text: bool,
    ) -> Option<(PointId, LeafMeaning)> {
        let target = table
            .require("path")
            .and_then(|path| self.target(&path, scope, Use::Fill));
        let from_text = match table.get("from_text") {
            Some(item) => item.boolean(),
            None => Some(is_text),
        };
        let meaning = match (&target, from_text) {
            (Some(target), Some(from_text)) => self.leaf_meaning(table, target, from_text),
            (Some(_) | None, _) => {
                table.accept(&MEANING_KEYS);
                None
            }
        };
        let (meaning, deadband) = meaning.unzip();
        let point = self.sent_point(item, table, scope, every_ms, target.as_ref(), deadband);
        table.finish();
        point.zip(meaning)
    }

    fn leaf_meaning(
        &self,
        table: &Table<'d>,
        target: &Target<'d>,
        from_text: bool,
    ) -> Option<(LeafMeaning, Deadband)> {
        let definition = target.definition;
        let value_type = definition.value_type?;
        if let Some(map) = table.get("map") {
            refuse_beside_map(table);
            let words = words(&map.table()?, target, value_type)?;
            return Some((LeafMeaning::Words(words), Deadband::default()));
        }
        match value_type {
            ValueType::Boolean => match limit(table) {
                Some(limit) => {
                    let limit = limit?;
                    Some((LeafMeaning::Limit { limit, from_text }, Deadband::default()))
                }
                None if from_text => table.error_with_help(
                    "a text is neither true nor false",
                    "say which texts are, as in map = { ON = true, OFF = false }",
                ),
                None => Some((LeafMeaning::Flag, Deadband::default())),
            },
            ValueType::String => Some((LeafMeaning::Text, Deadband::default())),
            ValueType::Float
            | ValueType::Integer
            | ValueType::Unsigned
            | ValueType::Time
            | ValueType::Opaque
            | ValueType::Objlnk
            | ValueType::Corelnk => {
                let (number, deadband) = self.measured(table, target, value_type)?;
                Some((LeafMeaning::Number { number, from_text }, deadband))
            }
        }
    }
}

fn words(map: &Table<'_>, target: &Target<'_>, value_type: ValueType) -> Option<BTreeMap<String, Value>> {
    let mut words = BTreeMap::new();
    for item in map.entries() {
        let value = typed_value(&item, value_type, Scope::default())?;
        if let Err(reason) = target.definition.check(&value) {
            return item.error(reason);
        }
        words.insert(item.key().to_owned(), value);
    }
    if words.is_empty() {
        return map.error("map is empty");
    }
    Some(words)
}

/// Reads a topic with one `{device}` in it.
pub(super) fn topic(item: &Item<'_>, scope: Scope) -> Option<TopicTemplate> {
    // The place of the device is no expression of a template.
    const PLACE: &str = "{device}";
    let parts: Vec<String> = item
        .string()?
        .split(PLACE)
        .map(|part| match scope.text(part) {
            Ok(text) => Some(text),
            Err(reason) => item.error(reason),
        })
        .collect::<Option<_>>()?;
    match TopicTemplate::new(&parts.join(PLACE)) {
        Ok(template) => Some(template),
        Err(error) => item.error(error.to_string()),
    }
}

pub(super) fn qos(item: &Item<'_>) -> Option<Qos> {
    let index = item.integer(0..=2_usize)?;
    QOS.get(index).copied()
}

fn json_path(item: &Item<'_>, scope: Scope) -> Option<JsonPath> {
    match expanded(item, scope)?.parse() {
        Ok(path) => Some(path),
        Err(reason) => item.error::<JsonPath>(reason),
    }
}

/// Returns the word for a text, a number or a truth value.
fn word_of(item: &Item<'_>) -> Option<String> {
    match (item.if_boolean(), item.number_text()) {
        (Some(truth), _) => Some(truth.to_string()),
        (None, Some(number)) => Some(number),
        (None, None) => item.string().map(str::to_owned),
    }
}

fn condition(table: &Table<'_>, scope: Scope) -> Option<LeafCondition> {
    let path = table.require("json").and_then(|item| json_path(&item, scope));
    let among = table.require("equals").and_then(|item| {
        let items = item.one_or_more()?;
        items.iter().map(word_of).collect()
    });
    table.finish();
    Some(LeafCondition {
        path: path?,
        among: among?,
    })
}

fn time(table: &Table<'_>, scope: Scope) -> Option<JsonTime> {
    let path = table.require("json").and_then(|item| json_path(&item, scope));
    let format = table
        .require("format")
        .and_then(|item| item.one_of(&TimeFormat::WORDS));
    table.finish();
    Some(JsonTime {
        path: path?,
        format: format?,
    })
}
