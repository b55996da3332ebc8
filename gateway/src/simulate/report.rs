//! What a simulated device tells: first how to configure it, then a line for each thing that happens.

use jiff::Timestamp;
use serde_json::json;

use crate::cli::output::print;
use crate::exit::Failure;
use crate::shell::quoted;

/// How a device is told of.
pub(super) struct Report {
    json: bool,
    /// What is to be done before the device can be added.
    hint: Option<String>,
}

/// What goes into the configuration for a device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setup {
    /// What is there, in a line.
    pub(super) what: String,
    /// The block of its link.
    pub(super) link: String,
    /// The options of `[[device]]` beside its id and its profile: key and value, a text or a number.
    pub(super) device: Vec<(&'static str, toml::Value)>,
    /// The id that is proposed.
    pub(super) id: &'static str,
    /// The profile.
    pub(super) profile: String,
}

impl Setup {
    /// Returns the arguments that make `ucifi-gateway` write that block.
    fn command(&self) -> String {
        let mut command = format!("ucifi-gateway device add {} --profile {}", self.id, self.profile);
        for (key, value) in &self.device {
            let text = value.as_str().map_or_else(|| value.to_string(), quoted);
            command.push_str(&format!(" --{} {text}", key.replace('_', "-")));
        }
        command
    }

    fn text(&self) -> String {
        format!(
            "{}\n\nin gateway.toml, if it is not there yet:\n\n{}\nand the device, by this command or these lines:\n\n{}\n{}\n\
             Ctrl-C ends it\n",
            self.what,
            indented(&self.link),
            indented(&self.command()),
            indented(&self.block()),
        )
    }

    fn block(&self) -> String {
        let text = |text: &str| toml::Value::String(text.to_owned());
        let mut block = format!(
            "[[device]]\nid = {}\nprofile = {}\n",
            text(self.id),
            text(&self.profile)
        );
        for (key, value) in &self.device {
            block.push_str(&format!("{key} = {value}\n"));
        }
        block
    }
}

impl Report {
    pub(super) const fn new(json: bool, hint: Option<String>) -> Self {
        Self { json, hint }
    }

    /// Says what is there, and how it is configured.
    pub(super) fn begin(&self, setup: &Setup) -> Result<(), Failure> {
        if self.json {
            line(&json!({
                "step": "ready",
                "text": setup.what,
                "configuration": format!("{}\n{}", setup.link, setup.block()),
                "device_add": setup.command(),
            }))?;
        } else {
            print(&setup.text())?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| self.say("note", hint))
    }

    /// Says what is there that is no device, and how it is configured.
    pub(super) fn begin_peer(&self, what: &str, block: &str) -> Result<(), Failure> {
        if self.json {
            return line(&json!({ "step": "ready", "text": what, "configuration": block }));
        }
        let block = indented(block);
        print(&format!(
            "{what}\n\nin gateway.toml, if it is not there yet:\n\n{block}\nCtrl-C ends it\n"
        ))
    }

    /// Says what happens.
    pub(super) fn say(&self, step: &str, text: &str) -> Result<(), Failure> {
        let now = Timestamp::now();
        if self.json {
            return line(&json!({ "time_ms": now.as_millisecond(), "step": step, "text": text }));
        }
        print(&format!("{}  {step:<12}  {text}\n", now.strftime("%H:%M:%S.%3f")))
    }
}

fn line(value: &serde_json::Value) -> Result<(), Failure> {
    print(&format!("{value}\n"))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_says_the_same_as_the_block() {
        let setup = Setup {
            what: "a lamp".to_owned(),
            link: "[[broker]]\n".to_owned(),
            device: vec![("topic", "hall lamp".into()), ("unit", 3.into())],
            id: "lamp-1",
            profile: "zigbee2mqtt.lamp".to_owned(),
        };
        assert_eq!(
            setup.command(),
            "ucifi-gateway device add lamp-1 --profile zigbee2mqtt.lamp --topic 'hall lamp' --unit 3"
        );
        assert_eq!(
            setup.block(),
            "[[device]]\nid = \"lamp-1\"\nprofile = \"zigbee2mqtt.lamp\"\ntopic = \"hall lamp\"\nunit = 3\n"
        );
    }
}
