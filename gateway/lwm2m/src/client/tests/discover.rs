//! Discover and Write-Attributes.

use super::peer::{Ask, Bench, code, format_of, payload};
use crate::client::ClientConfig;

fn discover(bench: &mut Bench, path: &str) -> String {
    let answer = bench.ask(&Ask::get(path).accept(40));
    assert_eq!(
        (code(&answer).as_str(), format_of(&answer)),
        ("2.05", Some(40)),
        "{path}"
    );
    payload(&answer)
}

fn attach(bench: &mut Bench, path: &str, query: &str) -> String {
    code(&bench.ask(&Ask::put(path).query(query)))
}

#[test]
fn a_discover_shows_nodes_attributes_dimensions_and_versions() {
    let mut bench = Bench::default();
    for (path, query) in [
        ("/3", "pmin=10"),
        ("/3/0", "pmax=60"),
        ("/3/0/7", "gt=50&lt=42.2"),
    ] {
        assert_eq!(attach(&mut bench, path, query), "2.04");
    }
    let resources = "</3/0/0>,</3/0/4>,</3/0/7>;dim=2;gt=50;lt=42.2,</3/0/9>";
    assert_eq!(
        discover(&mut bench, "/3"),
        format!("</3>;ver=1.0;pmin=10,</3/0>;pmax=60,{resources}")
    );
    // The node asked for shows what holds for it, also from above.
    assert_eq!(
        discover(&mut bench, "/3/0"),
        format!("</3/0>;pmin=10;pmax=60,{resources}")
    );
    let seven = "</3/0/7>;dim=2;pmin=10;pmax=60;gt=50;lt=42.2,</3/0/7/0>,</3/0/7/1>";
    assert_eq!(discover(&mut bench, "/3/0/7"), seven);
    assert_eq!(
        discover(&mut bench, "/3303"),
        "</3303>;ver=1.1,</3303/0>,</3303/0/5605>,</3303/0/5700>"
    );
    assert_eq!(discover(&mut bench, "/3340"), "</3340>");
}

#[test]
fn the_client_s_own_object_is_discovered_in_the_version_of_the_registration() {
    let mut bench = Bench::default();
    let own = "</1>;ver=1.1,</1/0>,</1/0/0>,</1/0/1>,</1/0/2>,</1/0/3>,</1/0/4>,</1/0/5>,</1/0/6>,</1/0/7>,</1/0/8>,</1/0/23>";
    assert_eq!(discover(&mut bench, "/1"), own);
    let config = ClientConfig {
        version: crate::client::EnablerVersion::V1_0,
        ..Bench::config()
    };
    let own = "</1>,</1/0>,</1/0/0>,</1/0/1>,</1/0/2>,</1/0/3>,</1/0/4>,</1/0/5>,</1/0/6>,</1/0/7>,</1/0/8>";
    assert_eq!(discover(&mut Bench::registered(config), "/1"), own);
}

#[test]
fn attributes_are_unset_by_a_parameter_without_value() {
    let mut bench = Bench::default();
    assert_eq!(
        attach(&mut bench, "/3303/0/5700", "pmin=5&st=0.5&epmin=1&epmax=2"),
        "2.04"
    );
    assert_eq!(
        discover(&mut bench, "/3303/0/5700"),
        "</3303/0/5700>;pmin=5;epmin=1;epmax=2;st=0.5"
    );
    assert_eq!(attach(&mut bench, "/3303/0/5700", "pmin&st&epmin"), "2.04");
    assert_eq!(discover(&mut bench, "/3303/0/5700"), "</3303/0/5700>;epmax=2");
}

#[test]
fn a_refused_write_attributes_changes_nothing() {
    let mut bench = Bench::default();
    attach(&mut bench, "/3303/0/5700", "pmin=5&gt=10");
    for (path, query, expected) in [
        ("/3303/0/5700", "lt=10", "4.00"),
        ("/3303/0/5700", "lt=8&st=1", "4.00"),
        ("/3303/0/5700", "epmin=2&epmax=1", "4.00"),
        ("/3303/0/5700", "pmin=6&edge=1", "4.00"),
        ("/3303/0/5700", "pmin=6&nonsense=1", "4.00"),
        ("/3303/0/5700", "pmin=6&pmax=-1", "4.00"),
        ("/3303/0", "gt=1", "4.00"),
        ("/3303", "st=1", "4.00"),
        ("/3311/0/5850", "gt=1", "4.00"),
        ("/3303/0/5605", "pmin=1", "4.00"),
        ("/3311/0/33", "pmin=1", "4.00"),
        ("/3303/1", "pmin=1", "4.04"),
        ("/3303/0/9999", "pmin=1", "4.04"),
        ("/3/0/7/9", "pmin=1", "4.04"),
        ("/4", "pmin=1", "4.04"),
        ("/0", "pmin=1", "4.01"),
        ("/", "pmin=1", "4.05"),
    ] {
        assert_eq!(attach(&mut bench, path, query), expected, "{path}?{query}");
    }
    let many: Vec<_> = (0..17).map(|_| "pmin=1").collect();
    assert_eq!(attach(&mut bench, "/3/0", &many.join("&")), "4.00");
    assert_eq!(code(&bench.ask(&Ask::put("/3/0"))), "4.00");
    assert_eq!(
        discover(&mut bench, "/3303/0/5700"),
        "</3303/0/5700>;pmin=5;gt=10"
    );
    assert_eq!(
        discover(&mut bench, "/3303"),
        "</3303>;ver=1.1,</3303/0>,</3303/0/5605>,</3303/0/5700>;pmin=5;gt=10"
    );
}

#[test]
fn the_attributes_of_an_instance_go_with_it() {
    let mut bench = Bench::default();
    attach(&mut bench, "/3311/1", "pmin=5");
    bench.device.remove(3311, 1);
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.device.set("/3311/1/5850", crate::Value::Boolean(true));
    bench.client.handle_instances_changed(&bench.device, bench.now);
    bench.collect();
    bench.sent.clear();
    assert_eq!(discover(&mut bench, "/3311/1"), "</3311/1>,</3311/1/5850>");
}
