//! The requests of a registration: Register, Update, De-register.

use super::{Registered, Registration, State};
use crate::coap::{Method, Request};
use crate::format::ContentFormat;

impl Registration {
    pub(super) fn register(&self) -> Request {
        let mut path = self.root.clone();
        path.push("rd".to_owned());
        let mut query = vec![
            format!("ep={}", self.endpoint),
            format!("lt={}", self.lifetime_secs),
            format!("lwm2m={}", self.version),
            "b=U".to_owned(),
        ];
        query.extend(self.query.iter().map(|(name, value)| format!("{name}={value}")));
        Request {
            method: Method::Post,
            path,
            query,
            accept: None,
            content_format: Some(ContentFormat::Link.code()),
            payload: self.objects.clone().into_bytes(),
        }
    }

    /// An Update carries only what has changed.
    pub(super) fn update(&self, registered: &Registered) -> Request {
        let wanted = self.wanted();
        let lifetime = registered.told.lifetime_secs != wanted.lifetime_secs;
        let objects = registered.told.objects != wanted.objects;
        Request {
            method: Method::Post,
            path: registered.location.clone(),
            query: if lifetime {
                vec![format!("lt={}", self.lifetime_secs)]
            } else {
                Vec::new()
            },
            accept: None,
            content_format: objects.then_some(ContentFormat::Link.code()),
            payload: if objects {
                self.objects.clone().into_bytes()
            } else {
                Vec::new()
            },
        }
    }

    /// Returns the De-register where there is a registration; otherwise what was begun is given up.
    pub(in crate::client) fn deregister(&self) -> Option<Request> {
        let State::Registered(registered) = &self.state else {
            return None;
        };
        Some(Request {
            method: Method::Delete,
            path: registered.location.clone(),
            query: Vec::new(),
            accept: None,
            content_format: None,
            payload: Vec::new(),
        })
    }
}

/// Returns the path of a server address: it goes before `rd`.
pub(super) fn root_of(server_uri: &str) -> Vec<String> {
    let rest = server_uri.split_once("://").map_or(server_uri, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or("");
    path.split('/')
        .skip(1)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
        .collect()
}
