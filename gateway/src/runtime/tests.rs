//! What becomes of the gateway when a part of it ends.

use tempfile::TempDir;
use ucifi_core::buffer::Options;

use super::*;
use crate::config::{File, Sources, read};

/// Returns the configuration of a gateway that keeps everything in a folder.
fn loaded(folder: &TempDir) -> Loaded {
    let text = format!(
        "[gateway]\nname = \"c\"\nstate_dir = {:?}\n[[server]]\nname = \"city\"\nuri = \"coap://127.0.0.1:1\"\n",
        folder.path()
    );
    let name = "t".to_owned();
    let file = File { name, text };
    let sources = Sources {
        options: vec![file],
        ..Default::default()
    };
    read(&sources).unwrap()
}

#[tokio::test]
async fn a_bus_that_ends_by_itself_ends_the_gateway_with_an_error() {
    for panics in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, kept) = Store::open(folder.path(), Options::default()).unwrap();
        let mut engine = Engine::start(loaded(&folder), kept, store.health(), 1).unwrap();
        engine.buses.tasks.spawn(async move { assert!(!panics, "meant") });
        let (_orders, mut ordered) = mpsc::channel(1);
        let (_calls, mut called) = mpsc::channel(1);
        let ended = engine.run(&mut ordered, &mut called, &mut store).await;
        assert!(matches!(ended, Err(RunError::Bus(reason)) if reason.is_some() == panics));
    }
}

#[tokio::test]
async fn an_event_loop_that_panics_is_told_to_who_waits_for_its_end() {
    let (orders, _) = mpsc::channel(1);
    let (calls, _) = mpsc::channel(1);
    let task = tokio::spawn(async { panic!("meant") });
    let mut running = Running { orders, calls, task };
    assert!(matches!(running.ended().await, Err(RunError::EventLoop(_))));
}

#[tokio::test]
async fn a_gateway_that_was_stopped_has_let_go_of_its_ports() {
    let free = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let mut loaded = loaded(&folder);
    loaded.configuration.servers[0].local_ports = Some(free..=free);
    let running = start(loaded, 1).unwrap();
    assert!(running.ask(Request::Status {}).await.is_some());
    assert!(std::net::UdpSocket::bind(("0.0.0.0", free)).is_err());
    running.stop().await.unwrap();
    std::net::UdpSocket::bind(("0.0.0.0", free)).unwrap();
}
