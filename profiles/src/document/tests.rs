use super::*;

fn messages(text: &str, read: impl Fn(&Table<'_>)) -> Vec<String> {
    match Document::parse("p.toml", text) {
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
        Ok(document) => {
            read(&document.root());
            let found = document.finish().unwrap_or_else(|errors| errors);
            found.iter().map(ToString::to_string).collect()
        }
    }
}

#[test]
fn every_mistake_of_a_text_is_reported_in_its_order() {
    let text = "a = 1\nb = 'x'\n[c]\nd = 0x1_0000\n";
    let found = messages(text, |root| {
        root.get("a").and_then(|i| i.string());
        root.get("b").and_then(|i| i.boolean());
        let c = root.require("c").and_then(|i| i.table()).unwrap();
        c.get("d").and_then(|i| i.integer(0..=0xFFFF_u16));
        c.require("e");
        c.finish();
        root.finish();
    });
    assert_eq!(
        found,
        [
            "p.toml:1:5: error: a must be a string, not an integer",
            "p.toml:2:5: error: b must be true or false, not a string",
            "p.toml:3:1: error: e is missing",
            "p.toml:4:5: error: d is 0x10000, which is not between 0 and 65535",
        ]
    );
}

#[test]
fn an_unknown_key_and_an_unknown_word_are_answered_with_the_nearest() {
    let found = messages("tabel = 'input'\ntable = 'inptu'\n", |root| {
        root.get("table")
            .and_then(|i| i.one_of(&[("input", 1), ("holding", 2)]));
        root.finish();
    });
    assert_eq!(
        found,
        [
            "p.toml:1:1: error: unknown key \"tabel\"\n  help: did you mean \"table\"?",
            "p.toml:2:9: error: table cannot be \"inptu\"\n  help: did you mean \"input\"?",
        ]
    );
}

#[test]
fn syntax_errors_and_duplicate_keys_have_a_line_and_a_column() {
    let found = messages("a = 1\na = 2\nb = \n", |_| {});
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("p.toml:2:1: error: duplicate key"),
        "{found:?}"
    );
    assert!(found[1].starts_with("p.toml:3:"), "{found:?}");
}

#[test]
fn a_column_counts_characters_and_not_bytes() {
    let found = messages("'ä' = 'ööö'\n'ö' = { x = 1 }", |root| {
        root.get("ä");
        root.get("ö").and_then(|i| i.table()).unwrap().finish();
        root.finish();
    });
    assert!(
        found[0].starts_with("p.toml:2:9: error: unknown key"),
        "{found:?}"
    );
}

#[test]
fn an_oversized_text_is_refused() {
    let text = "#".repeat(MAX_DOCUMENT_BYTES + 1);
    assert!(messages(&text, |_| {})[0].contains("are too many"));
    assert!(messages(&text[1..], |_| {}).is_empty());
}

#[test]
fn nesting_is_bounded_also_where_brackets_and_dots_multiply() {
    let dotted = format!("{}a = ", "a.".repeat(70));
    let text = format!("{}1{}", (dotted + "{").repeat(70), "}".repeat(70));
    let found = messages(&text, |_| {});
    assert!(found[0].ends_with("nested more than 64 levels deep"), "{found:?}");
    let flat = format!("a = [{}]\nb = '''\n{}'''\n", "1.5, ".repeat(500), "[".repeat(500));
    assert!(Document::parse("p.toml", &flat).is_ok());
}

#[test]
fn the_number_of_diagnostics_is_bounded() {
    let text: String = (0..500).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(messages(&text, |root| root.finish()).len(), MAX_DIAGNOSTICS);
    let broken = "k = \n".repeat(500);
    assert_eq!(messages(&broken, |_| {}).len(), MAX_DIAGNOSTICS);
}

#[test]
fn a_number_keeps_its_decimal_text() {
    let document = Document::parse("p.toml", "a = 0.1\nb = 0x10\nc = -1_000\nd = inf").unwrap();
    let root = document.root();
    let text = |key: &str| root.get(key).unwrap().number_text().unwrap();
    assert_eq!(
        (text("a"), text("b"), text("c")),
        ("0.1".into(), "16".into(), "-1000".into())
    );
    assert_eq!(root.get("c").unwrap().float(), Some(-1000.0));
    assert_eq!(root.get("d").unwrap().float(), None);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in "[\\[\\]{}a-c.='\"#,\\\\0-9\n é]{0,200}") {
        messages(&text, |root| {
            for item in root.entries() {
                item.float();
                item.strings();
                item.tables();
            }
            root.finish();
        });
    }
}
