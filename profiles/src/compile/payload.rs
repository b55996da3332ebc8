//! Payloads of bytes: where numbers stand in them, and what is around these.

use lwm2m_client::ValueType;
use ucifi_core::field::PointId;

use super::measure::{MEANING_KEYS, NumberRange, absent};
use super::resource::Use;
use super::{Draft, number, tables};
use crate::bytes::{Bits, ByteNumber, ByteValue, Endian, Shape};
use crate::document::{Item, Table};
use crate::expression::Scope;
use crate::golden;
use crate::layout::Absent;
use crate::limits::{MAX_LORAWAN_PAYLOAD, MAX_MESSAGE_BYTES, MAX_SOURCES};
use crate::payload::{Condition, Content, Entry, Field, Group, History, Payload, Place, Section};
use crate::register::Raw;

/// What holds for every number of a payload.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) scope: Scope,
    pub(super) endian: Option<Endian>,
    /// How often the payload comes.
    pub(super) every_ms: u64,
}

impl<'d> Draft<'d> {
    /// Reads what a table says of the bytes of a payload.
    pub(super) fn payload(&mut self, table: &Table<'d>, context: Context) -> Payload {
        let bound = |key: &str| {
            table
                .get(key)
                .and_then(|item| item.integer(0..=MAX_MESSAGE_BYTES))
        };
        let mut payload = Payload {
            when: condition(table, context),
            bytes: bound("min_bytes").unwrap_or(0)..=bound("max_bytes").unwrap_or(MAX_MESSAGE_BYTES),
            time: table.get("time").and_then(|item| unix_time(&item, context)),
            fields: self.fields(table, context, MAX_MESSAGE_BYTES),
            sections: Vec::new(),
            histories: Vec::new(),
        };
        for section in bounded(table, "section") {
            if let Some(section) = self.section(&section, context) {
                payload.sections.push(section);
            }
        }
        for history in bounded(table, "history") {
            if let Some(history) = self.history(&history, context, &payload) {
                payload.histories.push(history);
            }
        }
        payload
    }

    /// Reads the `points` of a table, each of which must end within so many bytes.
    fn fields(&mut self, table: &Table<'d>, context: Context, bytes: usize) -> Vec<Field> {
        let points = table.get("points").and_then(|item| item.table());
        let points = points.map(|points| points.entries()).unwrap_or_default();
        points
            .into_iter()
            .filter_map(|item| self.field(item, context, bytes))
            .collect()
    }

    fn field(&mut self, item: Item<'d>, context: Context, bytes: usize) -> Option<Field> {
        let table = item.table()?;
        let place = place(&table, context, bytes);
        self.field_at(&item, &table, context, place)
    }

    fn field_at(
        &mut self,
        item: &Item<'d>,
        table: &Table<'d>,
        context: Context,
        place: Option<Place>,
    ) -> Option<Field> {
        let when = table.get("when").is_some().then(|| condition(table, context));
        let target = table
            .require("path")
            .and_then(|path| self.target(&path, context.scope, Use::Fill));
        let is_bit = place.is_some_and(|place| place.number.is_single_bit());
        let meaning = match (&target, place) {
            (Some(target), Some(_)) => self.meaning(table, is_bit, target),
            (Some(_) | None, _) => {
                table.accept(&MEANING_KEYS);
                None
            }
        };
        let absent = place.map_or_else(Absent::default, |place| absent(table, range_of(place.number)));
        let (meaning, deadband) = meaning.unzip();
        let point = self.sent_point(
            item,
            table,
            context.scope,
            context.every_ms,
            target.as_ref(),
            deadband,
        );
        table.finish();
        let place = place?;
        Some(Field {
            point: point?,
            at: place.at,
            value: ByteValue {
                number: place.number,
                absent,
                meaning: meaning?,
            },
            when: match when {
                Some(when) => Some(when?),
                None => None,
            },
        })
    }

    fn section(&mut self, table: &Table<'d>, context: Context) -> Option<Section> {
        let offset = |key: &str| {
            table
                .get(key)
                .and_then(|item| item.integer(0..=MAX_MESSAGE_BYTES))
        };
        let (at, length_at) = (offset("at"), offset("length_at"));
        let content = match (table.get("tag_bytes"), table.get("repeat")) {
            (Some(tag_bytes), None) => self.tagged(table, &tag_bytes, context),
            (None, Some(repeat)) => self.repeated(table, &repeat, context),
            (Some(_), Some(repeat)) => repeat.error("a section is either tagged or repeats"),
            (None, None) => table.error_with_help(
                "a section needs to know what stands in it",
                "write tag_bytes = 1 for tagged values, or repeat = 4 for groups of so many bytes",
            ),
        };
        table.finish();
        Some(Section {
            at,
            length_at,
            content: content?,
        })
    }

    fn tagged(&mut self, table: &Table<'d>, tag_bytes: &Item<'d>, context: Context) -> Option<Content> {
        let tag_bytes = tag_bytes.integer(1..=4_usize)?;
        let mut entries: Vec<Entry> = Vec::new();
        for table in bounded(table, "entry") {
            let tag = table.require("tag").and_then(|item| tag(&item, tag_bytes));
            let bytes = table
                .require("bytes")
                .and_then(|item| item.integer(0..=MAX_LORAWAN_PAYLOAD));
            let fields = self.fields(&table, context, bytes.unwrap_or(MAX_LORAWAN_PAYLOAD));
            table.finish();
            let (tag, bytes) = (tag?, bytes?);
            if entries.iter().any(|entry| entry.tag == tag) {
                return table.error(format!("tag {} stands here twice", golden::hex(&tag)));
            }
            entries.push(Entry { tag, bytes, fields });
        }
        if entries.is_empty() {
            return table.error("entry is missing: the tags, and what follows them");
        }
        Some(Content::Tagged { tag_bytes, entries })
    }

    fn repeated(&mut self, table: &Table<'d>, repeat: &Item<'d>, context: Context) -> Option<Content> {
        let bytes = repeat.integer(1..=MAX_LORAWAN_PAYLOAD)?;
        let mask_at = table
            .get("mask_at")
            .map(|item| item.integer(0..=bytes - 1))
            .unwrap_or(Some(0));
        let optional: Vec<usize> = match table.get("optional") {
            None => Vec::new(),
            Some(item) => {
                let items = item.items()?;
                if items.len() > 8 {
                    return item.error("a mask has eight bits");
                }
                let sizes = items.iter().map(|item| item.integer(0..=MAX_LORAWAN_PAYLOAD));
                sizes.collect::<Option<_>>()?
            }
        };
        let (mut fields, mut announced) = (Vec::new(), Vec::new());
        let points = table.get("points").and_then(|item| item.table());
        for item in points.map(|points| points.entries()).unwrap_or_default() {
            let Some(entry) = item.table() else { continue };
            match entry.get("field") {
                None => {
                    let place = place(&entry, context, bytes);
                    fields.extend(self.field_at(&item, &entry, context, place));
                }
                Some(bit) => {
                    let bit = bit.integer(0..=optional.len().saturating_sub(1));
                    let room = bit.and_then(|bit| optional.get(bit).copied()).unwrap_or(0);
                    let place = place_or_start(&entry, context, room);
                    let field = self.field_at(&item, &entry, context, place);
                    announced.extend(bit.zip(field));
                }
            }
        }
        Some(Content::Repeated(Group {
            bytes,
            fields,
            mask_at: mask_at?,
            optional,
            announced,
        }))
    }

    fn history(&mut self, table: &Table<'d>, context: Context, payload: &Payload) -> Option<History> {
        let value = table.require("point").and_then(|item| {
            let name = item.string()?;
            let Some(id) = self.names.get(name).copied() else {
                return self.unknown_point(&item, name);
            };
            match payload.fields.iter().find(|field| field.point == id) {
                Some(field) if self.is_number(id) => Some((id, field.value.clone())),
                Some(_) | None => item.error("a history continues a number of this payload"),
            }
        });
        let time = table.require("time").and_then(|item| unix_time(&item, context));
        let inner = |item: Item<'d>| {
            let table = item.table()?;
            let place = place(&table, context, MAX_MESSAGE_BYTES);
            table.finish();
            place
        };
        let base = table.require("base").and_then(inner);
        let deltas = table
            .require("deltas")
            .and_then(|item| series(&item.table()?, context));
        table.finish();
        let ((point, value), (deltas, count, every_secs, absent)) = (value?, deltas?);
        Some(History {
            point,
            value,
            time: time?,
            base: base?,
            deltas,
            count,
            every_secs,
            absent,
        })
    }

    fn is_number(&self, id: PointId) -> bool {
        let path = self.points.get(usize::from(id.0)).map(|point| point.path);
        let definition = path.and_then(|path| {
            let object = self.objects.latest(path.object_id()?)?;
            object.resources.get(&path.resource_id()?)
        });
        definition.is_some_and(|definition| {
            matches!(
                definition.value_type,
                Some(ValueType::Float | ValueType::Integer | ValueType::Unsigned)
            )
        })
    }
}

/// Returns the tables of `[[key]]`, at most as many as one payload may have.
fn bounded<'d>(table: &Table<'d>, key: &str) -> Vec<Table<'d>> {
    let mut all = tables(table, key);
    if let Some(first) = all.get(MAX_SOURCES) {
        first.error::<()>(format!("there are at most {MAX_SOURCES} of these"));
        all.truncate(MAX_SOURCES);
    }
    all
}

type Series = (Place, usize, u32, Vec<Raw>);

fn series(table: &Table<'_>, context: Context) -> Option<Series> {
    let place = place(table, context, MAX_MESSAGE_BYTES);
    let count = table
        .require("count")
        .and_then(|item| item.integer(1..=MAX_LORAWAN_PAYLOAD));
    let every_secs = table
        .require("every_secs")
        .and_then(|item| item.integer(1..=31_622_400));
    let absent = place.map(|place| absent(table, range_of(place.number)));
    table.finish();
    Some((place?, count?, every_secs?, absent?.0))
}

/// Reads where a number stands: it must end within so many bytes.
fn place(table: &Table<'_>, context: Context, bytes: usize) -> Option<Place> {
    let at = table.require("at");
    let number = byte_number(table, context);
    let at_item = at?;
    let at = offset(&at_item, context)?;
    inside(&at_item, at, number?, bytes)
}

/// As [`place`], but at the beginning where nothing is said.
fn place_or_start(table: &Table<'_>, context: Context, bytes: usize) -> Option<Place> {
    if table.get("at").is_some() {
        return place(table, context, bytes);
    }
    let number = byte_number(table, context)?;
    inside(&table.get("field")?, 0, number, bytes)
}

fn inside(item: &Item<'_>, at: usize, number: ByteNumber, bytes: usize) -> Option<Place> {
    let end = at + number.shape.bytes();
    if end > bytes {
        return item.error(format!(
            "the number ends behind byte {end}, but there are only {bytes}"
        ));
    }
    Some(Place { at, number })
}

fn offset(item: &Item<'_>, context: Context) -> Option<usize> {
    let at = number(item, context.scope)?;
    match usize::try_from(at).ok().filter(|at| *at < MAX_MESSAGE_BYTES) {
        Some(at) => Some(at),
        None => item.error(format!("{at} is no place in a payload")),
    }
}

/// Reads how the value of a command stands in its payload.
pub(super) fn command_number(table: &Table<'_>, context: Context) -> Option<ByteNumber> {
    table.accept(&["bit", "bits"]);
    for key in ["bit", "bits"] {
        table.refuse(
            key,
            "a command writes whole numbers",
            "give the type of the number",
        );
    }
    byte_number(table, context)
}

fn byte_number(table: &Table<'_>, context: Context) -> Option<ByteNumber> {
    let stated = table.get("type");
    let endian = match table.get("endian") {
        Some(item) => Some(item.one_of(&Endian::WORDS)?),
        None => context.endian,
    };
    let (bit, bits) = (table.get("bit"), table.get("bits"));
    let shape = match (stated, bit.or(bits)) {
        (Some(item), _) => item.one_of(&Shape::WORDS)?,
        (None, Some(_)) => Shape::Unsigned(1),
        (None, None) => {
            return table.error_with_help("type is missing", "write type = \"u8\" or another here");
        }
    };
    if shape.bytes() > 1 && endian.is_none() {
        return table.error_with_help(
            "endian is missing for a number of several bytes",
            "write endian = \"little\" (lowest byte first) or \"big\" here, or above for all of them",
        );
    }
    let number = ByteNumber {
        shape,
        endian: endian.unwrap_or(Endian::Big),
        bits: None,
    };
    match (bit, bits) {
        (None, None) => Some(number),
        (Some(bit), None) => some_bits(&bit, number, &[bit, bit]),
        (None, Some(bits)) => some_bits(&bits, number, &bits.items()?),
        (Some(_), Some(bits)) => bits.error("write bit or bits, not both"),
    }
}

fn some_bits(item: &Item<'_>, number: ByteNumber, ends: &[Item<'_>]) -> Option<ByteNumber> {
    let Shape::Unsigned(bytes) = number.shape else {
        return item.error("only a number without a sign has bits to pick");
    };
    let [lowest, highest] = ends else {
        return item.error("bits are [lowest, highest], counted from 0");
    };
    let last = 8 * bytes - 1;
    let (lowest, highest) = (lowest.integer(0..=last)?, highest.integer(0..=last)?);
    if lowest > highest || highest - lowest >= 63 {
        return item.error("bits are [lowest, highest], counted from 0");
    }
    let count = highest - lowest + 1;
    Some(ByteNumber {
        bits: Some(Bits { lowest, count }),
        ..number
    })
}

fn range_of(number: ByteNumber) -> NumberRange {
    match (number.bits, number.shape) {
        (Some(bits), _) if bits.count == 1 => NumberRange::Bit,
        (Some(bits), _) => NumberRange::unsigned(bits.count.into()),
        (None, Shape::F32) => NumberRange::Single,
        (None, Shape::F64) => NumberRange::Double,
        (None, Shape::Unsigned(bytes)) => NumberRange::unsigned(8 * u32::from(bytes)),
        (None, Shape::Signed(bytes)) => NumberRange::signed(8 * u32::from(bytes)),
    }
}

/// Reads `when = { at = 0, equals = 1 }`, where it is there.
fn condition(table: &Table<'_>, context: Context) -> Option<Condition> {
    let table = table.get("when")?.table()?;
    let at = table.require("at").and_then(|item| offset(&item, context));
    let is_byte = ["type", "bit", "bits"].iter().all(|key| table.get(key).is_none());
    let number = if is_byte {
        Some(ByteNumber::BYTE)
    } else {
        byte_number(&table, context)
    };
    let among = table.require("equals").and_then(|item| {
        let items = item.one_or_more()?;
        items
            .iter()
            .map(|item| item.integer(i128::from(i64::MIN)..=i128::from(u64::MAX)))
            .collect()
    });
    table.accept(&["endian"]);
    table.finish();
    let place = Place {
        at: at?,
        number: number?,
    };
    Some(Condition { place, among: among? })
}

/// Reads `time = { at = 0, type = "unix_u32" }`.
fn unix_time(item: &Item<'_>, context: Context) -> Option<Place> {
    let table = item.table()?;
    let at = table.require("at").and_then(|item| offset(&item, context));
    let kind = table
        .require("type")
        .and_then(|item| item.one_of(&[("unix_u32", ())]));
    let endian = match table.get("endian") {
        Some(item) => item.one_of(&Endian::WORDS),
        None => context.endian,
    };
    table.finish();
    kind?;
    let Some(endian) = endian else {
        return item.error_with_help(
            "endian is missing for a number of several bytes",
            "write endian = \"little\" (lowest byte first) or \"big\"",
        );
    };
    let number = ByteNumber {
        shape: Shape::Unsigned(4),
        endian,
        bits: None,
    };
    Some(Place { at: at?, number })
}

fn tag(item: &Item<'_>, tag_bytes: usize) -> Option<Vec<u8>> {
    let tag = match item.if_string() {
        Some(text) => golden::from_hex(text),
        None => Some(vec![item.integer(0..=0xFF_u8)?]),
    };
    match tag.filter(|tag| tag.len() == tag_bytes) {
        Some(tag) => Some(tag),
        None => item.error(format!(
            "a tag has {tag_bytes} bytes here, as in \"{}\"",
            "01 ".repeat(tag_bytes).trim()
        )),
    }
}
