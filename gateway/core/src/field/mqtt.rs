//! What is said of a device behind an MQTT broker: its topics and messages.

use std::sync::Arc;

/// Names a topic within a profile: its place in [`crate::Profile::topics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u16);

/// A message that came under a topic of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttMessage {
    /// Under which of the profile's topics.
    pub topic: TopicId,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// A message to publish for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttPublish {
    /// Under which topic.
    pub topic: TopicTemplate,
    /// Its payload.
    pub payload: Vec<u8>,
    /// How it is to be delivered.
    pub qos: Qos,
    /// Whether the broker keeps it for whoever subscribes later.
    pub retain: bool,
}

/// A topic that a gateway subscribes to for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The topic.
    pub topic: TopicTemplate,
    /// The best delivery that is asked for.
    pub qos: Qos,
}

/// How a message is delivered (MQTT 3.1.1, section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// QoS 0
    AtMostOnce,
    /// QoS 1
    AtLeastOnce,
    /// QoS 2
    ExactlyOnce,
}

/// A topic name with one `{device}` in it, for example `tele/{device}/SENSOR`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicTemplate {
    before: Arc<str>,
    after: Arc<str>,
}

/// Why a text is no topic template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicTemplateError {
    /// The place of the device is not named, or more than once.
    #[error("a topic has {{device}} in it exactly once, as in tele/{{device}}/SENSOR")]
    Device,
    /// A topic that is published under has no wildcards; neither has one with a device.
    #[error("a topic has no wildcard (+ or #) beside {{device}}")]
    Wildcard,
    /// MQTT 3.1.1, 4.7.3: at most 65,535 bytes and no NUL.
    #[error("a topic has at most 65535 bytes and no NUL character")]
    Text,
}

impl TopicTemplate {
    const PLACE: &'static str = "{device}";

    /// Reads a template.
    ///
    /// # Errors
    /// When the text is no topic name with one `{device}`.
    pub fn new(text: &str) -> Result<Self, TopicTemplateError> {
        if text.len() > usize::from(u16::MAX) || text.contains('\0') {
            return Err(TopicTemplateError::Text);
        }
        if text.contains(['+', '#']) {
            return Err(TopicTemplateError::Wildcard);
        }
        let (before, after) = text.split_once(Self::PLACE).ok_or(TopicTemplateError::Device)?;
        if after.contains(Self::PLACE) {
            return Err(TopicTemplateError::Device);
        }
        Ok(Self {
            before: before.into(),
            after: after.into(),
        })
    }

    /// Returns the topic of one device.
    pub fn of(&self, device: &str) -> String {
        format!("{}{device}{}", self.before, self.after)
    }

    /// Returns the device that a topic belongs to, if it can be one of this template.
    pub fn device<'t>(&self, topic: &'t str) -> Option<&'t str> {
        let device = topic.strip_prefix(&*self.before)?.strip_suffix(&*self.after)?;
        (!device.is_empty()).then_some(device)
    }

    /// Returns the template as it was written.
    pub fn text(&self) -> String {
        self.of(Self::PLACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_made_of_a_device_and_a_device_is_found_in_a_topic() {
        let template = TopicTemplate::new("tele/{device}/SENSOR").unwrap();
        assert_eq!(template.of("plug-1"), "tele/plug-1/SENSOR");
        assert_eq!(template.device("tele/plug-1/SENSOR"), Some("plug-1"));
        assert_eq!(template.device("tele/hall/lamp/SENSOR"), Some("hall/lamp"));
        assert_eq!(template.device("tele/SENSOR"), None);
        assert_eq!(template.device("tele//SENSOR"), None);
        assert_eq!(template.text(), "tele/{device}/SENSOR");
    }

    #[test]
    fn a_template_names_the_device_once_and_has_no_wildcard() {
        assert_eq!(TopicTemplate::new("tele/SENSOR"), Err(TopicTemplateError::Device));
        assert_eq!(
            TopicTemplate::new("{device}/{device}"),
            Err(TopicTemplateError::Device)
        );
        assert_eq!(
            TopicTemplate::new("tele/{device}/#"),
            Err(TopicTemplateError::Wildcard)
        );
        assert_eq!(TopicTemplate::new("{device}\0"), Err(TopicTemplateError::Text));
    }
}
