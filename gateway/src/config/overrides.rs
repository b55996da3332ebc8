//! Options from the environment: `UCIFI__GATEWAY__NAME`, `UCIFI__SERVER__CITY__URI`, `UCIFI__BUS__RS485_1__PORT`.

use std::collections::BTreeMap;

use config::{Environment, Source};

/// One option from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The variable, for messages.
    pub variable: String,
    /// The section: `gateway`, `buffer`, `lorawan`, `server`, `bus`, `broker` or `device`.
    pub section: String,
    /// The name of the entry, in lower case with underscores for everything that a variable cannot contain; none for
    /// `[gateway]`, `[buffer]` and `[lorawan]`.
    pub entry: Option<String>,
    /// The option as a line of TOML.
    pub line: String,
}

impl Override {
    /// Reads the process environment.
    ///
    /// # Errors
    /// The variables that name no option, each with the reason.
    pub fn from_environment() -> Result<Vec<Self>, Vec<(String, String)>> {
        Self::collect(environment())
    }

    /// Reads the variables given in place of the process environment.
    ///
    /// # Errors
    /// The variables that name no option, each with the reason.
    pub fn from_variables(variables: BTreeMap<String, String>) -> Result<Vec<Self>, Vec<(String, String)>> {
        Self::collect(environment().source(Some(variables.into_iter().collect())))
    }

    fn collect(source: Environment) -> Result<Vec<Self>, Vec<(String, String)>> {
        let collected = source
            .collect()
            .map_err(|e| vec![("UCIFI__".to_owned(), e.to_string())])?;
        let sorted: BTreeMap<String, String> = collected
            .into_iter()
            .map(|(key, value)| (key, value.to_string()))
            .collect();
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for (key, value) in sorted {
            let variable = format!("UCIFI__{}", key.replace('.', "__").to_uppercase());
            match Self::parse(variable.clone(), &key, &value) {
                Some(found) => good.push(found),
                None => bad.push((variable, "names no option".to_owned())),
            }
        }
        if bad.is_empty() { Ok(good) } else { Err(bad) }
    }

    fn parse(variable: String, key: &str, value: &str) -> Option<Self> {
        let parts: Vec<&str> = key.split('.').collect();
        let (section, entry, option) = match parts.as_slice() {
            [section @ ("gateway" | "buffer" | "lorawan"), option] => (*section, None, *option),
            [section @ ("server" | "bus" | "broker" | "device"), entry, option] => {
                (*section, Some(*entry), *option)
            }
            _ => return None,
        };
        let line = toml_line(option, value);
        Some(Self {
            variable,
            section: section.to_owned(),
            entry: entry.map(str::to_owned),
            line,
        })
    }

    /// Says whether this is meant for the entry of that name.
    pub fn is_for(&self, section: &str, name: &str) -> bool {
        self.section == section && self.entry.as_deref() == Some(&as_variable_part(name))
    }
}

fn environment() -> Environment {
    Environment::with_prefix("UCIFI")
        .prefix_separator("__")
        .separator("__")
}

fn as_variable_part(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect()
}

/// A value is TOML where it can be read as such, else a plain text.
fn toml_line(option: &str, value: &str) -> String {
    let as_is = format!("{option} = {value}\n");
    let single_line = !value.contains(['\n', '\r']);
    if single_line && as_is.parse::<toml::Table>().is_ok_and(|table| table.len() == 1) {
        return as_is;
    }
    format!("{option} = {}\n", toml::Value::String(value.to_owned()))
}
