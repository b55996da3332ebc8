//! Who is registered, and what a Register or an Update says (LwM2M Core 1.1, section 6.2; Transport 1.1, 6.4.3).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coap_lite::link_format::LinkFormatParser;
use lwm2m_client::object::{ObjectDefinition, Version};
use lwm2m_client::{ObjectId, Path};

use super::event::ClientView;
use super::request::Code;

/// What the query of a Register or an Update says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub(super) endpoint: Option<String>,
    pub(super) lifetime_secs: Option<u64>,
    pub(super) version: Option<String>,
    pub(super) binding: Option<String>,
    pub(super) additional: BTreeMap<String, String>,
}

/// What the body says: each object with its version where one is given, and the instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ObjectList {
    pub(super) objects: BTreeMap<ObjectId, Option<Version>>,
    pub(super) instances: BTreeSet<Path>,
}

/// One registered client.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) view: ClientView,
    pub(super) definitions: BTreeMap<ObjectId, Arc<ObjectDefinition>>,
    pub(super) expires: Option<Instant>,
}

/// The registered clients.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    by_endpoint: BTreeMap<String, Registration>,
    by_location: BTreeMap<String, String>,
    next_location: u32,
}

impl Parameters {
    pub(super) fn parse(query: &[String]) -> Result<Self, (Code, String)> {
        let mut parameters = Self::default();
        for text in query {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            parameters.set(name, value)?;
        }
        Ok(parameters)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), (Code, String)> {
        let text = Some(value.to_owned());
        match name {
            "ep" => self.endpoint = text,
            "lwm2m" => self.version = text,
            "b" => self.binding = text,
            "lt" => {
                let number = value
                    .parse()
                    .map_err(|_| (Code::BAD_REQUEST, format!("lt is {value:?}")))?;
                self.lifetime_secs = Some(number);
            }
            _ => {
                self.additional.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(())
    }
}

impl ObjectList {
    pub(super) fn parse(body: &[u8]) -> Result<Self, (Code, String)> {
        let refuse = |why: String| (Code::BAD_REQUEST, why);
        let text = std::str::from_utf8(body).map_err(|_| refuse("the object list is no UTF-8".to_owned()))?;
        let mut list = Self::default();
        for link in LinkFormatParser::new(text) {
            let (target, attributes) = link.map_err(|error| refuse(format!("the object list: {error:?}")))?;
            let attributes: BTreeMap<String, String> = attributes
                .map(|(name, value)| (name.to_owned(), value.to_string()))
                .collect();
            list.add(target, &attributes).map_err(refuse)?;
        }
        Ok(list)
    }

    fn add(&mut self, target: &str, attributes: &BTreeMap<String, String>) -> Result<(), String> {
        let path: Path = target
            .parse()
            .map_err(|_| format!("the object list links to {target:?}"))?;
        let version = attributes.get("ver").map(|text| text.parse::<Version>());
        let version = version.transpose().map_err(|error| error.to_string())?;
        match path {
            Path::Root => return Ok(()),
            Path::Object(object) => self.note(object, version),
            Path::Instance(object, _) => {
                self.note(object, version);
                self.instances.insert(path);
            }
            Path::Resource(..) | Path::ResourceInstance(..) => {
                return Err(format!(
                    "the object list links to {path}, which is no object instance"
                ));
            }
        }
        Ok(())
    }

    fn note(&mut self, object: ObjectId, version: Option<Version>) {
        let known = self.objects.entry(object).or_default();
        *known = version.or(*known);
    }
}

impl Registration {
    pub(super) fn renew(&mut self, now: Instant) {
        let lifetime = self.view.lifetime_secs;
        self.expires = (lifetime != 0).then(|| now + Duration::from_secs(lifetime));
    }
}

impl Registrations {
    pub(super) fn len(&self) -> usize {
        self.by_endpoint.len()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Registration> {
        self.by_endpoint.values()
    }

    pub(super) fn find(&self, endpoint: &str) -> Option<&Registration> {
        self.by_endpoint.get(endpoint)
    }

    pub(super) fn at_location(&mut self, location: &str) -> Option<&mut Registration> {
        self.by_endpoint.get_mut(self.by_location.get(location)?)
    }

    /// Returns the client at an address: where several share it, the one that sorts first.
    pub(super) fn at_address(&self, address: SocketAddr) -> Option<&Registration> {
        self.all()
            .find(|registration| registration.view.address == address)
    }

    pub(super) fn new_location(&mut self) -> String {
        self.next_location += 1;
        format!("r{}", self.next_location)
    }

    pub(super) fn insert(&mut self, registration: Registration) {
        let (endpoint, location) = (
            registration.view.endpoint.clone(),
            registration.view.location.clone(),
        );
        self.remove(&endpoint);
        self.by_location.insert(location, endpoint.clone());
        self.by_endpoint.insert(endpoint, registration);
    }

    pub(super) fn remove(&mut self, endpoint: &str) -> Option<Registration> {
        let registration = self.by_endpoint.remove(endpoint)?;
        self.by_location.remove(&registration.view.location);
        Some(registration)
    }

    pub(super) fn expired(&self, now: Instant) -> Vec<String> {
        let over = self
            .all()
            .filter(|registration| registration.expires.is_some_and(|at| at <= now));
        over.map(|registration| registration.view.endpoint.clone())
            .collect()
    }

    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.all().filter_map(|registration| registration.expires).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The body of the registration example in LwM2M Transport 1.1, section 6.4.3, with versions added as Core 1.1,
    // section 7.2.2 writes them.
    #[test]
    fn an_object_list_gives_objects_versions_and_instances() {
        let body = br#"</>;rt="oma.lwm2m";ct=110,</1/0>,</1/1>,</3>;ver=1.1,</3/0>,</3416/0>;ver=2.0,</5>"#;
        let list = ObjectList::parse(body).unwrap();
        let versions: Vec<_> = list
            .objects
            .iter()
            .map(|(object, version)| (object.0, *version))
            .collect();
        let expected = [
            (1, None),
            (3, Some(Version::new(1, 1))),
            (5, None),
            (3416, Some(Version::new(2, 0))),
        ];
        assert_eq!(versions, expected);
        let instances: Vec<String> = list.instances.iter().map(Path::to_string).collect();
        assert_eq!(instances, ["/1/0", "/1/1", "/3/0", "/3416/0"]);
    }

    #[test]
    fn what_is_no_object_list_is_refused() {
        for body in [&b"</3/0/1>"[..], b"</x>", b"\xff", b"<3", b"</3>;ver=new"] {
            assert!(ObjectList::parse(body).is_err(), "{body:?}");
        }
    }

    #[test]
    fn parameters_that_lwm2m_does_not_define_are_kept() {
        let query = ["ep=a", "lt=60", "lwm2m=1.1", "b=U", "gw=cab-17", "Q"].map(str::to_owned);
        let parameters = Parameters::parse(&query).unwrap();
        assert_eq!(parameters.lifetime_secs, Some(60));
        let additional: Vec<_> = parameters.additional.into_iter().collect();
        assert_eq!(
            additional,
            [
                ("Q".to_owned(), String::new()),
                ("gw".to_owned(), "cab-17".to_owned())
            ]
        );
        assert!(Parameters::parse(&["lt=soon".to_owned()]).is_err());
    }
}
