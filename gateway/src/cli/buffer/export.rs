//! `buffer export`: every reading as a line of CSV or an element of a SenML pack, written as it is read.

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lwm2m_client::object::{ObjectTable, ResourceDefinition};
use lwm2m_client::{Path as ResourcePath, Value};
use serde_json::{Map, Value as Json, json};
use ucifi_core::buffer::log::visit;
use ucifi_core::buffer::{Debt, Loaded, Moment};

use super::time::rfc3339;
use super::{Place, class_name, unreadable};
use crate::cli::arguments::ExportOptions;
use crate::config::Configuration;
use crate::exit::{ExitStatus, Failure};

pub(super) fn export(config: &Path, options: &ExportOptions) -> Result<(), Failure> {
    let place = Place::of(config)?;
    let out = BufWriter::new(io::stdout().lock());
    let exported = if options.format.csv {
        write_all(&place, options, Csv::new(out, &place.loaded.objects))?
    } else {
        write_all(&place, options, Senml::new(out, &place.loaded.configuration))?
    };
    match exported {
        Ok(()) => Ok(()),
        // Who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            let message = format!("cannot write the output: {error}");
            Err(Failure::new(ExitStatus::Failed, message))
        }
    }
}

/// A file that readings are written into one by one.
trait Export {
    fn begin(&mut self) -> io::Result<()>;
    fn reading(&mut self, debt: &Debt, loaded: &Loaded) -> io::Result<()>;
    fn end(&mut self) -> io::Result<()>;
}

/// Writes what is wanted. The outer failure is that of the buffer, the inner one that of the output.
fn write_all(
    place: &Place,
    options: &ExportOptions,
    mut export: impl Export,
) -> Result<io::Result<()>, Failure> {
    let is_wanted = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let mut written = export.begin();
    if let Some(disk) = place.look()? {
        let mut show = |debt: &Debt, loaded: &Loaded| {
            let debt = &place.named(debt);
            let is_wanted =
                is_wanted(&options.server, &debt.account) && is_wanted(&options.device, &debt.stream.device);
            if is_wanted && written.is_ok() {
                written = export.reading(debt, loaded);
            }
            if written.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        visit(&disk, &mut show).map_err(unreadable)?;
    }
    Ok(written.and_then(|()| export.end()))
}

/// RFC 4180, with line ends as Unix has them.
struct Csv<'o, W> {
    out: W,
    objects: &'o ObjectTable,
}

impl<'o, W: Write> Csv<'o, W> {
    const fn new(out: W, objects: &'o ObjectTable) -> Self {
        Self { out, objects }
    }

    fn line(&mut self, cells: &[&str]) -> io::Result<()> {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        writeln!(self.out, "{}", cells.join(","))
    }
}

impl<W: Write> Export for Csv<'_, W> {
    fn begin(&mut self) -> io::Result<()> {
        self.line(&[
            "server",
            "device",
            "path",
            "name",
            "value",
            "unit",
            "time",
            "class",
            "seq",
            "estimated",
        ])
    }

    fn reading(&mut self, debt: &Debt, loaded: &Loaded) -> io::Result<()> {
        let definition = definition(self.objects, loaded.path);
        let time = match loaded.moment {
            Moment::Wall(time) => rfc3339(time),
            Moment::Boot { .. } => String::new(),
        };
        self.line(&[
            &debt.account,
            &debt.stream.device,
            &loaded.path.to_string(),
            definition.map_or("", |definition| &definition.name),
            &loaded.value.to_string(),
            definition.map_or("", |definition| &definition.unit),
            &time,
            class_name(debt.stream.class),
            &loaded.seq.to_string(),
            if loaded.is_estimated { "true" } else { "false" },
        ])
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn definition(objects: &ObjectTable, path: ResourcePath) -> Option<&ResourceDefinition> {
    objects
        .latest(path.object_id()?)?
        .resources
        .get(&path.resource_id()?)
}

/// One pack (RFC 8428); a base name stands until another one comes.
struct Senml<'c, W> {
    out: W,
    configuration: &'c Configuration,
    base_name: String,
    is_first: bool,
}

impl<'c, W: Write> Senml<'c, W> {
    const fn new(out: W, configuration: &'c Configuration) -> Self {
        Self {
            out,
            configuration,
            base_name: String::new(),
            is_first: true,
        }
    }

    /// Returns the endpoint name of a device, that of one which was removed as it was by default.
    fn endpoint(&self, device: &str) -> String {
        let gateway = &*self.configuration.gateway.name;
        if device == gateway {
            return gateway.to_owned();
        }
        let configured = self
            .configuration
            .devices
            .iter()
            .find(|known| &*known.id == device);
        configured.map_or_else(
            || format!("{gateway}-{device}"),
            |known| known.endpoint_name(gateway),
        )
    }
}

impl<W: Write> Export for Senml<'_, W> {
    fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(b"[")
    }

    fn reading(&mut self, debt: &Debt, loaded: &Loaded) -> io::Result<()> {
        let mut record = Map::new();
        let endpoint = self.endpoint(&debt.stream.device);
        if self.is_first || endpoint != self.base_name {
            record.insert("bn".to_owned(), json!(endpoint));
            self.base_name = endpoint;
        }
        record.insert("n".to_owned(), json!(loaded.path.to_string()));
        if let Moment::Wall(time) = loaded.moment {
            record.insert("t".to_owned(), json!(time.unix_ms() as f64 / 1_000.0));
        }
        let (key, value) = senml_value(&loaded.value);
        record.insert(key.to_owned(), value);
        let separator = if self.is_first { "\n" } else { ",\n" };
        self.is_first = false;
        write!(self.out, "{separator}{}", Json::Object(record))
    }

    fn end(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")?;
        self.out.flush()
    }
}

fn senml_value(value: &Value) -> (&'static str, Json) {
    match value {
        // JSON has no infinity.
        Value::Float(number) if !number.is_finite() => ("vs", json!(number.to_string())),
        Value::Float(number) => ("v", json!(number)),
        Value::Integer(number) | Value::Time(number) => ("v", json!(number)),
        Value::Unsigned(number) => ("v", json!(number)),
        Value::Boolean(flag) => ("vb", json!(flag)),
        Value::String(text) | Value::Corelnk(text) => ("vs", json!(text)),
        Value::Opaque(bytes) => ("vd", json!(URL_SAFE_NO_PAD.encode(bytes))),
        Value::Objlnk(..) => ("vlo", json!(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use lwm2m_client::{InstanceId, ObjectId, Timestamp};
    use ucifi_core::buffer::{PointClass, Stream};

    use super::*;
    use crate::config::{File, Sources, read};

    const SITE: &str = "[gateway]\nname = \"cab-1\"\n\
        [[server]]\nname = \"city\"\nuri = \"coap://[::1]\"\n\
        [[bus]]\nname = \"b\"\nport = \"/dev/ttyS0\"\n\
        [[device]]\nid = \"meter\"\nprofile = \"eastron.sdm630\"\nbus = \"b\"\nunit = 1\nendpoint = \"urn:dev:1\"\n";

    fn configuration() -> Configuration {
        let sources = Sources {
            options: vec![File {
                name: "gateway.toml".to_owned(),
                text: SITE.to_owned(),
            }],
            ..Sources::default()
        };
        read(&sources).unwrap().configuration
    }

    fn reading(device: &str, path: &str, value: Value, moment: Moment) -> (Debt, Loaded) {
        let debt = Debt {
            account: "city".into(),
            stream: Stream {
                device: device.into(),
                class: PointClass::Measurement,
            },
        };
        let loaded = Loaded {
            seq: 41,
            path: path.parse().unwrap(),
            value,
            moment,
            is_estimated: device == "meter",
        };
        (debt, loaded)
    }

    fn readings() -> Vec<(Debt, Loaded)> {
        let wall = Moment::Wall(Timestamp::from_unix_ms(1_790_000_000_120));
        let boot = Moment::Boot { boot: 3, ms: 5 };
        vec![
            reading("meter", "/3421/0/1", Value::Float(230.1), wall),
            reading(
                "meter",
                "/3/0/17",
                Value::String("a \"b\", c\nd".to_owned()),
                boot,
            ),
            reading(
                "cab-1",
                "/3/0/22",
                Value::Objlnk(ObjectId(3410), InstanceId(0)),
                wall,
            ),
            reading("gone", "/3414/0/1", Value::Opaque(vec![0xfb, 0xff]), wall),
            reading("gone", "/59999/0/1", Value::Float(f64::INFINITY), wall),
        ]
    }

    fn write(mut export: impl Export) {
        export.begin().unwrap();
        for (debt, loaded) in readings() {
            export.reading(&debt, &loaded).unwrap();
        }
        export.end().unwrap();
    }

    #[test]
    fn a_line_of_csv_says_everything_of_a_reading() {
        let mut out = Vec::new();
        write(Csv::new(&mut out, &ObjectTable::builtin()));
        let expected = "\
            server,device,path,name,value,unit,time,class,seq,estimated\n\
            city,meter,/3421/0/1,Voltage,230.1,V,2026-09-21T14:13:20.120Z,measurement,41,true\n\
            city,meter,/3/0/17,Device Type,\"a \"\"b\"\", c\nd\",,,measurement,41,true\n\
            city,cab-1,/3/0/22,ExtDevInfo,3410:0,,2026-09-21T14:13:20.120Z,measurement,41,false\n\
            city,gone,/3414/0/1,Payload,fbff,,2026-09-21T14:13:20.120Z,measurement,41,false\n\
            city,gone,/59999/0/1,,inf,,2026-09-21T14:13:20.120Z,measurement,41,false\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_pack_has_the_endpoint_as_base_name_where_it_changes() {
        let mut out = Vec::new();
        write(Senml::new(&mut out, &configuration()));
        let pack: Json = serde_json::from_slice(&out).unwrap();
        let time = 1_790_000_000.12;
        let expected = json!([
            { "bn": "urn:dev:1", "n": "/3421/0/1", "t": time, "v": 230.1 },
            { "n": "/3/0/17", "vs": "a \"b\", c\nd" },
            { "bn": "cab-1", "n": "/3/0/22", "t": time, "vlo": "3410:0" },
            { "bn": "cab-1-gone", "n": "/3414/0/1", "t": time, "vd": "-_8" },
            { "n": "/59999/0/1", "t": time, "vs": "inf" },
        ]);
        assert_eq!(pack, expected);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 7);
    }

    #[test]
    fn nothing_is_an_empty_file_of_its_kind() {
        let (mut csv, mut senml) = (Vec::new(), Vec::new());
        let objects = ObjectTable::builtin();
        let mut export = Csv::new(&mut csv, &objects);
        export.begin().and_then(|()| export.end()).unwrap();
        assert_eq!(csv.iter().filter(|byte| **byte == b'\n').count(), 1);
        let configuration = configuration();
        let mut export = Senml::new(&mut senml, &configuration);
        export.begin().and_then(|()| export.end()).unwrap();
        assert_eq!(serde_json::from_slice::<Json>(&senml).unwrap(), json!([]));
    }
}
