//! What the writer and the reader of a block both know of the records so far.

use std::collections::BTreeMap;

use lwm2m_client::{InstanceId, ObjectId, Path, ResourceId, Timestamp, Value};

use crate::buffer::Moment;

/// What the next record is told against.
pub(super) struct Context {
    /// The least number that the next record may have; none behind the last one there is.
    pub(super) expected: Option<u64>,
    /// The moment of the record before.
    pub(super) moment: Moment,
    points: Vec<Point>,
    places: BTreeMap<Path, usize>,
    newest: BTreeMap<(ObjectId, ResourceId), usize>,
    /// The place of the record before.
    here: usize,
}

struct Point {
    path: Path,
    /// The path that is likely to come after this one.
    next: Path,
    base: Option<Value>,
}

impl Context {
    pub(super) fn new() -> Self {
        let root = Point {
            path: Path::Root,
            next: Path::Root,
            base: None,
        };
        Self {
            expected: Some(0),
            moment: Moment::Wall(Timestamp::from_unix_ms(0)),
            points: vec![root],
            places: BTreeMap::from([(Path::Root, 0)]),
            newest: BTreeMap::new(),
            here: 0,
        }
    }

    /// Returns the path of the record before.
    pub(super) fn path(&self) -> Path {
        self.points[self.here].path
    }

    /// Returns the path that is likely to come.
    pub(super) fn predicted(&self) -> Path {
        self.points[self.here].next
    }

    /// Goes on to the path of the next record.
    pub(super) fn go_to(&mut self, path: Path) {
        self.points[self.here].next = path;
        self.here = match self.places.get(&path) {
            Some(place) => *place,
            None => self.add(path),
        };
    }

    fn add(&mut self, path: Path) -> usize {
        let place = self.points.len();
        let elder = path
            .object_id()
            .zip(path.resource_id())
            .and_then(|kind| self.newest.insert(kind, place))
            .and_then(|elder| self.points.get(elder));
        self.points.push(Point {
            path,
            next: elder.and_then(|elder| moved(elder, path)).unwrap_or(path),
            base: elder.and_then(|elder| elder.base.clone()),
        });
        self.places.insert(path, place);
        place
    }

    /// Returns the value that one of this path is told against.
    pub(super) fn base(&self) -> Option<&Value> {
        self.points[self.here].base.as_ref()
    }

    /// Ends a record.
    pub(super) fn remember(&mut self, seq: u64, moment: Moment, value: &Value) {
        self.expected = seq.checked_add(1);
        self.moment = moment;
        match value {
            // A repeat of a long value in one byte would let a few bytes become gigabytes.
            Value::String(_) | Value::Corelnk(_) | Value::Opaque(_) => {}
            Value::Integer(_)
            | Value::Unsigned(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Time(_)
            | Value::Objlnk(..) => self.points[self.here].base = Some(value.clone()),
        }
    }
}

/// Returns what came after the elder, as many instances away from it as this path is from the elder.
fn moved(elder: &Point, path: Path) -> Option<Path> {
    let Path::Resource(object, instance, resource) = elder.next else {
        return None;
    };
    let instance =
        i32::from(instance.0) + i32::from(path.instance_id()?.0) - i32::from(elder.path.instance_id()?.0);
    let instance = u16::try_from(instance).ok()?;
    Some(Path::Resource(object, InstanceId(instance), resource))
}
