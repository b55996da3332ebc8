//! The notification attributes that a server attaches to nodes (LwM2M Core 1.2, section 7.3.2).
//!
//! What an observation makes of them is in [`notification`](super::notification).

use std::collections::BTreeMap;

use super::limits;
use super::saved::SavedAttributes;
use crate::Path;

/// The attributes of one node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes {
    pub(super) pmin: Option<u32>,
    pub(super) pmax: Option<u32>,
    pub(super) epmin: Option<u32>,
    pub(super) epmax: Option<u32>,
    pub(super) gt: Option<f64>,
    pub(super) lt: Option<f64>,
    pub(super) st: Option<f64>,
}

impl Attributes {
    /// Returns these attributes, and those of the level above where there are none here.
    fn or(&self, above: &Self) -> Self {
        Self {
            pmin: self.pmin.or(above.pmin),
            pmax: self.pmax.or(above.pmax),
            epmin: self.epmin.or(above.epmin),
            epmax: self.epmax.or(above.epmax),
            gt: self.gt.or(above.gt),
            lt: self.lt.or(above.lt),
            st: self.st.or(above.st),
        }
    }

    /// Says whether the attributes fit each other.
    fn is_consistent(&self) -> bool {
        let evaluation = match (self.epmin, self.epmax) {
            (Some(epmin), Some(epmax)) => epmin < epmax,
            (None, _) | (_, None) => true,
        };
        let thresholds = match (self.lt, self.gt) {
            (Some(lt), Some(gt)) => lt < gt && self.st.is_none_or(|st| lt + 2.0 * st < gt),
            (None, _) | (_, None) => true,
        };
        evaluation && thresholds
    }

    /// Returns the attributes as a link shows them.
    pub(super) fn to_pairs(&self) -> Vec<(&'static str, String)> {
        let seconds = [
            ("pmin", self.pmin),
            ("pmax", self.pmax),
            ("epmin", self.epmin),
            ("epmax", self.epmax),
        ];
        let numbers = [("gt", self.gt), ("lt", self.lt), ("st", self.st)];
        let seconds = seconds.into_iter().filter_map(|(n, v)| Some((n, v?.to_string())));
        let numbers = numbers.into_iter().filter_map(|(n, v)| Some((n, v?.to_string())));
        seconds.chain(numbers).collect()
    }
}

/// What a Write-Attributes asks for: attributes to set, or to unset where the value is none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AttributeChange(Vec<Assignment>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Assignment {
    Pmin(Option<u32>),
    Pmax(Option<u32>),
    Epmin(Option<u32>),
    Epmax(Option<u32>),
    Gt(Option<f64>),
    Lt(Option<f64>),
    St(Option<f64>),
}

impl AttributeChange {
    /// Reads the query of a Write-Attributes.
    pub(super) fn parse(query: &[String]) -> Result<Self, String> {
        let assignments: Vec<_> = query
            .iter()
            .map(|q| Assignment::parse(q))
            .collect::<Result<_, _>>()?;
        let kinds: Vec<_> = assignments.iter().map(std::mem::discriminant).collect();
        let twice = (1..kinds.len()).any(|i| kinds.iter().take(i).any(|k| Some(k) == kinds.get(i)));
        if twice {
            return Err("an attribute is named twice".to_owned());
        }
        Ok(Self(assignments))
    }

    /// Says whether one of the attributes applies to numbers only.
    pub(super) fn needs_number(&self) -> bool {
        self.0.iter().any(|a| match a {
            Assignment::Gt(_) | Assignment::Lt(_) | Assignment::St(_) => true,
            Assignment::Pmin(_) | Assignment::Pmax(_) | Assignment::Epmin(_) | Assignment::Epmax(_) => false,
        })
    }

    fn apply(&self, attributes: &mut Attributes) {
        for assignment in &self.0 {
            match *assignment {
                Assignment::Pmin(v) => attributes.pmin = v,
                Assignment::Pmax(v) => attributes.pmax = v,
                Assignment::Epmin(v) => attributes.epmin = v,
                Assignment::Epmax(v) => attributes.epmax = v,
                Assignment::Gt(v) => attributes.gt = v,
                Assignment::Lt(v) => attributes.lt = v,
                Assignment::St(v) => attributes.st = v,
            }
        }
    }
}

impl Assignment {
    fn parse(parameter: &str) -> Result<Self, String> {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (parameter, None),
        };
        match name {
            "pmin" => seconds(value).map(Self::Pmin),
            "pmax" => seconds(value).map(Self::Pmax),
            "epmin" => seconds(value).map(Self::Epmin),
            "epmax" => seconds(value).map(Self::Epmax),
            "gt" => number(value).map(Self::Gt),
            "lt" => number(value).map(Self::Lt),
            "st" => step(value).map(Self::St),
            _ => Err(format!("unknown attribute {name:?}")),
        }
    }
}

fn seconds(value: Option<&str>) -> Result<Option<u32>, String> {
    let parse = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .ok_or(format!("{text:?} is no number of seconds"))
    };
    value.map(parse).transpose()
}

fn number(value: Option<&str>) -> Result<Option<f64>, String> {
    let parse = |text: &str| {
        let decimal = text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
        let parsed = text.parse().ok().filter(|v: &f64| decimal && v.is_finite());
        parsed.ok_or(format!("{text:?} is no decimal number"))
    };
    value.map(parse).transpose()
}

fn step(value: Option<&str>) -> Result<Option<f64>, String> {
    match number(value)? {
        Some(st) if st < 0.0 => Err("st is negative".to_owned()),
        st => Ok(st),
    }
}

/// Why attributes were not attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttributesRefused {
    /// They contradict each other.
    Inconsistent,
    /// There are [`limits::ATTRIBUTED_PATHS`] nodes with attributes.
    Full,
}

/// The attributes of every node that has some.
#[derive(Debug, Default)]
pub(super) struct AttributeTable(BTreeMap<Path, Attributes>);

impl AttributeTable {
    /// Attaches or detaches attributes; all of them or none.
    pub(super) fn apply(&mut self, path: Path, change: &AttributeChange) -> Result<(), AttributesRefused> {
        let mut attributes = self.own(path);
        change.apply(&mut attributes);
        if !attributes.is_consistent() {
            return Err(AttributesRefused::Inconsistent);
        }
        if attributes == Attributes::default() {
            self.0.remove(&path);
            return Ok(());
        }
        if self.0.len() >= limits::ATTRIBUTED_PATHS && !self.0.contains_key(&path) {
            return Err(AttributesRefused::Full);
        }
        self.0.insert(path, attributes);
        Ok(())
    }

    /// Takes over what was attached before a restart.
    pub(super) fn resume(saved: &[SavedAttributes]) -> Self {
        let table = saved.iter().filter_map(|s| {
            let finite = [s.gt, s.lt, s.st].into_iter().flatten().all(f64::is_finite);
            let path = Path::from_segments(&s.path).filter(|path| finite && *path != Path::Root)?;
            let attributes = Attributes {
                pmin: s.pmin,
                pmax: s.pmax,
                epmin: s.epmin,
                epmax: s.epmax,
                gt: s.gt,
                lt: s.lt,
                st: s.st,
            };
            attributes.is_consistent().then_some((path, attributes))
        });
        Self(table.take(limits::ATTRIBUTED_PATHS).collect())
    }

    /// Returns what is to be kept over a restart.
    pub(super) fn save(&self) -> Vec<SavedAttributes> {
        let saved = self.0.iter().map(|(path, a)| SavedAttributes {
            path: path.segments(),
            pmin: a.pmin,
            pmax: a.pmax,
            epmin: a.epmin,
            epmax: a.epmax,
            gt: a.gt,
            lt: a.lt,
            st: a.st,
        });
        saved.collect()
    }

    /// Returns what is attached to a node itself.
    pub(super) fn own(&self, path: Path) -> Attributes {
        self.0.get(&path).cloned().unwrap_or_default()
    }

    /// Returns what holds for a node: its own attributes, then those of the levels above.
    pub(super) fn effective(&self, path: Path) -> Attributes {
        let mut effective = self.own(path);
        for above in ancestors(path) {
            effective = effective.or(&self.own(above));
        }
        effective
    }

    /// Forgets the nodes that are gone.
    pub(super) fn retain(&mut self, mut exists: impl FnMut(Path) -> bool) {
        self.0.retain(|path, _| exists(*path));
    }
}

/// Returns the levels above a node that can carry attributes, the nearest first.
fn ancestors(path: Path) -> Vec<Path> {
    match path {
        Path::Root | Path::Object(_) => Vec::new(),
        Path::Instance(o, _) => vec![Path::Object(o)],
        Path::Resource(o, i, _) => vec![Path::Instance(o, i), Path::Object(o)],
        Path::ResourceInstance(o, i, r, _) => {
            vec![Path::Resource(o, i, r), Path::Instance(o, i), Path::Object(o)]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(query: &str) -> Result<AttributeChange, String> {
        let query: Vec<String> = query.split('&').map(str::to_owned).collect();
        AttributeChange::parse(&query)
    }

    fn path(text: &str) -> Path {
        text.parse().unwrap()
    }

    fn table(rows: &[(&str, &str)]) -> AttributeTable {
        let mut table = AttributeTable::default();
        for (at, query) in rows {
            table.apply(path(at), &change(query).unwrap()).unwrap();
        }
        table
    }

    #[test]
    fn a_lower_level_overrides_an_upper_one() {
        let table = table(&[
            ("/3", "pmin=10&pmax=100"),
            ("/3/0", "pmax=60"),
            ("/3/0/7", "gt=50&lt=42.2"),
        ]);
        let effective = table.effective(path("/3/0/7/1"));
        assert_eq!((effective.pmin, effective.pmax), (Some(10), Some(60)));
        assert_eq!((effective.gt, effective.lt), (Some(50.0), Some(42.2)));
        assert_eq!(table.effective(path("/3")).pmax, Some(100));
        assert_eq!(table.effective(path("/4/0")), Attributes::default());
    }

    #[test]
    fn a_parameter_without_value_unsets_the_attribute() {
        let mut table = table(&[("/3/0/9", "pmin=10&st=2")]);
        table.apply(path("/3/0/9"), &change("pmin").unwrap()).unwrap();
        assert_eq!(table.own(path("/3/0/9")).pmin, None);
        table.apply(path("/3/0/9"), &change("st").unwrap()).unwrap();
        assert!(table.0.is_empty());
    }

    #[test]
    fn what_is_no_attribute_is_refused() {
        for query in [
            "pmin=",
            "pmin=-1",
            "pmin=+1",
            "pmin=1.5",
            "pmin=4294967296",
            "gt=",
            "gt=nan",
            "gt=inf",
            "gt=1e5",
            "st=-1",
            "edge=1",
            "",
            "=",
            "pmin=1&pmin=2",
            "pmin=1&pmin",
        ] {
            assert!(change(query).is_err(), "{query:?}");
        }
    }

    #[test]
    fn attributes_that_contradict_each_other_change_nothing() {
        for query in [
            "gt=10&lt=10",
            "gt=10&lt=11",
            "gt=10&lt=8&st=1",
            "epmin=5&epmax=5",
            "epmin=6&epmax=5",
        ] {
            let mut table = table(&[("/3/0/9", "pmin=1")]);
            let refused = table.apply(path("/3/0/9"), &change(query).unwrap());
            assert_eq!(refused, Err(AttributesRefused::Inconsistent), "{query}");
            assert_eq!(
                table.own(path("/3/0/9")),
                Attributes {
                    pmin: Some(1),
                    ..Attributes::default()
                }
            );
        }
        // A pmax below pmin is not refused but ignored by the algorithm.
        assert!(
            AttributeTable::default()
                .apply(path("/3/0/9"), &change("pmin=5&pmax=1").unwrap())
                .is_ok()
        );
    }

    #[test]
    fn the_table_of_attributes_is_bounded() {
        let mut table = AttributeTable::default();
        let pmin = change("pmin=1").unwrap();
        for instance in 0..limits::ATTRIBUTED_PATHS {
            let instance = u16::try_from(instance).unwrap();
            table.apply(Path::instance(3, instance), &pmin).unwrap();
        }
        assert_eq!(
            table.apply(Path::instance(4, 0), &pmin),
            Err(AttributesRefused::Full)
        );
        assert_eq!(
            table.apply(Path::instance(3, 0), &change("pmin=2").unwrap()),
            Ok(())
        );
        assert_eq!(
            table.apply(Path::instance(3, 0), &change("pmin").unwrap()),
            Ok(())
        );
        assert_eq!(table.apply(Path::instance(4, 0), &pmin), Ok(()));
    }
}
