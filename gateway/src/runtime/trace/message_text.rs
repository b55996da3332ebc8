//! Messages between gateway and server as lines for people.

use lwm2m_client::coap::{Kind, Message, Method, option};

/// Returns a message as people read it: what it is for, then how long it is.
pub(super) fn of(message: &Message) -> String {
    let id = message.id;
    let size = match message.payload.len() {
        0 => String::new(),
        length => format!(", {length} bytes"),
    };
    match (message.kind, Method::from_code(message.code)) {
        (Kind::Reset, _) => format!("refuses message {id}"),
        (Kind::Acknowledgement, _) if message.code.0 == 0 => format!("has message {id}"),
        (_, Some(method)) => format!("{}{size} (message {id})", request(message, method)),
        (_, None) if message.uint(option::OBSERVE).is_some() => {
            format!("notification {}{size} (message {id})", message.code)
        }
        (_, None) => format!("{}{size} (message {id})", message.code),
    }
}

fn request(message: &Message, method: Method) -> String {
    let path = message.texts(option::URI_PATH).unwrap_or_default();
    let path = path.join("/");
    let observe = match message.uint(option::OBSERVE) {
        Some(0) => ", observe",
        Some(_) => ", observe no more",
        None => "",
    };
    let verb = match (method, path.as_str()) {
        // LwM2M 1.1.1, core, sections 6.2 and 6.4.
        (Method::Post, "dp") => return "Send".to_owned(),
        (Method::Post, "rd") => return "Register".to_owned(),
        (Method::Post, path) if path.starts_with("rd/") => return "Update".to_owned(),
        (Method::Delete, path) if path.starts_with("rd/") => return "De-register".to_owned(),
        (Method::Get, _) => "GET",
        (Method::Post, _) => "POST",
        (Method::Put, _) => "PUT",
        (Method::Delete, _) => "DELETE",
        (Method::Fetch, _) => "FETCH",
        (Method::Patch, _) => "PATCH",
        (Method::Ipatch, _) => "iPATCH",
    };
    format!("{verb} /{path}{observe}")
}

#[cfg(test)]
mod tests {
    use lwm2m_client::coap::Code;

    use super::*;

    fn message(kind: Kind, code: u8, path: &[&str]) -> Message {
        let mut message = Message::new(kind, Code(code), 7, vec![1]);
        path.iter()
            .for_each(|part| message.add(option::URI_PATH, part.as_bytes().to_vec()));
        message
    }

    #[test]
    fn a_message_is_told_in_the_words_of_lwm2m() {
        let rows = [
            (message(Kind::Confirmable, 0x02, &["dp"]), "Send (message 7)"),
            (message(Kind::Confirmable, 0x02, &["rd"]), "Register (message 7)"),
            (
                message(Kind::Confirmable, 0x02, &["rd", "5a"]),
                "Update (message 7)",
            ),
            (
                message(Kind::Confirmable, 0x03, &["3416", "0", "1"]),
                "PUT /3416/0/1 (message 7)",
            ),
            (message(Kind::Acknowledgement, 0x44, &[]), "2.04 (message 7)"),
            (Message::empty(Kind::Acknowledgement, 7), "has message 7"),
            (Message::empty(Kind::Reset, 7), "refuses message 7"),
        ];
        for (message, text) in rows {
            assert_eq!(of(&message), text);
        }
    }
}
